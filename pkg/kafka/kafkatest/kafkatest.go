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

// Fake starts a kfake broker with the topics made; it ends with the test. The cluster is for scripting faults.
func Fake(t testing.TB, partitions int) (kafka.Config, *kfake.Cluster) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
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
