// Package owner runs partitions of the log: it restores their state, feeds them records, and moves the facts and the input
// offset together, each exactly once, whatever dies. It promises that of all processes that believe they own a partition only
// one gets its frames into the log of facts. It knows nothing of what the state means: that is the Machine's.
//
// A stop goes: no more polls -> cut what was applied -> commit -> checkpoint -> leave the group -> close.
package owner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// Machine is the state of one partition: a pure function of its log. *journey.Partition is one. One goroutine uses it at a
// time. An error of Apply leaves the state as it was.
type Machine interface {
	Next() int64
	Clock() int64
	Apply(r journey.Record) error
	Cut() []*facts.Frame
	Discard()
	Hash() (hash, count uint64)
	Changed() int
	Checkpoint(put func(key, value []byte))
	Restore(key, value []byte) error
	Stats() journey.Stats
}

// Config is what the workers go by.
type Config struct {
	Kafka    kafka.Config
	Topics   Topics // those of the installation where they are not set
	Workers  int
	Instance string // names this process among those of the installation, the same after a restart
	Static   bool   // a restart under the same name gets its partitions back without a rebalance

	CommitEvery     time.Duration // how long records are applied before their facts are committed
	CommitRecords   int           // how many are applied at most before that
	TickEvery       time.Duration // how long a partition may be without a record
	CheckpointEvery time.Duration
	CheckpointBytes int // of changes, after which a checkpoint does not wait

	SessionTimeout     time.Duration // after which a silent member loses its partitions
	TransactionTimeout time.Duration // above SessionTimeout: a join waits for a dead member with its transaction open
	EndTimeout         time.Duration // for ending a transaction, below SessionTimeout
	Rebuild            time.Duration // pause before a worker is built anew; it doubles up to 50 times that

	Machine func(partition int32) Machine
	// Encode makes the records of a frame; nil is the frame itself, marshaled.
	Encode func(*facts.Frame) ([][]byte, error)
	// Failpoint is called at the points named Point...; nil outside tests.
	Failpoint func(name string)
}

// Topics are the names of the topics that a worker reads and writes. They have the same number of partitions.
type Topics struct{ Touchpoints, Facts, Checkpoints string }

// The failpoints, in the order of a cycle.
const (
	PointApplied          = "applied"           // records are applied, nothing is cut
	PointBeforeBegin      = "before begin"      // frames are cut
	PointProduced         = "produced"          // the transaction is open, its frames are acknowledged
	PointEnded            = "ended"             // EndTxn was answered
	PointBeforeCheckpoint = "before checkpoint" // the snapshot is taken
	PointSaved            = "saved"             // the snapshot is acknowledged, its transaction open
	PointAfterCheckpoint  = "after checkpoint"  // and ended
	PointHandOver         = "hand-over"         // partitions were taken away, their state is dropped
	PointRestored         = "restored"          // a partition is restored, nothing applied yet
)

// Owner is the workers of a process.
type Owner struct {
	config  Config
	log     *zap.Logger
	metrics *metrics
	workers []*worker

	stop   context.CancelFunc // asks the workers to finish
	kill   context.CancelFunc // ends all that is under way
	done   chan struct{}
	failed chan error

	mu struct {
		sync.Mutex
		started, stopped bool
	}
}

// New makes the workers. Nothing runs before Start.
func New(c Config, log *zap.Logger, reg prometheus.Registerer) (*Owner, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if c.Topics == (Topics{}) {
		c.Topics = Topics{c.Kafka.Topic(topic.Touchpoints), c.Kafka.Topic(topic.Facts), c.Kafka.Topic(topic.Checkpoints)}
	}
	if c.Encode == nil {
		c.Encode = func(f *facts.Frame) ([][]byte, error) {
			b, err := f.MarshalVT()
			return [][]byte{b}, err
		}
	}
	o := &Owner{config: c, log: log, metrics: m, done: make(chan struct{}), failed: make(chan error, 1)}
	for i := range c.Workers {
		o.workers = append(o.workers, &worker{owner: o, number: i, log: log.With(zap.Int("worker", i))})
	}
	return o, nil
}

// Start lets the workers run until Stop, or until ctx is done.
func (o *Owner) Start(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.started || o.mu.stopped {
		return errors.New("start of an owner that was started or stopped before")
	}
	o.mu.started = true
	stopping, stop := context.WithCancel(ctx)
	alive, kill := context.WithCancel(context.WithoutCancel(ctx))
	o.stop = stop
	o.kill = func() { kill(); stop() } // in this order: nothing is finished
	var running sync.WaitGroup
	for _, w := range o.workers {
		running.Go(func() { w.run(stopping, alive) })
	}
	go func() {
		defer close(o.done)
		running.Wait()
		kill()
	}()
	return nil
}

// Stop commits what was applied, writes checkpoints and leaves the group. When ctx is done it drops what is left to do: the
// next start does it.
func (o *Owner) Stop(ctx context.Context) error {
	o.mu.Lock()
	started := o.mu.started
	o.mu.stopped = true
	o.mu.Unlock()
	if !started {
		return nil
	}
	o.stop()
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		o.kill()
		<-o.done
		return fmt.Errorf("stop sessionizer: %w", ctx.Err())
	}
}

// Failed gives the first error after which a partition stands still for good.
func (o *Owner) Failed() <-chan error { return o.failed }

func (o *Owner) fail(err error) {
	select {
	case o.failed <- err:
	default: // the first one counts
	}
}

func (c *Config) failpoint(name string) {
	if c.Failpoint != nil {
		c.Failpoint(name)
	}
}

// divergence is an error that trying again cannot cure: the state and the log do not belong together, or records are gone.
type divergence struct{ error }

func diverged(format string, args ...any) error { return divergence{fmt.Errorf(format, args...)} }

func isDivergence(err error) bool {
	_, ok := errors.AsType[divergence](err)
	return ok
}
