// Package loader brings the committed facts, the events they speak of and the refused events into ClickHouse, each exactly
// once: see architecture.md, "Exactly once". It keeps no state of its own; two loaders on a lane cost work, not truth.
//
// Stop order: finish the batch in hand, close the Kafka clients, close the connections to ClickHouse.
package loader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/services/loader/internal/batch"
)

// Config is the operator's.
type Config struct {
	Kafka      kafka.Config
	ClickHouse chdb.Config
	Lanes      int   // into which the partitions are dealt: 1, or the number of shards
	Lane       []int // those that this process loads; empty is all
	// Generation is part of every token: another one after tables were emptied by hand makes their rows count as new.
	Generation   int
	FlushEvery   time.Duration
	IdleEvery    time.Duration // between rows of the ledger while nothing but ticks comes
	MaxRows      int           // of a batch
	StandbyAfter time.Duration // without a sign of another loader
	// Window is the number of batches for which every table surely remembers the tokens of its inserts: half of its setting.
	Window int
}

// DefaultConfig is one lane.
func DefaultConfig() Config {
	return Config{
		Kafka: kafka.DefaultConfig(), ClickHouse: chdb.DefaultConfig(), Lanes: 1, Generation: 1,
		FlushEvery: 500 * time.Millisecond, IdleEvery: time.Second, MaxRows: 100_000, StandbyAfter: 2 * time.Second, Window: 50_000,
	}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	problems := []error{c.Kafka.Validate(), c.ClickHouse.Validate()}
	if c.Lanes < 1 {
		problems = append(problems, fmt.Errorf("loader.lanes: %d is less than 1", c.Lanes))
	}
	for _, lane := range c.Lane {
		if lane < 0 || lane >= c.Lanes {
			problems = append(problems, fmt.Errorf("loader.lane: %d is not between 0 and %d", lane, c.Lanes-1))
		}
	}
	if c.FlushEvery <= 0 || c.IdleEvery <= 0 || c.StandbyAfter <= 0 {
		problems = append(problems, errors.New("loader: intervals must be positive"))
	}
	if c.MaxRows < 1 || c.Generation < 0 || c.Window < 0 {
		problems = append(problems, errors.New("loader: max_rows must be positive, generation and window not negative"))
	}
	return errors.Join(problems...)
}

// Deps is what the service is given.
type Deps struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	// Rules are what the views of open sessions need to know of a project: the pause that ends a session. Without them a day is
	// assumed, which only costs the readers time.
	Rules func(project string) *rules.Rules
	// Hook is called at the points where a crash matters; an error ends the service there as a crash would. For tests.
	Hook func(point string) error
}

// Service loads.
type Service struct {
	c       Config
	d       Deps
	metrics *batch.Metrics
	db      *chdb.DB
	stop    chan struct{}
	stopped sync.Once
	cancel  context.CancelFunc
	failed  chan error
	running sync.WaitGroup
}

// New validates and registers; it connects to nothing yet.
func New(c Config, d Deps) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m, err := batch.NewMetrics(d.Registry)
	if err != nil {
		return nil, fmt.Errorf("loader metrics: %w", err)
	}
	return &Service{c: c, d: d, metrics: m, stop: make(chan struct{}), failed: make(chan error, 1)}, nil
}

// Failed gives the error after which the service cannot go on.
func (s *Service) Failed() <-chan error { return s.failed }

// Start connects, makes the schema where it is missing or old, and begins to load.
func (s *Service) Start(ctx context.Context) error {
	db, err := chdb.Open(ctx, s.c.ClickHouse, s.d.Log)
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil {
		return errors.Join(err, db.Close())
	}
	facts, dead, err := s.partitions(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	lanes := s.c.Lane
	if len(lanes) == 0 {
		for lane := range s.c.Lanes {
			lanes = append(lanes, lane)
		}
	}
	for _, number := range lanes {
		lane := batch.New(batch.Config{
			Kafka: s.c.Kafka, Lane: number, Partitions: deal(facts, number, s.c.Lanes), DeadPartitions: deal(dead, number, s.c.Lanes),
			Loader: uuid.NewString(), Generation: uint32(s.c.Generation), FlushEvery: s.c.FlushEvery, IdleEvery: s.c.IdleEvery,
			MaxRows: s.c.MaxRows, StandbyAfter: s.c.StandbyAfter, Window: s.c.Window,
		}, batch.Deps{Log: s.d.Log, Store: db, Metrics: s.metrics, Rules: s.d.Rules, Hook: s.d.Hook})
		s.running.Go(func() {
			if err := lane.Run(running, s.stop); err != nil {
				select {
				case s.failed <- fmt.Errorf("loader: %w", err):
				default:
				}
			}
		})
	}
	return nil
}

// Stop finishes the batch in hand for as long as ctx lets it; what is left is repeated by the next start.
func (s *Service) Stop(ctx context.Context) error {
	s.stopped.Do(func() { close(s.stop) })
	if s.cancel == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.cancel()
		<-done
	}
	s.cancel()
	s.cancel = nil
	return s.db.Close()
}

// partitions asks how many partitions facts and deadletter have.
func (s *Service) partitions(ctx context.Context) (facts, dead int, err error) {
	cl, err := kgo.NewClient(s.c.Kafka.Opts("loader", s.d.Log)...)
	if err != nil {
		return 0, 0, fmt.Errorf("open kafka client: %w", err)
	}
	defer cl.Close()
	counts := map[string]int{}
	for _, name := range []string{topic.Facts, topic.Touchpoints, topic.Deadletter} {
		name = s.c.Kafka.Topic(name)
		details, err := kadm.NewClient(cl).ListTopics(ctx, name)
		if err = errors.Join(err, details.Error()); err != nil {
			return 0, 0, fmt.Errorf("list topic %s: %w", name, err)
		}
		counts[name] = len(details[name].Partitions)
	}
	facts, dead = counts[s.c.Kafka.Topic(topic.Facts)], counts[s.c.Kafka.Topic(topic.Deadletter)]
	if n := counts[s.c.Kafka.Topic(topic.Touchpoints)]; n != facts {
		return 0, 0, fmt.Errorf("topic touchpoints has %d partitions and facts has %d: both must have the same number", n, facts)
	}
	return facts, dead, nil
}

// deal is the partitions of a lane, of n.
func deal(n, lane, lanes int) []int32 {
	var out []int32
	for partition := lane; partition < n; partition += lanes {
		out = append(out, int32(partition))
	}
	return out
}
