package owner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/topic"
)

// childVariable holds the order for a test binary that runs as a worker process of its own: only such a one can be killed and
// frozen as an operating system does it.
const childVariable = "OWNER_TEST_CHILD"

// order is what a child does: run an owner, and send itself a signal when it comes to a failpoint for the nth time.
type order struct {
	Kafka    kafka.Config
	Instance string
	Static   bool
	Session  time.Duration
	Point    string
	Nth      int64
	Signal   syscall.Signal
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(runChild(text))
	}
	os.Exit(m.Run())
}

func runChild(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	log := zap.Must(zap.NewDevelopment())
	config := testConfig(o.Kafka, o.Instance, o.Session)
	config.Static = o.Static
	var came atomic.Int64
	config.Failpoint = func(name string) {
		if name == o.Point && came.Add(1) == o.Nth {
			_ = syscall.Kill(os.Getpid(), o.Signal)
		}
	}
	owner, err := New(config, log, prometheus.NewRegistry())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := owner.Start(context.WithoutCancel(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	select {
	case err := <-owner.Failed():
		fmt.Fprintln(os.Stderr, "FAILED", err)
		return 3
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := owner.Stop(bounded); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is a worker process.
type child struct {
	b      *bench
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan error
}

func (b *bench) spawn(o order) *child {
	b.Helper()
	o.Kafka, o.Session = b.kafka, b.session
	text, err := json.Marshal(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{b: b, cmd: exec.CommandContext(ctx, os.Args[0]), ended: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	b.Cleanup(func() {
		cancel() // kills it if it still runs
		select {
		case <-c.ended: //nolint:errcheck // it was killed
		case <-time.After(10 * time.Second):
			b.Error("a worker process does not end")
		}
		if b.Failed() {
			b.Logf("worker process %s:\n%s", o.Instance, c.output.String())
		}
	})
	return c
}

// wait gives how the process ended.
func (c *child) wait() error {
	c.b.Helper()
	select {
	case err := <-c.ended:
		c.ended <- err
		return err
	case <-time.After(45 * time.Second):
		c.b.Fatal("worker process does not end")
		return nil
	}
}

func (c *child) stop() {
	c.b.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.wait(); err != nil {
		c.b.Errorf("worker process: %v\n%s", err, c.output.String())
	}
}

func (c *child) frozen() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "T")
}

// TestKilledAtEveryPoint kills the worker at each of the instructions in question, the third time it comes there, and lets
// another one of the same name go on.
func TestKilledAtEveryPoint(t *testing.T) {
	onBrokers(t, 2, func(b *bench) {
		for _, point := range []string{
			PointRestored, PointApplied, PointBeforeBegin, PointProduced, PointEnded, PointBeforeCheckpoint, PointSaved, PointAfterCheckpoint,
		} {
			nth := int64(3)
			if point == PointRestored {
				nth = 1
			}
			b.feed(400)
			c := b.spawn(order{Instance: "a", Static: true, Point: point, Nth: nth, Signal: syscall.SIGKILL})
			if err := c.wait(); err == nil {
				b.Fatalf("the process was not killed at %q:\n%s", point, c.output.String())
			}
			b.feed(100)
			c = b.spawn(order{Instance: "a", Static: true})
			b.drained()
			c.stop()
		}
		b.check()
		b.committed()
	})
}

// TestKilledAtHandOver kills a worker that has just given partitions away.
func TestKilledAtHandOver(t *testing.T) {
	b := onFake(t, 4)
	b.feed(300)
	c := b.spawn(order{Instance: "a", Point: PointHandOver, Nth: 1, Signal: syscall.SIGKILL})
	b.drained()
	other := b.start(b.config("b"))
	if err := c.wait(); err == nil {
		t.Fatal("the process was not killed")
	}
	b.feed(300)
	b.drained()
	b.stop(other)
	b.check()
}

// TestFrozenWorkerWakesAsZombie freezes a worker until its partitions are another's, who has gone on, and wakes it.
func TestFrozenWorkerWakesAsZombie(t *testing.T) {
	for _, point := range []string{PointApplied, PointBeforeBegin, PointProduced, PointEnded, PointBeforeCheckpoint, PointSaved, PointAfterCheckpoint} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			onBrokers(t, 2, func(b *bench) {
				b.feed(300)
				zombie := b.spawn(order{Instance: "a", Point: point, Nth: 4, Signal: syscall.SIGSTOP})
				b.until("the worker is frozen", func() bool { b.feed(5); return zombie.frozen() })
				b.feed(300)
				heir := b.start(b.config("b"))
				b.drained()
				b.feed(200)
				b.drained()
				if err := zombie.cmd.Process.Signal(syscall.SIGCONT); err != nil {
					b.Fatal(err)
				}
				before := testCounter(b, heir.metrics.applied)
				b.until("both go on", func() bool {
					b.feed(5)
					return testCounter(b, heir.metrics.applied) > before+500
				})
				b.drained()
				zombie.stop()
				b.drained()
				b.stop(heir)
				b.check()
			})
		})
	}
}

// TestStorm kills and freezes worker processes at random while records come, and compares in the end.
func TestStorm(t *testing.T) {
	onBrokers(t, 4, func(b *bench) {
		seed := uint64(time.Now().UnixNano())
		b.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		feeding, stop := context.WithCancel(b.Context())
		var fed sync.WaitGroup
		fed.Go(func() {
			for feeding.Err() == nil {
				b.feed(20)
				_ = sleep(feeding, 10*time.Millisecond)
			}
		})
		length := 6 * b.session
		names := []string{"a", "b", "c"}
		running := map[string]*child{}
		deaths := 0
		for end := time.Now().Add(length); time.Now().Before(end); {
			name := names[r.IntN(len(names))]
			c := running[name]
			switch {
			case c == nil:
				running[name] = b.spawn(order{Instance: name, Static: name != "c"})
			case r.IntN(4) == 0: // freeze for longer than its session lasts, or not
				_ = c.cmd.Process.Signal(syscall.SIGSTOP)
				time.AfterFunc(time.Duration(r.Int64N(int64(2*b.session))), func() { _ = c.cmd.Process.Signal(syscall.SIGCONT) })
			default:
				_ = c.cmd.Process.Signal(syscall.SIGCONT)
				_ = c.cmd.Process.Kill()
				_ = c.wait()
				deaths++
				delete(running, name)
			}
			_ = sleep(b.Context(), time.Duration(r.Int64N(int64(b.session/2))))
		}
		stop()
		fed.Wait()
		for _, name := range names {
			c := running[name]
			if c == nil {
				running[name] = b.spawn(order{Instance: name, Static: name != "c"})
				continue
			}
			_ = c.cmd.Process.Signal(syscall.SIGCONT)
		}
		b.drained()
		for _, c := range running {
			c.stop()
		}
		b.check()
		frames := 0
		for p := range b.partitions {
			frames += len(kafkatest.Committed(b, b.kafka, topic.Facts, int32(p)))
		}
		b.Logf("%d deaths, %d frames", deaths, frames)
	})
}
