package owner

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/topic"
)

func TestFactsEqualStraightRun(t *testing.T) {
	onBrokers(t, 3, func(b *bench) {
		o := b.start(b.config("a"))
		for range 5 {
			b.feed(700)
		}
		b.drained()
		b.stop(o)
		b.check()
		b.committed()
	})
}

func TestStopLeavesNoGoroutine(t *testing.T) {
	b := onFake(t, 2)
	b.feed(10)
	before := goleak.IgnoreCurrent()
	o := b.start(b.config("a"))
	b.drained()
	b.stop(o)
	b.stop(o) // again: nothing
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write")) // the broker is the test's
}

func TestStopBeforeStart(t *testing.T) {
	o, err := New(Config{Workers: 1}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.Start(t.Context()); err == nil {
		t.Fatal("Start after Stop did not fail")
	}
}

func TestRestartRestoresFromCheckpointAndReplay(t *testing.T) {
	onBrokers(t, 2, func(b *bench) {
		c := b.config("a")
		b.feed(1000)
		o := b.start(c)
		b.drained()
		b.stop(o) // writes checkpoints
		c.CheckpointEvery = time.Hour
		b.feed(1000)
		o = b.start(c)
		b.drained()
		o.kill() // no checkpoint of the second thousand
		<-o.done
		b.feed(500)
		var m sync.Mutex
		machines := map[int32]*counting{}
		c.Machine = func(p int32) Machine {
			m.Lock()
			defer m.Unlock()
			machines[p] = makeCounting(p, 0)
			return machines[p]
		}
		c.Workers = 1 // a partition that changes hands is replayed again
		o = b.start(c)
		b.drained()
		b.stop(o)
		b.check()
		got, once := testCounter(t, o.metrics.replayed), testCounter(t, o.metrics.rebuilds) == 0
		if got < 1000 || once && got > 2500 {
			t.Errorf("replayed %v records over 2 partitions, the checkpoint leaves about 1000 each", got)
		}
	})
}

func TestTicksMoveQuietPartitions(t *testing.T) {
	b := onFake(t, 2)
	b.feed(1)
	o := b.start(b.config("a"))
	b.until("three ticks in each partition", func() bool {
		for p := range int32(2) {
			if len(kafkatest.Committed(t, b.kafka, topic.Touchpoints, p)) < 4 {
				return false
			}
		}
		return true
	})
	b.drained()
	b.stop(o)
	b.check()
}

// TestRefusedCommitSendsTheSameFramesAgain scripts refusals of every request of a commit.
func TestRefusedCommitSendsTheSameFramesAgain(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"offsets: rebalance":           {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.RebalanceInProgress, Count: 3},
		"offsets: generation":          {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.IllegalGeneration, Count: 2},
		"end: abortable":               {Keys: []kmsg.Key{kmsg.EndTxn}, TopLevel: true, Err: kerr.TransactionAbortable, Count: 1},
		"end: unknown":                 {Keys: []kmsg.Key{kmsg.EndTxn}, TopLevel: true, Err: kerr.UnknownServerError, Count: 1},
		"end: fenced":                  {Keys: []kmsg.Key{kmsg.EndTxn}, TopLevel: true, Err: kerr.ProducerFenced, Count: 1},
		"end: applied, then no answer": {Keys: []kmsg.Key{kmsg.EndTxn}, TopLevel: true, Err: kerr.RequestTimedOut, Count: 1},
		"produce: not enough replicas": {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 2},
		"produce: fenced":              {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidProducerEpoch, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := onFake(t, 2)
			b.feed(200)
			o := b.start(b.config("a"))
			b.drained()
			if fault.Keys[0] == kmsg.Produce {
				fault.Topic = b.kafka.Topic(topic.Facts)
			}
			faults := b.cluster.Fault(fault)
			for range 10 {
				b.feed(100)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := faults.Wait(ctx, max(1, fault.Count)); err != nil {
				t.Fatal(err)
			}
			b.drained()
			b.stop(o)
			b.check()
		})
	}
}

// TestLostAnswerOfCommitIsNotDoubled lets EndTxn be done and its answer say that nobody knows.
func TestLostAnswerOfCommitIsNotDoubled(t *testing.T) {
	b := onFake(t, 1)
	b.feed(100)
	var lie atomic.Int64
	b.cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if lie.Add(1)%4 != 2 {
			return nil, nil, false
		}
		done := make(chan kmsg.Response, 1)
		go func() { // the request as another connection would send it
			cl := kafkatest.Client(t, b.kafka)
			defer cl.Close()
			again := *req.(*kmsg.EndTxnRequest)
			resp, err := again.RequestWith(context.Background(), cl)
			if err != nil || resp.ErrorCode != 0 {
				t.Errorf("EndTxn beside: %v %v", err, resp)
			}
			done <- resp
		}()
		b.cluster.SleepControl(func() { <-done })
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	})
	o := b.start(b.config("a"))
	for range 10 {
		b.feed(50)
		b.drained()
	}
	b.stop(o)
	b.check()
}

