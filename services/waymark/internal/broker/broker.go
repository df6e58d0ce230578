// Package broker is the embedded Kafka of an installation on one machine: kfake with its data on disk. What it acknowledged
// survives the death of the process, not a power cut. A real installation has a real Kafka; nothing but the address differs.
package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/topic"
)

const (
	// cleanEvery is the time between two runs of retention and compaction. The first one is as long after the start, so that
	// what lay there while nothing ran is read before it can be too old.
	cleanEvery = 15 * time.Minute
	// factsKept: the embedded loader is seconds behind, and the broker holds an index entry for every batch in memory.
	factsKept = 24 * time.Hour
)

// Config says where the broker lives.
type Config struct {
	Dir  string
	Port int // on 127.0.0.1; 0 is a free one
	Log  *zap.Logger
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	log     *zap.Logger
	stop    context.CancelFunc
	cleaner sync.WaitGroup
}

// Start opens the data and answers from now on. ctx bounds the life of the cleaning, not of the broker.
func Start(ctx context.Context, c Config) (*Broker, error) {
	if err := dropTorn(c.Dir); err != nil {
		return nil, fmt.Errorf("start embedded broker in %s: %w", c.Dir, err)
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(c.Port),
		kfake.ClusterID("waymark"),
		kfake.DataDir(c.Dir),
		kfake.WithLogger(logger{c.Log}),
		kfake.DefaultNumPartitions(1),
		kfake.BrokerConfigs(map[string]string{
			// The positions of an installation that rests for months stay valid.
			"offsets.retention.minutes": strconv.Itoa(10 * 365 * 24 * 60),
			// kfake's own cleaning would not look at open transactions; see clean.
			"log.cleaner.backoff.ms": strconv.FormatInt((10 * 365 * 24 * time.Hour).Milliseconds(), 10),
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker in %s: %w", c.Dir, err)
	}
	addrs := cluster.ListenAddrs()
	if len(addrs) != 1 {
		cluster.Close()
		return nil, errors.New("start embedded broker: it has no address")
	}
	b := &Broker{cluster: cluster, addr: addrs[0], log: c.Log}
	if err := b.abortOpen(ctx, c.Dir); err != nil {
		cluster.Close()
		return nil, fmt.Errorf("start embedded broker in %s: %w", c.Dir, err)
	}
	ctx, b.stop = context.WithCancel(ctx)
	b.cleaner.Go(func() { b.clean(ctx) })
	return b, nil
}

// Addr is the broker's address, host:port.
func (b *Broker) Addr() string { return b.addr }

// KeepLess shortens the retention of the facts, once the topics are made.
func (b *Broker) KeepLess(ctx context.Context, prefix string) error {
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return fmt.Errorf("set retention: %w", err)
	}
	defer adm.Close()
	ms := strconv.FormatInt(factsKept.Milliseconds(), 10)
	if _, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &ms}}, prefix+topic.Facts); err != nil {
		return fmt.Errorf("set retention of %s: %w", prefix+topic.Facts, err)
	}
	return nil
}

// Close saves and ends the broker, best after all its clients have closed.
func (b *Broker) Close() error {
	b.stop()
	b.cleaner.Wait()
	b.cluster.Close()
	return nil
}

// clean applies retention and compaction now and then. kfake compacts past open transactions: if such a one then aborts, what its
// records replaced is gone. So it waits for a moment without one in the compacted topics.
func (b *Broker) clean(ctx context.Context) {
	every := time.NewTicker(cleanEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		began := time.Now()
		b.cluster.ApplyRetention()
		for attempt := 0; attempt < 50 && ctx.Err() == nil; attempt++ {
			if b.quiet(ctx) {
				b.cluster.Compact()
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		b.log.Debug("embedded broker cleaned", zap.Duration("took", time.Since(began)))
	}
}

// quiet says that no checkpoint is being written at this moment.
func (b *Broker) quiet(ctx context.Context) bool {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return false
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return false
	}
	names := topics.Names()
	ends, err := adm.ListEndOffsets(ctx, names...)
	if err != nil {
		return false
	}
	stable, err := adm.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return false
	}
	quiet := true
	stable.Each(func(o kadm.ListedOffset) {
		end, ok := ends.Lookup(o.Topic, o.Partition)
		// The end was asked for first: what was written since can only make the stable offset the larger one.
		quiet = quiet && ok && o.Err == nil && end.Err == nil && o.Offset >= end.Offset
	})
	return quiet
}

// logger takes kfake's warnings into the log of the process.
type logger struct{ log *zap.Logger }

// Logf implements kfake.Logger.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("embedded broker", zap.String("reason", fmt.Sprintf(format, args...)))
	case kfake.LogLevelWarn: // of interest to its makers: a transaction that took some milliseconds is one
		l.log.Info("embedded broker", zap.String("reason", fmt.Sprintf(format, args...)))
	case kfake.LogLevelNone, kfake.LogLevelInfo, kfake.LogLevelDebug: // one line for each request
	}
}
