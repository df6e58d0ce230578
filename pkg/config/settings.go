package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/pkg/topic"
)

// setting is one of the operator's keys: its path in the file, how it is read and how it is shown.
type setting struct {
	path string
	set  func(n *yaml.Node) error
	show func() any
}

func defaults() *Config {
	return &Config{
		Kafka:      Kafka{Brokers: []string{"127.0.0.1:9092"}, Replication: -1},
		ClickHouse: ClickHouse{Addr: "127.0.0.1:9000", HTTP: "http://127.0.0.1:8123", User: "default"},
		Collector: Collector{
			Listen: "127.0.0.1:8080", MaxBatchBytes: 500 << 10, MaxBatchEvents: 5000, MaxImportBytes: 8 << 20, MaxImportEvents: 100_000,
			MaxInFlightBytes: 128 << 20, AckWithin: 10 * time.Second, CookieDays: 365,
		},
		Sessionizer: Sessionizer{
			Static: true, CommitEvery: 200 * time.Millisecond, CommitRecords: 50_000, CheckpointEvery: time.Minute,
			CheckpointBytes: 20 << 20, SessionTimeout: 10 * time.Second, TransactionTimeout: 30 * time.Second,
		},
		Loader: Loader{
			Lanes: 1, Generation: 1, FlushEvery: 500 * time.Millisecond, IdleEvery: time.Second, MaxRows: 100_000, StandbyAfter: 2 * time.Second, Window: 50_000,
		},
		Metrics: Metrics{Listen: "127.0.0.1:9180"},
		Log:     Log{Level: "info", Format: "json"},
	}
}

// settings are all keys but those of the rules, the projects and the alerts.
func (c *Config) settings() []setting {
	return []setting{
		texts("kafka.brokers", &c.Kafka.Brokers, address),
		text("kafka.prefix", &c.Kafka.Prefix, nil),
		integer("kafka.partitions", &c.Kafka.Partitions, 1, 4096),
		integer("kafka.replication", &c.Kafka.Replication, -1, 9),
		text("clickhouse.addr", &c.ClickHouse.Addr, address),
		text("clickhouse.http", &c.ClickHouse.HTTP, url),
		text("clickhouse.user", &c.ClickHouse.User, nil),
		text("clickhouse.password", &c.ClickHouse.Password, nil),
		boolean("clickhouse.compress", &c.ClickHouse.Compress),
		text("collector.listen", &c.Collector.Listen, address),
		integer("collector.max_batch_bytes", &c.Collector.MaxBatchBytes, 32<<10, 1<<30),
		integer("collector.max_batch_events", &c.Collector.MaxBatchEvents, 1, 1<<20),
		integer("collector.max_import_bytes", &c.Collector.MaxImportBytes, 32<<10, 1<<30),
		integer("collector.max_import_events", &c.Collector.MaxImportEvents, 1, 1<<20),
		integer("collector.max_in_flight_bytes", &c.Collector.MaxInFlightBytes, 1<<20, 1<<40),
		duration("collector.ack_within", &c.Collector.AckWithin, time.Millisecond),
		integer("collector.rate_per_key", &c.Collector.RatePerKey, 0, 1<<30),
		integer("collector.rate_burst", &c.Collector.RateBurst, 0, 1<<30),
		text("collector.client_address_header", &c.Collector.ClientAddressHeader, nil),
		integer("collector.cookie_days", &c.Collector.CookieDays, 0, 3650),
		integer("sessionizer.workers", &c.Sessionizer.Workers, 0, 256),
		text("sessionizer.instance", &c.Sessionizer.Instance, nil),
		boolean("sessionizer.static", &c.Sessionizer.Static),
		duration("sessionizer.commit_every", &c.Sessionizer.CommitEvery, 10*time.Millisecond),
		integer("sessionizer.commit_records", &c.Sessionizer.CommitRecords, 1, 1_000_000),
		duration("sessionizer.checkpoint_every", &c.Sessionizer.CheckpointEvery, time.Second),
		integer("sessionizer.checkpoint_bytes", &c.Sessionizer.CheckpointBytes, 1<<16, 1<<30),
		duration("sessionizer.session_timeout", &c.Sessionizer.SessionTimeout, time.Second),
		duration("sessionizer.transaction_timeout", &c.Sessionizer.TransactionTimeout, 2*time.Second),
		integer("loader.lanes", &c.Loader.Lanes, 1, 4096),
		integer("loader.generation", &c.Loader.Generation, 0, 1<<30),
		duration("loader.flush_every", &c.Loader.FlushEvery, 10*time.Millisecond),
		duration("loader.idle_every", &c.Loader.IdleEvery, 10*time.Millisecond),
		integer("loader.max_rows", &c.Loader.MaxRows, 1, 10_000_000),
		duration("loader.standby_after", &c.Loader.StandbyAfter, 100*time.Millisecond),
		integer("loader.window", &c.Loader.Window, 1, 100_000),
		text("metrics.listen", &c.Metrics.Listen, address),
		text("log.level", &c.Log.Level, oneOf("debug", "info", "warn", "error")),
		text("log.format", &c.Log.Format, oneOf("console", "json")),
		text("import_key", &c.ImportKey, nil),
	}
}

