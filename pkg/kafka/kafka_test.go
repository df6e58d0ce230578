package kafka_test

import (
	"testing"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
)

func TestEnsureTopicsKeepsPartitions(t *testing.T) {
	c, _ := kafkatest.Fake(t, 3)
	c.Partitions = 5
	cl := kafkatest.Client(t, c)
	defer cl.Close()
	n, err := kafka.EnsureTopics(t.Context(), cl, c)
	if err != nil || n != 3 {
		t.Fatalf("EnsureTopics = %d, %v; want the 3 partitions of before", n, err)
	}
}
