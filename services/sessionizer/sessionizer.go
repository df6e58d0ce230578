// Package sessionizer turns the log of touchpoints into facts: sessions, funnels, and what else follows from them. It reads the
// partitions that its consumer group gives it, keeps their state in memory, and writes the facts of each range of the log
// exactly once, with the input offset, in one transaction. It keeps nothing on local disk. See DESIGN.md.
//
// A stop goes: no more polls -> cut what was applied -> commit -> checkpoint -> leave the group -> close.
package sessionizer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/owner"
)

// Config is the operator's.
type Config struct {
	// Workers are the members of the consumer group in this process. Each owns its partitions alone.
	Workers int
	// Instance names this process among the sessionizers of the installation. It must be the same after a restart, and no
	// two processes may share it: transactional ids and static membership go by it. Empty is the host's name.
	Instance string
	// Static makes the group wait SessionTimeout for a member that is gone: a restart within it moves no partitions.
	Static bool

	CommitEvery     time.Duration
	CommitRecords   int
	CheckpointEvery time.Duration
	CheckpointBytes int

	SessionTimeout     time.Duration
	TransactionTimeout time.Duration
}

// DefaultConfig suits most installations.
func DefaultConfig() Config {
	return Config{
		Workers: min(runtime.GOMAXPROCS(0), 2), Static: true, CommitEvery: 200 * time.Millisecond, CommitRecords: 50_000,
		CheckpointEvery: time.Minute, CheckpointBytes: 20 << 20, SessionTimeout: 10 * time.Second, TransactionTimeout: 30 * time.Second,
	}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	var problems []error
	bad := func(key string, value any, want string) {
		problems = append(problems, fmt.Errorf("sessionizer.%s: %v is not %s", key, value, want))
	}
	if c.Workers < 1 || c.Workers > 256 {
		bad("workers", c.Workers, "between 1 and 256")
	}
	if c.CommitEvery < 10*time.Millisecond || c.CommitEvery > 10*time.Second {
		bad("commit_every", c.CommitEvery, "between 10ms and 10s")
	}
	if c.CommitRecords < 1 || c.CommitRecords > 1_000_000 {
		bad("commit_records", c.CommitRecords, "between 1 and 1000000")
	}
	if c.CheckpointEvery < time.Second || c.CheckpointEvery > 24*time.Hour {
		bad("checkpoint_every", c.CheckpointEvery, "between 1s and 24h")
	}
	if c.CheckpointBytes < 1<<16 || c.CheckpointBytes > 1<<30 {
		bad("checkpoint_bytes", c.CheckpointBytes, "between 65536 and 1073741824")
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 5*time.Minute {
		bad("session_timeout", c.SessionTimeout, "between 1s and 5m")
	}
	// A join waits for a dead member while its transaction is open: if that ran out first, its producer would be fenced.
	if c.TransactionTimeout < 2*c.SessionTimeout || c.TransactionTimeout > 15*time.Minute {
		bad("transaction_timeout", c.TransactionTimeout, fmt.Sprintf("between twice the session timeout (%v) and 15m", 2*c.SessionTimeout))
	}
	return errors.Join(problems...)
}

// Deps is what the process gives. Log, Registry and Rules are required.
type Deps struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	Kafka    kafka.Config
	Rules    func(project string) *rules.Rules // the same for the same project as long as the process runs
	// Failpoint is called by name at the instructions that a crash may hit; nil outside tests.
	Failpoint func(name string)
}

// Service is the sessionizer of a process.
type Service struct{ owner *owner.Owner }

// New validates. Nothing runs and nothing is reached before Start; the topics must be there by then.
func New(c Config, d Deps) (*Service, error) {
	if err := errors.Join(c.Validate(), d.Kafka.Validate()); err != nil {
		return nil, err
	}
	if c.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("sessionizer.instance is not set, and the host has no name: %w", err)
		}
		c.Instance = host
	}
	o, err := owner.New(owner.Config{
		Kafka: d.Kafka, Workers: c.Workers, Instance: c.Instance, Static: c.Static,
		CommitEvery: c.CommitEvery, CommitRecords: c.CommitRecords, TickEvery: time.Second,
		CheckpointEvery: c.CheckpointEvery, CheckpointBytes: c.CheckpointBytes,
		SessionTimeout: c.SessionTimeout, TransactionTimeout: c.TransactionTimeout,
		EndTimeout: min(3*time.Second, c.SessionTimeout/2), Rebuild: 100 * time.Millisecond,
		Machine: func(partition int32) owner.Machine {
			return journey.New(journey.Config{Partition: partition, Rules: d.Rules})
		},
		Failpoint: d.Failpoint,
	}, d.Log.Named("sessionizer"), d.Registry)
	if err != nil {
		return nil, err
	}
	return &Service{o}, nil
}

// Start lets the workers run; it does not wait for them. They wait for the broker as long as it takes.
func (s *Service) Start(ctx context.Context) error { return s.owner.Start(ctx) }

// Stop ends the work in hand, commits, and writes checkpoints, so that the next start has little to replay. It may be called
// at any time, more than once. When ctx is done before that, what is left is dropped, and the next start does it.
func (s *Service) Stop(ctx context.Context) error { return s.owner.Stop(ctx) }

// Failed gives at most one error: a partition's state and its log do not belong together, or records are gone. It stands
// still; the process should stop and somebody look.
func (s *Service) Failed() <-chan error { return s.owner.Failed() }
