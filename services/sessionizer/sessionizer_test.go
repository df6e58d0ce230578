package sessionizer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

const partitions = 3

func TestValidateNamesEveryProblem(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	c.Workers, c.CommitEvery, c.TransactionTimeout = 0, time.Minute, time.Second
	err := c.Validate()
	for _, key := range []string{"workers", "commit_every", "transaction_timeout"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte("sessionizer."+key)) {
			t.Errorf("Validate = %v; want it to name %s", err, key)
		}
	}
}

// TestFactsSurviveRestarts runs the service over a log in several lives; the frames must be those of one straight run.
func TestFactsSurviveRestarts(t *testing.T) {
	k, _ := kafkatest.Fake(t, partitions)
	before := goleak.IgnoreCurrent()
	producer := kafkatest.Client(t, k)
	defaults := rules.Default()
	deps := func() Deps {
		return Deps{
			Log: zaptest.NewLogger(t), Registry: prometheus.NewRegistry(), Kafka: k,
			Rules: func(string) *rules.Rules { return defaults },
		}
	}
	c := DefaultConfig()
	c.CommitEvery, c.CheckpointEvery, c.SessionTimeout, c.TransactionTimeout = 20*time.Millisecond, time.Second, 2*time.Second, 6*time.Second
	r := rand.New(rand.NewPCG(7, 7))
	start, number := time.Now().Add(-48*time.Hour).UnixMilli(), 0
	for life := range 4 {
		s, err := New(c, deps())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			number++
			send(t, k, producer, someEvent(r, start, number))
		}
		if life == 3 {
			sendEnd(t, k, producer)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		waitCovered(t, k)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := s.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case err := <-s.Failed():
			t.Fatal(err)
		default:
		}
	}
	producer.Close()
	sessions := 0
	for p := range int32(partitions) {
		sessions += compare(t, k, p, defaults)
	}
	if sessions < 100 {
		t.Errorf("%d session rows, expected some hundreds", sessions)
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write")) // the broker is the test's
}

func someEvent(r *rand.Rand, start int64, number int) *touchpoint.Event {
	e := &touchpoint.Event{
		Project: "shop", Source: "web", MessageId: fmt.Sprintf("m%06d", number), Name: "Product Viewed", Step: "view", Channel: "web",
		UserId:     fmt.Sprintf("user%d", r.IntN(60)),
		OccurredAt: start + int64(number)*30_000 - r.Int64N(int64(20*time.Hour/time.Millisecond))*int64(r.IntN(12)/11), // some are late
	}
	e.ReceivedAt = start + int64(number)*30_000
	if r.IntN(10) == 0 {
		e.Step = "cart_add"
	}
	return e
}

func send(t *testing.T, k kafka.Config, cl *kgo.Client, e *touchpoint.Event) {
	t.Helper()
	value, err := e.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	person := event.Person(e)
	cl.Produce(t.Context(), &kgo.Record{
		Topic: k.Topic(topic.Touchpoints), Partition: keyhash.Partition(e.Project, person, partitions), Key: []byte(person), Value: value,
	}, func(_ *kgo.Record, err error) {
		if err != nil {
			t.Errorf("send: %v", err)
		}
	})
}

func sendEnd(t *testing.T, k kafka.Config, cl *kgo.Client) {
	t.Helper()
	value, err := (&touchpoint.Control{Kind: &touchpoint.Control_End_{End: &touchpoint.Control_End{Project: "shop"}}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		cl.Produce(t.Context(), &kgo.Record{Topic: k.Topic(topic.Touchpoints), Partition: p, Value: value}, nil)
	}
}

// waitCovered waits until the frames cover every event there is.
func waitCovered(t *testing.T, k kafka.Config) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for p := range int32(partitions) {
		end := int64(0)
		for _, r := range kafkatest.Committed(t, k, topic.Touchpoints, p) {
			end = r.Offset + 1
		}
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			frames := frames(t, k, p)
			if n := len(frames); n > 0 && frames[n-1].To >= end {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("frames of partition %d do not reach %d", p, end)
			}
		}
	}
}

func frames(t *testing.T, k kafka.Config, p int32) []*facts.Frame {
	t.Helper()
	var out []*facts.Frame
	for _, r := range kafkatest.Committed(t, k, topic.Facts, p) {
		f := &facts.Frame{}
		if err := f.UnmarshalVT(r.Value); err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// compare checks the frames of a partition against a straight run, and counts its session rows.
func compare(t *testing.T, k kafka.Config, p int32, defaults *rules.Rules) (sessions int) {
	t.Helper()
	straight := journey.New(journey.Config{Partition: p, Rules: func(string) *rules.Rules { return defaults }})
	log := kafkatest.Committed(t, k, topic.Touchpoints, p)
	for _, f := range frames(t, k, p) {
		if f.From != straight.Next() {
			t.Fatalf("partition %d: a frame begins at %d, due was %d", p, f.From, straight.Next())
		}
		for _, r := range log[f.From:f.To] {
			if err := straight.Apply(journey.Record{Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}); err != nil {
				t.Fatal(err)
			}
		}
		want := straight.Cut()
		if len(want) != 1 {
			t.Fatalf("partition %d: %d parts, expected 1", p, len(want))
		}
		if want[0].Hash != f.Hash || want[0].Count != f.Count || len(want[0].Sessions) != len(f.Sessions) {
			t.Fatalf("partition %d: frame [%d, %d) has hash %x over %d, a straight run %x over %d", p, f.From, f.To, f.Hash, f.Count, want[0].Hash, want[0].Count)
		}
		sessions += len(f.Sessions)
	}
	return sessions
}