func TestWorkersJoinAndLeave(t *testing.T) {
	onBrokers(t, 6, func(b *bench) {
		feeding, stop := context.WithCancel(t.Context())
		var fed sync.WaitGroup
		fed.Go(func() {
			for feeding.Err() == nil {
				b.feed(40)
				if sleep(feeding, 10*time.Millisecond) != nil {
					return
				}
			}
		})
		has := func(o *Owner) func() bool { return func() bool { return testCounter(t, o.metrics.applied) > 0 } }
		first := b.start(b.config("a"))
		b.until("the first has records", has(first))
		second := b.config("b")
		second.Workers = 2
		joined := b.start(second)
		b.until("the second has records", has(joined))
		third := b.start(b.config("c"))
		b.until("the third has records", has(third))
		b.stop(first)
		b.until("the rest go on", func() bool { return testCounter(t, joined.metrics.commits.WithLabelValues("committed")) > 20 })
		b.stop(joined)
		stop()
		fed.Wait()
		b.drained()
		b.stop(third)
		b.check()
	})
}

func TestOtherFactsThanCommittedStopThePartition(t *testing.T) {
	b := onFake(t, 2)
	c := b.config("a")
	c.CheckpointEvery = time.Hour
	b.feed(1000)
	o := b.start(c)
	b.drained()
	o.kill()
	<-o.done
	before := len(kafkatest.Committed(t, b.kafka, topic.Facts, 1))

	c.Machine = func(p int32) Machine { return makeCounting(p, uint64(p)) } // partition 1 concludes other things
	o = b.start(c)
	err := waitFailure(t, o)
	if !strings.Contains(err.Error(), "restore partition 1") || !strings.Contains(err.Error(), "hash") {
		t.Errorf("failure says %q", err)
	}
	b.feed(10)
	b.until("partition 0 goes on", func() bool { return testCounter(t, o.metrics.applied) >= 10 })
	b.stop(o)
	if after := len(kafkatest.Committed(t, b.kafka, topic.Facts, 1)); after != before {
		t.Errorf("the partition that stopped has %d frames, had %d", after, before)
	}
}

func TestRecordThatCannotBeAppliedStopsThePartition(t *testing.T) {
	b := onFake(t, 2)
	o := b.start(b.config("a"))
	b.feed(50)
	b.drained()
	if err := b.producer.ProduceSync(t.Context(), &kgo.Record{
		Topic: b.kafka.Topic(topic.Touchpoints), Partition: 1, Key: []byte("u:1"), Value: []byte("poison"),
	}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := waitFailure(t, o); !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("failure says %q", err)
	}
	applied := testCounter(t, o.metrics.applied)
	b.feed(50)
	b.until("partition 0 goes on", func() bool { return testCounter(t, o.metrics.applied) >= applied+50 })
}

func TestRemovedRecordsStopThePartition(t *testing.T) {
	for name, restarted := range map[string]bool{"never read": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			b := onFake(t, 1)
			c := b.config("a")
			if restarted {
				b.feed(50)
				o := b.start(c)
				b.drained()
				b.stop(o)
			}
			b.feed(500)
			adm := kadm.NewClient(b.producer)
			var offsets kadm.Offsets
			offsets.Add(kadm.Offset{Topic: b.kafka.Topic(topic.Touchpoints), Partition: 0, At: 400})
			if _, err := adm.DeleteRecords(t.Context(), offsets); err != nil {
				t.Fatal(err)
			}
			o := b.start(c)
			if err := waitFailure(t, o); !strings.Contains(err.Error(), "begins at record 400") {
				t.Errorf("failure says %q", err)
			}
		})
	}
}

func TestOffsetSetByOthersStopsThePartition(t *testing.T) {
	b := onFake(t, 1)
	b.feed(100)
	adm := kadm.NewClient(b.producer)
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: b.kafka.Topic(topic.Touchpoints), Partition: 0, At: 40, LeaderEpoch: -1})
	if err := adm.CommitAllOffsets(t.Context(), b.kafka.Prefix+group, offsets); err != nil {
		t.Fatal(err)
	}
	o := b.start(b.config("a"))
	if err := waitFailure(t, o); !strings.Contains(err.Error(), "without the hash") {
		t.Errorf("failure says %q", err)
	}
}

// TestBrokerRestart stops the broker and starts it again on the same folder, twice, once while another worker joins: it has
// forgotten the members then, who come back under other ids and believe that they still own their partitions.
func TestBrokerRestart(t *testing.T) {
	dir := t.TempDir()
	broker := func(ports ...int) *kfake.Cluster {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.Ports(ports...), kfake.GroupMinSessionTimeout(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		return cluster
	}
	port := freePort(t)
	cluster := broker(port)
	defer func() { cluster.Close() }()
	c := kafka.Config{Brokers: cluster.ListenAddrs(), Partitions: 4, Replication: 1}
	b := newBench(t, c, cluster)
	if _, err := kafka.EnsureTopics(t.Context(), b.producer, c); err != nil {
		t.Fatal(err)
	}
	b.feed(100)
	first := b.start(b.config("a"))
	b.drained()
	cluster.Close()
	cluster = broker(port)
	b.feed(100)
	b.drained()
	second := b.start(b.config("b"))
	cluster.Close()
	cluster = broker(port)
	for range 20 {
		b.feed(50)
	}
	b.drained()
	b.until("both workers have partitions", func() bool {
		return testCounter(t, first.metrics.applied) > 0 && testCounter(t, second.metrics.applied) > 0
	})
	b.feed(100)
	b.drained()
	b.stop(first)
	b.stop(second)
	b.check()
}
