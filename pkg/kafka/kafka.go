// Package kafka is how services reach the broker: client settings that the guarantees rest on, and the making of topics.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kzap"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/topic"
)

// MaxRecordBytes is the largest record of any topic.
const MaxRecordBytes = 16 << 20

// Config says how to reach a cluster.
type Config struct {
	Brokers []string // host:port
	Prefix  string   // of every topic and group name of this installation; may be empty
	// Partitions of touchpoints, facts and checkpoints; used only when the topics are made.
	Partitions int
	// Replication of new topics; -1 is the broker's default.
	Replication int16
}

// DefaultConfig is a local broker.
func DefaultConfig() Config {
	return Config{Brokers: []string{"127.0.0.1:9092"}, Partitions: topic.DefaultPartitions, Replication: -1}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	var problems []error
	if len(c.Brokers) == 0 {
		problems = append(problems, errors.New("kafka.brokers: none given, expected a list of host:port"))
	}
	if c.Partitions < 1 || c.Partitions > 4096 {
		problems = append(problems, fmt.Errorf("kafka.partitions: %d is not between 1 and 4096", c.Partitions))
	}
	return errors.Join(problems...)
}

// Topic is the name of a topic in this installation.
func (c Config) Topic(name string) string { return c.Prefix + name }

// Opts are the options common to all clients. The service is named in the broker's logs.
func (c Config) Opts(service string, log *zap.Logger) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID("waymark-" + service),
		kgo.WithLogger(kzap.New(log.Named("kgo"), kzap.Level(kgo.LogLevelWarn))),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(MaxRecordBytes - 1<<10),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxPartitionBytes(4 << 20),
		// kfake leaves the aborted transactions of a partition out of a response that its size cut short.
		kgo.FetchMaxBytes(512 << 20),
		kgo.BrokerMaxReadBytes(1 << 30),
		kgo.RetryTimeout(30 * time.Second),
	}
}

// EnsureTopics makes the topics that are missing and checks those that are there: the number of partitions is fixed when an
// installation is made, since it decides where every person's events are. It returns that number.
func EnsureTopics(ctx context.Context, cl *kgo.Client, c Config) (partitions int, err error) {
	adm := kadm.NewClient(cl)
	layouts := topic.Layouts(c.Prefix, c.Partitions)
	for _, l := range layouts {
		config := make(map[string]*string, len(l.Config))
		for key, value := range l.Config {
			config[key] = new(value)
		}
		resp, err := adm.CreateTopic(ctx, int32(l.Partitions), c.Replication, config, l.Name)
		if err = errors.Join(err, resp.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return 0, fmt.Errorf("create topic %s: %w", l.Name, err)
		}
	}
	details, err := listNew(ctx, adm, names(layouts))
	if err != nil {
		return 0, fmt.Errorf("list topics: %w", err)
	}
	partitions = len(details[c.Topic(topic.Touchpoints)].Partitions)
	for _, name := range []string{topic.Facts, topic.Checkpoints} {
		if n := len(details[c.Topic(name)].Partitions); n != partitions {
			return 0, fmt.Errorf("topic %s has %d partitions and %s has %d: both must have the number that the installation was made with",
				c.Topic(topic.Touchpoints), partitions, c.Topic(name), n)
		}
	}
	return partitions, nil
}

// listNew lists topics that may have been made a moment ago: a real broker learns of them after it has answered.
func listNew(ctx context.Context, adm *kadm.Client, names []string) (kadm.TopicDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		details, err := adm.ListTopics(ctx, names...)
		if err = errors.Join(err, details.Error()); !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.LeaderNotAvailable) {
			return details, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func names(layouts []topic.Layout) []string {
	out := make([]string, 0, len(layouts))
	for _, l := range layouts {
		out = append(out, l.Name)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
