// Package kafkatest gives tests a broker with the product's topics: kfake in memory, or the broker that WAYMARK_KAFKA names.
package kafkatest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/topic"
)

// Fake starts a kfake broker with the topics made; it ends with the test. The cluster is for scripting faults. Group sessions
// may be short there, so that tests of dead members are.
func Fake(t testing.TB, partitions int, opts ...kfake.Opt) (kafka.Config, *kfake.Cluster) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	c := kafka.Config{Brokers: cluster.ListenAddrs(), Partitions: partitions, Replication: 1}
	ensure(t, c)
	return c, cluster
}

// Real reaches the broker at the address in WAYMARK_KAFKA, under a prefix of the test's own, with the topics made; they are
// deleted with the test. Without an address it skips, or fails where WAYMARK_KAFKA is "required".
func Real(t testing.TB, partitions int) kafka.Config {
	t.Helper()
	addr := os.Getenv("WAYMARK_KAFKA")
	if !strings.Contains(addr, ":") {
		const why = "no real Kafka broker: WAYMARK_KAFKA names none (make test starts one where java and mvn are there)"
		if addr == "required" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	prefix := fmt.Sprintf("t%d-%s-", time.Now().UnixNano()%1e12, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
	c := kafka.Config{Brokers: strings.Split(addr, ","), Prefix: prefix, Partitions: partitions, Replication: 1}
	ensure(t, c)
	t.Cleanup(func() {
		cl := Client(t, c)
		defer cl.Close()
		for _, l := range topic.Layouts(prefix, partitions) {
			_, _ = kadm.NewClient(cl).DeleteTopic(context.WithoutCancel(t.Context()), l.Name)
		}
	})
	return c
}

// Client is a plain client of the broker; the caller closes it.
func Client(t testing.TB, c kafka.Config, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(c.Opts("test", zap.NewNop()), opts...)...)
	if err != nil {
		t.Fatalf("kafka client: %v", err)
	}
	return cl
}

// Committed reads a partition from its start to the end that it has now: the records that are there for good, without those
// of aborted transactions. It waits for open ones.
func Committed(t testing.TB, c kafka.Config, name string, partition int32) []*kgo.Record {
	t.Helper()
	cl := Client(t, c)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, c.Topic(name))
	if err != nil {
		t.Fatalf("list start offsets of %s: %v", name, err)
	}
	ends, err := adm.ListEndOffsets(ctx, c.Topic(name))
	if err != nil {
		t.Fatalf("list end offsets of %s: %v", name, err)
	}
	start, _ := starts.Lookup(c.Topic(name), partition)
	end, ok := ends.Lookup(c.Topic(name), partition)
	if !ok {
		t.Fatalf("topic %s has no partition %d", name, partition)
	}
	if start.Offset >= end.Offset {
		return nil
	}
	reader := Client(t, c, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{c.Topic(name): {partition: kgo.NewOffset().At(start.Offset)}}))
	defer reader.Close()
	var records []*kgo.Record
	for next := start.Offset; next < end.Offset; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s/%d at %d of %d: %v", name, partition, next, end.Offset, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() && r.Offset < end.Offset {
				records = append(records, r)
			}
		})
	}
	return records
}

func ensure(t testing.TB, c kafka.Config) {
	t.Helper()
	cl, err := kgo.NewClient(c.Opts("test", zaptest.NewLogger(t))...)
	if err != nil {
		t.Fatalf("kafka client: %v", err)
	}
	defer cl.Close()
	if _, err := kafka.EnsureTopics(t.Context(), cl, c); err != nil {
		t.Fatalf("make topics: %v", err)
	}
}
