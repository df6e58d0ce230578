package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/telemetry"
)

type migrateCmd struct {
	configFlags
}

func (migrateCmd) Help() string {
	return `Makes what services need, and brings it up to this binary: the tables and views in ClickHouse, and the topics in Kafka. What is there
already stays as it is; it may be run at any time, and by several at once.

The number of partitions (kafka.partitions, 64 by default) is fixed when the topics are made, since it decides where every person's
events are.

Examples:
  waymark migrate --config waymark.yaml
  waymark migrate --config waymark.yaml --set kafka.partitions=16 --set kafka.replication=3

Then: waymark run --help`
}

// Run makes tables and topics.
func (c *migrateCmd) Run(ctx context.Context, std *stdio) error {
	cfg, err := c.load(std)
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(std.Err, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return usagef("%w", err)
	}
	db, err := migrate(ctx, clickhouseConfig(cfg), log)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	version, err := db.Version(ctx)
	if err != nil {
		return err
	}
	partitions, err := ensureTopics(ctx, kafkaConfig(cfg), log)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "clickhouse %s: schema %d\nkafka %s: %d partitions\n",
		cfg.ClickHouse.Addr, version, strings.Join(cfg.Kafka.Brokers, ","), partitions)
	if wanted := cfg.Kafka.Partitions; wanted != 0 && wanted != partitions {
		return usagef("kafka.partitions is %d, and the topics were made with %d: the number cannot change; correct the configuration, or take another kafka.prefix",
			wanted, partitions)
	}
	return nil
}

// migrate opens the database and brings its schema up to this binary.
func migrate(ctx context.Context, c chdb.Config, log *zap.Logger) (*chdb.DB, error) {
	db, err := chdb.Open(ctx, c, log)
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("schema of clickhouse at %s: %w", c.Addr, err), db.Close())
	}
	return db, nil
}

func ensureTopics(ctx context.Context, k kafka.Config, log *zap.Logger) (int, error) {
	cl, err := kgo.NewClient(k.Opts("migrate", log)...)
	if err != nil {
		return 0, fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	n, err := kafka.EnsureTopics(ctx, cl, k)
	if err != nil {
		return 0, fmt.Errorf("kafka at %s: %w", strings.Join(k.Brokers, ","), err)
	}
	return n, nil
}

func clickhouseConfig(c *config.Config) chdb.Config {
	out := chdb.DefaultConfig()
	out.Addr, out.User, out.Password, out.Compress = c.ClickHouse.Addr, c.ClickHouse.User, c.ClickHouse.Password.Reveal(), c.ClickHouse.Compress
	return out
}
