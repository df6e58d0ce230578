// Package intake writes what the collector accepted, and what it refused, to Kafka, and says when it is safe there.
//
// The records of one request are a Batch. Commit returns once the broker has acknowledged every one of them (all in-sync
// replicas, idempotent producer), or with an error: then some may have been written all the same, and the sender must send
// the same again; repeats are taken out downstream by their message ids. The records of a partition keep their order within
// a batch, and from one batch to the next that begins after Commit returned.
//
// The bytes of all batches together are bounded by a Budget. A batch that was not acknowledged in time keeps its share
// until the client has let go of its records, so that a broker that stands still cannot make memory grow.
package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/topic"
)

// ErrFull says that the budget is spent.
var ErrFull = errors.New("too many bytes are waiting for Kafka")

// ErrUnacked says that not every record was acknowledged in time.
var ErrUnacked = errors.New("kafka did not acknowledge")

// Config is what the log needs.
type Config struct {
	Kafka     kafka.Config
	AckWithin time.Duration // how long a request waits for its acknowledgements
}

// Log is the collector's side of the topics touchpoints and deadletter. It is safe for concurrent use.
type Log struct {
	cfg     Config
	log     *zap.Logger
	cl      *kgo.Client
	budget  *Budget
	metrics *metrics

	ctx    context.Context // ends when records are given up
	giveUp context.CancelFunc

	touchpoints, deadletter string
	partitions              atomic.Int32 // 0 until Connect
	failing                 atomic.Bool  // the last batch was not acknowledged
	arenas                  sync.Pool
}

// Open makes the client; it does not reach for the broker yet.
func Open(cfg Config, budget *Budget, log *zap.Logger, reg prometheus.Registerer) (*Log, error) {
	cl, err := kgo.NewClient(append(cfg.Kafka.Opts("collector", log),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.RecordDeliveryTimeout(max(cfg.AckWithin, time.Second)),
		kgo.ProduceRequestTimeout(max(cfg.AckWithin, time.Second)),
		kgo.MaxBufferedRecords(1<<30),            // the budget is the bound
		kgo.MetadataMinAge(250*time.Millisecond), // a moved leader holds up every request to its partitions
	)...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka client: %w", err)
	}
	l := &Log{
		cfg: cfg, log: log, cl: cl, budget: budget, metrics: newMetrics(reg, budget),
		touchpoints: cfg.Kafka.Topic(topic.Touchpoints), deadletter: cfg.Kafka.Topic(topic.Deadletter),
	}
	l.ctx, l.giveUp = context.WithCancel(cl.Context())
	return l, nil
}

// Connect reads the number of partitions, which places events for good. The topics must exist.
func (l *Log) Connect(ctx context.Context) error {
	details, err := kadm.NewClient(l.cl).ListTopics(ctx, l.touchpoints, l.deadletter)
	if err != nil {
		return fmt.Errorf("ask Kafka at %v for its topics: %w", l.cfg.Kafka.Brokers, err)
	}
	for _, name := range []string{l.touchpoints, l.deadletter} {
		if d, ok := details[name]; !ok || d.Err != nil || len(d.Partitions) == 0 {
			return fmt.Errorf("topic %s does not exist at %v: make the topics first, with waymark migrate", name, l.cfg.Kafka.Brokers)
		}
	}
	l.partitions.Store(int32(len(details[l.touchpoints].Partitions)))
	return nil
}

// Ready says whether the topics are known and the last batch was acknowledged; the error says what is wrong.
func (l *Log) Ready() error {
	switch {
	case l.partitions.Load() == 0:
		return errors.New("the topics are not known yet")
	case l.failing.Load():
		return errors.New("kafka did not acknowledge the last events")
	}
	return nil
}

// Partitions is the number of partitions of touchpoints; 0 before Connect.
func (l *Log) Partitions() int { return int(l.partitions.Load()) }

// Close waits for the records under way, as long as ctx lets it, and closes the client.
func (l *Log) Close(ctx context.Context) error {
	err := l.cl.Flush(ctx)
	l.Kill()
	if err != nil {
		return fmt.Errorf("flush to Kafka: %w", err)
	}
	return nil
}

// Kill closes the client at once: records under way may be lost, and are not acknowledged.
func (l *Log) Kill() {
	l.giveUp()
	l.cl.Close()
}
