package broker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/services/waymark/internal/broker"
)

func TestRestartKeepsTopicsAndRecords(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	for round := range 3 {
		b, err := broker.Start(t.Context(), broker.Config{Dir: dir, Log: zaptest.NewLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		c := kafka.Config{Brokers: []string{b.Addr()}, Partitions: 2 + round, Replication: -1}
		cl, err := kgo.NewClient(c.Opts("test", zaptest.NewLogger(t))...)
		if err != nil {
			t.Fatal(err)
		}
		n, err := kafka.EnsureTopics(t.Context(), cl, c)
		if err != nil || n != 2 {
			t.Fatalf("round %d: %d partitions, %v; want the 2 of the first start", round, n, err)
		}
		if err := b.KeepLess(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		record := &kgo.Record{Topic: c.Topic("touchpoints"), Partition: 1, Value: []byte("x")}
		if err := cl.ProduceSync(t.Context(), record).FirstErr(); err != nil || record.Offset != int64(round) {
			t.Fatalf("round %d: offset %d, %v", round, record.Offset, err)
		}
		cl.Close()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
