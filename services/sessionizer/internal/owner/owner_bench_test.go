package owner

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// empty is a machine that concludes nothing: what is left is the cost of the loop.
type empty struct{ counting }

func (e *empty) Apply(r journey.Record) error {
	if r.Offset != e.next {
		return fmt.Errorf("record %d came where %d was due", r.Offset, e.next)
	}
	e.next++
	e.clock = max(e.clock, r.Time)
	e.verdicts = append(e.verdicts, facts.VerdictPassive)
	return nil
}

func (e *empty) Cut() []*facts.Frame {
	frames := e.counting.Cut()
	e.verdicts = make([]uint32, 0, 4096)
	return frames
}

// BenchmarkDrain drains a full log of 300-byte events.
func BenchmarkDrain(b *testing.B) {
	const records, partitions = 400_000, 4
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			b.ReportAllocs()
			var took time.Duration
			for range b.N {
				b.StopTimer()
				c, _ := kafkatest.Fake(b, partitions)
				bench := newBench(b, c, nil)
				value := make([]byte, 300)
				for i := range records {
					bench.producer.Produce(b.Context(), &kgo.Record{
						Topic: c.Topic(topic.Touchpoints), Partition: int32(i % partitions), Key: fmt.Appendf(nil, "u:%d", i%10_000), Value: value,
					}, nil)
				}
				if err := bench.producer.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				config := bench.config("bench")
				config.Workers, config.CommitEvery, config.CommitRecords, config.CheckpointEvery = workers, 200*time.Millisecond, 50_000, time.Hour
				config.Machine = func(p int32) Machine { return &empty{*makeCounting(p, 0)} }
				o, err := New(config, zap.NewNop(), prometheus.NewRegistry())
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				began := time.Now()
				if err := o.Start(b.Context()); err != nil {
					b.Fatal(err)
				}
				bench.until("all records are applied", func() bool { return testCounter(b, o.metrics.applied) >= records })
				took += time.Since(began)
				b.StopTimer()
				bench.stop(o)
				b.StartTimer()
			}
			b.ReportMetric(float64(records)*float64(b.N)/took.Seconds(), "records/s")
		})
	}
}
