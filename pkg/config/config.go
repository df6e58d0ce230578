// Package config reads an installation's configuration: one YAML file, over it the environment, over it flags. It knows every
// key: one that it does not know is a problem that names the nearest known one, never silently nothing. What the rules mean is
// package rules' business; what a service makes of its keys is the service's.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// Secret is a value that is not to be shown: it prints as ***.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal is the value itself.
func (s Secret) Reveal() string { return string(s) }

// Config is what an installation is told. It is not changed once loaded.
type Config struct {
	Kafka       Kafka
	ClickHouse  ClickHouse
	Collector   Collector
	Sessionizer Sessionizer
	Loader      Loader
	Metrics     Metrics
	Log         Log
	ImportKey   Secret // writes to every project; empty: nobody may
	Projects    []Project
	Alerts      *yaml.Node // a list, its keys checked; nil without one
	// Warnings are things that are most likely meant otherwise, but no errors.
	Warnings []string

	rules *rules.Rules
	merge []*yaml.Node
}

// Kafka is how to reach the broker.
type Kafka struct {
	Brokers     []string
	Prefix      string
	Partitions  int // 0: not given
	Replication int
}

// ClickHouse is how to reach the database.
type ClickHouse struct {
	Addr     string // host:port of the native protocol
	HTTP     string // URL of the HTTP interface, for readers
	User     string
	Password Secret
	Compress bool // on the wire; worth it unless the server is near
}

// Collector is what the operator says to the collector.
type Collector struct {
	Listen              string
	MaxBatchBytes       int
	MaxBatchEvents      int
	MaxImportBytes      int
	MaxImportEvents     int
	MaxInFlightBytes    int
	AckWithin           time.Duration
	RatePerKey          int
	RateBurst           int
	ClientAddressHeader string
	CookieDays          int
}

// Sessionizer is what the operator says to the sessionizer.
type Sessionizer struct {
	Workers            int // 0: as many as suit the machine
	Instance           string
	Static             bool
	CommitEvery        time.Duration
	CommitRecords      int
	CheckpointEvery    time.Duration
	CheckpointBytes    int
	SessionTimeout     time.Duration
	TransactionTimeout time.Duration
}

// Loader is what the operator says to the loader.
type Loader struct {
	Lanes        int
	Generation   int
	FlushEvery   time.Duration
	IdleEvery    time.Duration
	MaxRows      int
	StandbyAfter time.Duration
	Window       int
}

// Metrics is where metrics and the state of the process are served.
type Metrics struct {
	Listen string
}

// Log is how the process writes its log.
type Log struct {
	Level, Format string
}

// Project is a tenant: its sources, and its own rules over those of the installation.
type Project struct {
	Name    string
	Sources []Source
	Rules   *rules.Rules
	Staff   Staff

	layer *yaml.Node
}

// Source is something that sends events to a project, known by its key.
type Source struct {
	Name     string
	Kind     string
	WriteKey Secret
}

// Staff says which events of a project count as bots' beside those that everybody knows: its own people, monitors, load tests.
type Staff struct {
	Agents   []string // parts of the user agent
	Networks []string // of addresses
	Headers  []string // of the request
}

// Rules are the rules of a project; those of the installation for a project that the configuration does not name.
func (c *Config) Rules(project string) *rules.Rules {
	for i := range c.Projects {
		if c.Projects[i].Name == project {
			return c.Projects[i].Rules
		}
	}
	return c.rules
}

// DefaultRules are the rules of a project that the configuration does not name.
func (c *Config) DefaultRules() *rules.Rules { return c.rules }

// Origin is where a configuration comes from.
type Origin struct {
	File string   // path; empty: none
	Env  []string // KEY=VALUE, as os.Environ gives it
	Set  []string // path=value, from flags; over everything else
}

// Load reads a configuration. The error joins all problems, one a line, each with its place and key.
func Load(from Origin) (*Config, error) {
	var data []byte
	if from.File != "" {
		var err error
		if data, err = os.ReadFile(from.File); err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	return Parse(data, from)
}

// Parse is Load with the file's content at hand; the path in from is its name in messages.
func Parse(data []byte, from Origin) (*Config, error) {
	c := defaults()
	p := &parser{file: from.File, config: c}
	top := p.document(data)
	fileRules := p.top(top)
	env := p.environment(from.Env)
	set := p.flags(from.Set)
	c.merge = []*yaml.Node{fileRules, env, set}
	var err error
	if c.rules, err = rules.Parse(c.merge...); err != nil {
		p.join(err, "")
	}
	for i := range c.Projects {
		p.projectRules(&c.Projects[i], err == nil)
	}
	p.unique()
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	return c, nil
}

// projectRules lays a project's rules over those of the installation, where these are good.
func (p *parser) projectRules(project *Project, over bool) {
	layers := []*yaml.Node{project.layer}
	if over {
		layers = append(append([]*yaml.Node{}, p.config.merge...), project.layer)
	}
	r, err := rules.Parse(layers...)
	if err != nil {
		p.join(err, "projects."+project.Name+": ")
		return
	}
	project.Rules = r
}

// unique checks that a write key leads to one source.
func (p *parser) unique() {
	owner := map[Secret]string{}
	for _, project := range p.config.Projects {
		for _, s := range project.Sources {
			at := project.Name + ", source " + s.Name
			if other, taken := owner[s.WriteKey]; taken {
				p.add("projects: %s and %s have the same write_key: each source needs one of its own", other, at)
			}
			owner[s.WriteKey] = at
		}
	}
	if at, taken := owner[p.config.ImportKey]; taken && p.config.ImportKey != "" {
		p.add("import_key: it is the write_key of %s: each needs one of its own", at)
	}
}

// join takes over the problems that package rules found.
func (p *parser) join(err error, prefix string) {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		p.add("%s%v", prefix, err)
		return
	}
	for _, one := range many.Unwrap() {
		p.add("%s%v", prefix, one)
	}
}

func (p *parser) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.file != "" && !strings.HasPrefix(text, "environment ") && !strings.HasPrefix(text, "flag ") {
		text = p.file + ": " + text
	}
	p.problems = append(p.problems, errors.New(text))
}
