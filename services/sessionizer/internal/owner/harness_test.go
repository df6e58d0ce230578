package owner

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// bench is a broker with the topics, and what a test does with it.
type bench struct {
	testing.TB
	kafka      kafka.Config
	cluster    *kfake.Cluster // nil if the broker is real
	session    time.Duration  // the shortest session timeout it allows
	partitions int
	sent       []int64 // records given to each partition, ticks not counted
	number     int
	producer   *kgo.Client
}

// onBrokers runs a test on kfake, and on the real broker if there is one.
func onBrokers(t *testing.T, partitions int, test func(b *bench)) {
	t.Run("fake", func(t *testing.T) {
		c, cluster := kafkatest.Fake(t, partitions)
		test(newBench(t, c, cluster))
	})
	t.Run("real", func(t *testing.T) {
		test(newBench(t, kafkatest.Real(t, partitions), nil))
	})
}

func onFake(t *testing.T, partitions int) *bench {
	c, cluster := kafkatest.Fake(t, partitions)
	return newBench(t, c, cluster)
}

func newBench(t testing.TB, c kafka.Config, cluster *kfake.Cluster) *bench {
	b := &bench{TB: t, kafka: c, cluster: cluster, session: 6 * time.Second, partitions: c.Partitions, sent: make([]int64, c.Partitions)}
	if cluster != nil {
		b.session = time.Second
	}
	b.producer = kafkatest.Client(t, c)
	t.Cleanup(b.producer.Close)
	return b
}

// config is that of a process with the name given: fast, so that tests are.
func (b *bench) config(instance string) Config { return testConfig(b.kafka, instance, b.session) }

func testConfig(c kafka.Config, instance string, session time.Duration) Config {
	return Config{
		Kafka: c, Workers: 1, Instance: instance,
		CommitEvery: 20 * time.Millisecond, CommitRecords: 500, TickEvery: 100 * time.Millisecond,
		CheckpointEvery: 50 * time.Millisecond, CheckpointBytes: 1 << 20,
		SessionTimeout: session, TransactionTimeout: 3 * session, EndTimeout: session / 2, Rebuild: 10 * time.Millisecond,
		Machine: newCounting,
	}
}

// start runs an owner until the test ends or stop is called.
func (b *bench) start(c Config) *Owner {
	b.Helper()
	log := zap.NewNop()
	if testing.Verbose() {
		log = zaptest.NewLogger(b).With(zap.String("instance", c.Instance))
	}
	o, err := New(c, log, prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	if err := o.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { b.stop(o) })
	return o
}

func (b *bench) stop(o *Owner) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := o.Stop(ctx); err != nil {
		b.Error(err)
	}
}

// feed appends n records of some hundred keys to each partition.
func (b *bench) feed(n int) {
	b.Helper()
	var failed atomic.Pointer[error]
	for range n {
		b.number++
		for p := range b.partitions {
			r := &kgo.Record{
				Topic: b.kafka.Topic(topic.Touchpoints), Partition: int32(p),
				Key: fmt.Appendf(nil, "u:%d", (b.number*7919)%300), Value: fmt.Appendf(nil, "%d", b.number),
			}
			b.producer.Produce(b.Context(), r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
			b.sent[p]++
		}
	}
	if err := b.producer.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := failed.Load(); err != nil {
		b.Fatalf("feed: %v", *err)
	}
}

// until waits for a condition, with a deadline.
func (b *bench) until(what string, is func() bool) {
	b.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !is(); <-tick.C {
		if time.Now().After(deadline) {
			b.Fatalf("%s: not within 45 s", what)
		}
	}
}

// drained waits until the committed frames cover all that was fed.
func (b *bench) drained() {
	b.Helper()
	cl := kafkatest.Client(b, b.kafka)
	defer cl.Close()
	l := newLogs(cl)
	for p := range b.partitions {
		_, end, err := l.bounds(b.Context(), b.kafka.Topic(topic.Touchpoints), int32(p))
		if err != nil {
			b.Fatal(err)
		}
		b.until(fmt.Sprintf("frames of partition %d up to %d", p, end), func() bool {
			last, _, err := l.lastFrame(b.Context(), b.kafka.Topic(topic.Facts), int32(p))
			return err == nil && last.offset >= end
		})
	}
}

// committed checks that the group's offsets are those of the last frames, with their hash.
func (b *bench) committed() {
	b.Helper()
	cl := kafkatest.Client(b, b.kafka)
	defer cl.Close()
	offsets, err := kadm.NewClient(cl).FetchOffsets(b.Context(), b.kafka.Prefix+group)
	if err != nil {
		b.Fatal(err)
	}
	for p := range b.partitions {
		last, _, err := newLogs(cl).lastFrame(b.Context(), b.kafka.Topic(topic.Facts), int32(p))
		if err != nil {
			b.Fatal(err)
		}
		at, ok := offsets.Lookup(b.kafka.Topic(topic.Touchpoints), int32(p))
		if want := metadata(last.hash, last.count); !ok || at.At != last.offset || at.Metadata != want {
			b.Errorf("partition %d: group has offset %d %q, the last frame %d %q", p, at.At, at.Metadata, last.offset, want)
		}
	}
}

// check compares the committed facts with those of a straight run over the log: every frame begins where the one before it
// ended, and holds what the machine says of that range.
func (b *bench) check() {
	b.Helper()
	for p := range b.partitions {
		log := kafkatest.Committed(b, b.kafka, topic.Touchpoints, int32(p))
		fed := int64(0)
		for _, r := range log {
			if len(r.Key) > 0 {
				fed++
			}
		}
		if fed != b.sent[p] {
			b.Fatalf("partition %d has %d records that are no ticks, fed were %d", p, fed, b.sent[p])
		}
		straight := makeCounting(int32(p), 0)
		var parts []*facts.Frame
		for _, r := range kafkatest.Committed(b, b.kafka, topic.Facts, int32(p)) {
			f := &facts.Frame{}
			if err := f.UnmarshalVT(r.Value); err != nil {
				b.Fatalf("partition %d: record %d: %v", p, r.Offset, err)
			}
			if int(f.Part) != len(parts) || f.From != straight.next {
				b.Fatalf("partition %d: record %d has part %d of [%d, %d), due was part %d from %d", p, r.Offset, f.Part, f.From, f.To, len(parts), straight.next)
			}
			if parts = append(parts, f); !f.Last {
				continue
			}
			for _, r := range log[f.From:f.To] {
				if err := straight.Apply(journey.Record{Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}); err != nil {
					b.Fatal(err)
				}
			}
			want := straight.Cut()
			if len(want) != len(parts) {
				b.Fatalf("partition %d: frame [%d, %d) has %d parts, a straight run %d", p, f.From, f.To, len(parts), len(want))
			}
			for i := range want {
				w, err := want[i].MarshalVT()
				if err != nil {
					b.Fatal(err)
				}
				g, err := parts[i].MarshalVT()
				if err != nil {
					b.Fatal(err)
				}
				if !bytes.Equal(w, g) {
					b.Fatalf("partition %d: frame [%d, %d) part %d is not that of a straight run", p, f.From, f.To, i)
				}
			}
			parts = nil
		}
		if straight.next < int64(len(log)) && straight.next < b.sent[p] {
			b.Fatalf("partition %d: frames end at %d of %d", p, straight.next, len(log))
		}
	}
}
