package broker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/services/waymark/internal/broker"
)

func start(t *testing.T, dir string) (*broker.Broker, kafka.Config) {
	t.Helper()
	b, err := broker.Start(t.Context(), broker.Config{Dir: dir, Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	c := kafka.Config{Brokers: []string{b.Addr()}, Partitions: 2, Replication: -1}
	cl := client(t, c)
	defer cl.Close()
	if _, err := kafka.EnsureTopics(t.Context(), cl, c); err != nil {
		t.Fatal(err)
	}
	return b, c
}

func client(t *testing.T, c kafka.Config, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(c.Opts("test", zaptest.NewLogger(t)), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// crash is the folder as a killed process leaves it.
func crash(t *testing.T, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image
}

// write produces in a transaction, and ends it unless the process is to die with it open.
func write(t *testing.T, c kafka.Config, end bool, values ...string) {
	t.Helper()
	cl := client(t, c, kgo.TransactionalID("one"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "facts", Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if end {
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
}

// committed reads what a reader of committed records sees.
func committed(t *testing.T, c kafka.Config) []string {
	t.Helper()
	cl := client(t, c, kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"facts": {0: kgo.NewOffset().AtStart()}}))
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	var got []string
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func TestOpenTransactionStaysAbortedAfterMoreDeaths(t *testing.T) {
	dir := t.TempDir()
	_, c := start(t, dir)
	write(t, c, true, "a")
	write(t, c, false, "lost 1", "lost 2")
	want := []string{"a"}
	for round := range 3 {
		dir = crash(t, dir)
		_, c = start(t, dir)
		if got := committed(t, c); !slices.Equal(got, want) {
			t.Fatalf("after %d deaths a reader sees %q, want %q", round+1, got, want)
		}
		again := fmt.Sprintf("again %d", round)
		write(t, c, true, again)
		want = append(want, again)
		if got := committed(t, c); !slices.Equal(got, want) {
			t.Fatalf("after %d deaths and another transaction a reader sees %q, want %q", round+1, got, want)
		}
		write(t, c, false, "lost too")
	}
}

func TestBatchWithoutIndexEntryIsCutOff(t *testing.T) {
	dir := t.TempDir()
	_, c := start(t, dir)
	write(t, c, true, "a")
	write(t, c, false, "lost")
	dir = crash(t, dir)
	index := filepath.Join(dir, "partitions", "facts-0", "0.idx")
	info, err := os.Stat(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(index, info.Size()-7); err != nil { // within the entry of the last batch
		t.Fatal(err)
	}
	_, c = start(t, dir)
	write(t, c, true, "b")
	for range 2 {
		if got, want := committed(t, c), []string{"a", "b"}; !slices.Equal(got, want) {
			t.Fatalf("a reader sees %q, want %q", got, want)
		}
		dir = crash(t, dir)
		_, c = start(t, dir)
	}
}
