package collector

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/services/collector/internal/httpapi"
)

// Source is one sender of a project, known by its write key.
type Source = httpapi.Source

// Staff says which events of a project come from its own staff, monitors and load tests: they count as bots.
type Staff = httpapi.Staff

// Receipt says where an event is now.
type Receipt = httpapi.Receipt

// ErrUnknown is what Deps.Locate answers for a message that is nowhere to be found, or not yet.
var ErrUnknown = httpapi.ErrUnknown

// Config is what an operator sets.
type Config struct {
	Listen string // host:port; port 0 takes a free one
	Kafka  kafka.Config

	Sources    []Source
	Projects   []string // known besides those of the sources
	ImportKey  string   // "" turns the importer's endpoints off
	AnyProject bool     // the import key may name any project, else only known ones
	Staff      map[string]Staff

	MaxBatchBytes    int64 // of a body, decompressed
	MaxBatchEvents   int
	MaxImportBytes   int64 // of a body of the importer
	MaxImportEvents  int
	MaxInFlightBytes int64 // of all bodies and records not yet acknowledged; beyond it the answer is 503
	AckWithin        time.Duration

	RatePerKey float64 // events per second and write key, beyond it the answer is 429; 0 is no limit
	RateBurst  int

	ClientAddressHeader string // set by a proxy in front, such as X-Forwarded-For; "" trusts none
	CookieDays          int    // how long the pixel's cookie lives; 0 sets none
}

// DefaultConfig listens on loopback and knows no sources.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8080", Kafka: kafka.DefaultConfig(),
		MaxBatchBytes: 500 << 10, MaxBatchEvents: 5000, MaxImportBytes: 8 << 20, MaxImportEvents: 100_000,
		MaxInFlightBytes: 128 << 20, AckWithin: 10 * time.Second, CookieDays: 365,
	}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	problems := []error{c.Kafka.Validate()}
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("collector.listen: %q is no host:port", c.Listen)
	}
	keys := map[string]Source{}
	for _, s := range c.Sources {
		switch {
		case s.Project == "" || s.Name == "":
			bad("projects: a source needs a project and a name, got %q and %q", s.Project, s.Name)
		case s.WriteKey == "":
			bad("projects.%s.sources.%s.write_key: is empty", s.Project, s.Name)
		case s.WriteKey == c.ImportKey:
			bad("projects.%s.sources.%s.write_key: is the import key", s.Project, s.Name)
		default:
			if other, ok := keys[s.WriteKey]; ok {
				bad("projects.%s.sources.%s.write_key: source %s of project %s has the same", s.Project, s.Name, other.Name, other.Project)
			}
			keys[s.WriteKey] = s
		}
	}
	for project, s := range c.Staff {
		if err := s.Check(); err != nil {
			bad("projects.%s: %w", project, err)
		}
	}
	for _, limit := range []struct {
		key          string
		value, least int64
	}{
		{"collector.max_batch_bytes", c.MaxBatchBytes, event.MaxBytes},
		{"collector.max_batch_events", int64(c.MaxBatchEvents), 1},
		{"collector.max_import_bytes", c.MaxImportBytes, event.MaxBytes},
		{"collector.max_import_events", int64(c.MaxImportEvents), 1},
		{"collector.max_in_flight_bytes", c.MaxInFlightBytes, 10 * max(c.MaxBatchBytes, c.MaxImportBytes)}, // or the largest body never passes
		{"collector.ack_within (ms)", c.AckWithin.Milliseconds(), 1},
		{"collector.rate_burst", int64(c.RateBurst), 0},
		{"collector.cookie_days", int64(c.CookieDays), 0},
	} {
		if limit.value < limit.least {
			bad("%s: %d is less than %d", limit.key, limit.value, limit.least)
		}
	}
	if c.RatePerKey < 0 {
		bad("collector.rate_per_key: %v is negative", c.RatePerKey)
	}
	return errors.Join(problems...)
}