// ruleScalars are the paths of the rules that one value can be given for, in the environment or a flag.
var ruleScalars = []string{
	"version", "identity.adopt", "identity.max_users", "identity.max_anonymous", "session.gap", "session.max_events",
	"session.max_length", "split.campaign", "split.midnight", "split.time_zone", "referrer.exclude", "slack", "lateness",
	"patience", "recovery", "passive", "stage_model.name", "stage_model.version", "stage_model.lapse",
}

// ruleLists are those of them that are lists: values with commas between.
var ruleLists = []string{"referrer.exclude", "passive"}

func text[T ~string](path string, dst *T, check func(string) error) setting {
	return setting{path, func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return fmt.Errorf("expected a text")
		}
		if check != nil {
			if err := check(n.Value); err != nil {
				return err
			}
		}
		*dst = T(n.Value)
		return nil
	}, func() any { return *dst }}
}

func texts(path string, dst *[]string, check func(string) error) setting {
	return setting{path, func(n *yaml.Node) error {
		var list []string
		switch {
		case n.Kind == yaml.ScalarNode && n.Tag != "!!null": // one, or several with commas
			for item := range strings.SplitSeq(n.Value, ",") {
				list = append(list, strings.TrimSpace(item))
			}
		case n.Kind == yaml.SequenceNode:
			for _, item := range n.Content {
				if item = follow(item); item.Kind != yaml.ScalarNode {
					return fmt.Errorf("expected a list of texts")
				}
				list = append(list, item.Value)
			}
		}
		if len(list) == 0 {
			return fmt.Errorf("expected a list of texts")
		}
		for _, item := range list {
			if check == nil {
				continue
			}
			if err := check(item); err != nil {
				return err
			}
		}
		*dst = list
		return nil
	}, func() any { return *dst }}
}

func integer(path string, dst *int, least, most int) setting {
	return setting{path, func(n *yaml.Node) error {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < least || v > most {
			return fmt.Errorf("expected a whole number from %d to %d, got %q", least, most, n.Value)
		}
		*dst = v
		return nil
	}, func() any { return *dst }}
}

func boolean(path string, dst *bool) setting {
	return setting{path, func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
			return fmt.Errorf("expected true or false, got %q", n.Value)
		}
		*dst = n.Value == "true"
		return nil
	}, func() any { return *dst }}
}

func duration(path string, dst *time.Duration, least time.Duration) setting {
	return setting{path, func(n *yaml.Node) error {
		d, err := rules.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			return fmt.Errorf("expected a duration, as in 30m, got %q", n.Value)
		}
		if d < least {
			return fmt.Errorf("%v is less than %v", d, least)
		}
		*dst = d
		return nil
	}, func() any { return shortDuration(*dst) }}
}

// shortDuration writes a duration as the file has it.
func shortDuration(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d != 0 && d%unit.d == 0 {
			return fmt.Sprintf("%d%s", d/unit.d, unit.name)
		}
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

func address(s string) error {
	_, port, err := net.SplitHostPort(s)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		return fmt.Errorf("expected host:port, got %q", s)
	}
	return nil
}

func url(s string) error {
	for _, scheme := range []string{"http://", "https://"} {
		if strings.HasPrefix(s, scheme) && len(s) > len(scheme) {
			return nil
		}
	}
	return fmt.Errorf("expected http://HOST:PORT, got %q", s)
}

func network(s string) error {
	if _, err := netip.ParsePrefix(s); err == nil {
		return nil
	}
	if _, err := netip.ParseAddr(s); err != nil {
		return fmt.Errorf("%q is no address and no network such as 192.0.2.0/24", s)
	}
	return nil
}

func oneOf(values ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(values, s) {
			return fmt.Errorf("%q is none of %s", s, strings.Join(values, ", "))
		}
		return nil
	}
}

// PartitionsOr is the configured number of partitions, or fallback (0: the usual one) where none is.
func (k Kafka) PartitionsOr(fallback int) int {
	switch {
	case k.Partitions > 0:
		return k.Partitions
	case fallback > 0:
		return fallback
	}
	return topic.DefaultPartitions
}
