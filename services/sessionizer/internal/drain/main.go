// Command drain runs the sessionizer in the job that other stream processors do side by side: it drains a topic of the peers'
// touchpoints and writes one record for each closed session. Workers, transactions, state machine, repeat check, verdicts and
// checkpoints are the product's own; only the values on the wire are the peers'.
//
//	drain BROKERS TOPIC OUT ID
//
// It makes OUT, drains TOPIC up to its present end, prints one JSON object, and exits 0. Topics beside OUT begin with ID.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/owner"
)

// jobRules are the job's: sessions by a gap of 30 minutes, events up to 10 minutes late, each session written once. All else is the default.
const jobRules = `{slack: 10m, lateness: 10m, identity: {adopt: 10m}, passive: [tick]}`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("usage: drain BROKERS TOPIC OUT ID")
	}
	c := kafka.Config{Brokers: strings.Split(args[0], ","), Prefix: args[3] + "-", Partitions: 1, Replication: 1}
	in, out := args[1], args[2]
	config := zap.NewProductionConfig()
	config.Level.SetLevel(zap.WarnLevel)
	log, err := config.Build()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(c.Opts("drain", log)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, in)
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("list offsets of %s: %w", in, err)
	}
	n := int32(len(ends[in]))
	topics := owner.Topics{Touchpoints: in, Facts: out, Checkpoints: c.Prefix + "checkpoints"}
	compact, size := "compact", strconv.Itoa(kafka.MaxRecordBytes)
	for name, settings := range map[string]map[string]*string{
		out: {"max.message.bytes": &size}, topics.Checkpoints: {"cleanup.policy": &compact, "max.message.bytes": &size},
	} {
		if r, err := adm.CreateTopic(ctx, n, 1, settings, name); errors.Join(err, r.Err) != nil {
			return fmt.Errorf("create %s: %w", name, errors.Join(err, r.Err))
		}
	}

	rule, err := job()
	if err != nil {
		return err
	}
	began := time.Now()
	count := &counters{}
	o, err := owner.New(owner.Config{
		Kafka: c, Topics: topics, Workers: 2, Instance: args[3], CommitEvery: 200 * time.Millisecond, CommitRecords: 50_000,
		TickEvery:       24 * time.Hour, // the topic is not ours to write to
		CheckpointEvery: 5 * time.Second, CheckpointBytes: 20 << 20,
		SessionTimeout: 10 * time.Second, TransactionTimeout: 30 * time.Second, EndTimeout: 3 * time.Second, Rebuild: 100 * time.Millisecond,
		Machine: func(partition int32) owner.Machine { return newMachine(partition, rule, count) },
		Encode:  count.encode,
	}, log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	if err := o.Start(ctx); err != nil {
		return err
	}
	if err := drained(ctx, adm, o, c.Prefix+"sessionizer", in, ends[in]); err != nil {
		return err
	}
	took := time.Since(began)
	events, first := count.read()
	report := map[string]any{
		"peer": "waymark", "events": events, "seconds": took.Seconds(), "events_per_s": float64(events) / took.Seconds(),
		"net_events_per_s":      float64(events) / (took - first.Sub(began)).Seconds(),
		"start_to_first_read_s": first.Sub(began).Seconds(), "sessions_out": count.sessions.Load(),
	}
	if err := o.Stop(ctx); err != nil {
		return err
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	report["cpu_seconds"], report["cpu_s_per_m_events"] = cpu, cpu/float64(events)*1e6
	report["peak_rss_mb"] = u.Maxrss / 1024
	return json.NewEncoder(os.Stdout).Encode(report)
}

func job() (*rules.Rules, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(jobRules), &doc); err != nil {
		return nil, err
	}
	return rules.Parse(doc.Content[0])
}

// drained waits until the group has committed every partition up to its end.
func drained(ctx context.Context, adm *kadm.Client, o *owner.Owner, group, in string, ends map[int32]kadm.ListedOffset) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-o.Failed():
			return err
		case <-time.After(20 * time.Millisecond):
		}
		committed, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			continue // the group is not there yet
		}
		left := false
		for p, end := range ends {
			at, ok := committed.Lookup(in, p)
			left = left || !ok && end.Offset > 0 || ok && at.At < end.Offset
		}
		if !left {
			return nil
		}
	}
}
