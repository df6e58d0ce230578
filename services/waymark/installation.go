package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/chengine"
	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/telemetry"
	"github.com/waymark-analytics/waymark/services/waymark/internal/broker"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
	"github.com/waymark-analytics/waymark/services/waymark/internal/home"
)

const (
	// upPartitions is the number of partitions of an installation on one machine: enough for its cores, few enough to be idle.
	upPartitions = 4
	logName      = "waymark.log"
	logBytes     = 16 << 20 // at a start, a longer log makes room for a new one
	diskEvery    = 15 * time.Second
	readyTimeout = 2 * time.Minute
	lowBytes     = 512 << 20 // free space below which the log warns
)

// installation is everything on this machine, running. Stop order: no endpoints -> collector -> sessionizer -> loader -> metrics ->
// engine -> broker -> folder.
type installation struct {
	*host
	Endpoints endpoints.Endpoints

	home   *home.Home
	config *config.Config
	ports  home.Ports
	kafka  kafka.Config

	broker     *broker.Broker // nil: Kafka is not ours
	external   bool           // ClickHouse is not ours
	clickhouse chdb.Config
}

// start brings everything up and returns when everything answers. A failed start leaves nothing running.
func (f *upFlags) start(ctx context.Context, dir string, std *stdio) (_ *installation, err error) {
	cfg, err := f.load(std)
	if err != nil {
		return nil, err
	}
	tuneMemory(0.4) // the engine has up to half
	in := &installation{host: newHost(), config: cfg}
	defer func() {
		if err != nil {
			if ctx.Err() != nil {
				err = errors.New("stopped before everything answered")
			}
			err = errors.Join(err, in.Stop(ctx))
		}
	}()
	if err := in.openFolder(ctx, f, dir, std); err != nil {
		return nil, err
	}
	for _, part := range []func() error{
		func() error { return in.startBroker(ctx, f) },
		func() error { return in.startEngine(ctx, f, std) },
		func() error { return in.makeTopics(ctx, f) },
		func() error { return in.makeTables(ctx) },
		func() error { return in.startMetrics(ctx) },
		func() error { return in.startServices(ctx) },
		in.watchDisk,
		in.announce,
	} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (in *installation) openFolder(ctx context.Context, f *upFlags, dir string, std *stdio) error {
	h, err := home.Open(dir)
	if err != nil {
		return err
	}
	in.home = h
	in.stack.Push("folder", func(context.Context) error { return h.Close() })
	// What an earlier process left behind after a crash would lead clients astray.
	if err := endpoints.Remove(h.Path(endpoints.Name)); err != nil {
		return err
	}
	if err := in.openLog(std); err != nil {
		return err
	}
	wanted := in.config.Kafka.Partitions
	if f.Partitions != 0 {
		wanted = f.Partitions
	}
	switch {
	case wanted < 0 || wanted > 4096:
		return usagef("--partitions %d: expected a number from 1 to 4096", wanted)
	case h.Partitions > 0 && wanted > 0 && wanted != h.Partitions:
		return usagef("folder %s was made with %d partitions, and %d are asked for: the number is fixed at the first start, since it decides where every person's events are; leave it out, or take another folder",
			h.Dir, h.Partitions, wanted)
	case h.Partitions == 0 && wanted > 0:
		h.Partitions = wanted
	case h.Partitions == 0:
		h.Partitions = upPartitions
	}
	if in.ports, err = h.Choose(ctx, f.PortBase); err != nil {
		return err
	}
	return h.Save()
}

// openLog sends everything to the log file, and warnings to the terminal too.
func (in *installation) openLog(std *stdio) error {
	path := in.home.Path(logName)
	if info, err := os.Stat(path); err == nil && info.Size() > logBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return fmt.Errorf("open log: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	all, err := telemetry.NewLogger(file, in.config.Log.Level, "json")
	if err != nil {
		return err
	}
	loud, err := telemetry.NewLogger(std.Err, "warn", "console")
	if err != nil {
		return err
	}
	in.log = zap.New(zapcore.NewTee(all.Core(), loud.Core()))
	in.stack.Push("log", func(context.Context) error { return file.Close() })
	effective, err := in.config.YAML()
	if err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	version, _ := buildVersion()
	in.log.Info("starting", zap.String("version", version), zap.String("configuration", string(effective)))
	return nil
}

func (in *installation) startBroker(ctx context.Context, f *upFlags) error {
	c := in.config.Kafka
	in.kafka = kafka.Config{Prefix: c.Prefix, Partitions: in.home.Partitions, Replication: int16(c.Replication)}
	if f.Kafka != "" {
		in.kafka.Brokers = strings.Split(f.Kafka, ",")
		return in.kafka.Validate()
	}
	b, err := broker.Start(context.WithoutCancel(ctx), broker.Config{Dir: in.home.Path("broker"), Port: in.ports.Kafka, Log: in.log.Named("broker")})
	if err != nil {
		return err
	}
	in.broker = b
	in.stack.Push("broker", func(context.Context) error { return b.Close() })
	in.kafka.Brokers = []string{b.Addr()}
	return nil
}

func (in *installation) startEngine(ctx context.Context, f *upFlags, std *stdio) error {
	if in.external = f.ClickHouse != ""; in.external {
		in.Endpoints.ClickHouseNative = f.ClickHouse
		in.Endpoints.ClickHouseHTTP = in.config.ClickHouse.HTTP
		return nil
	}
	notes, err := telemetry.NewLogger(std.Err, "info", "console") // a first start fetches the engine: people wait for it
	if err != nil {
		return err
	}
	program, err := chengine.Locate(ctx, chengine.LocateConfig{Offline: f.Offline, Log: notes})
	if err != nil {
		return err
	}
	e, err := chengine.Start(ctx, chengine.Config{
		Program: program, Dir: in.home.Path("clickhouse"), TCP: in.ports.ClickHouseNative, HTTP: in.ports.ClickHouseHTTP, Log: in.log.Named("engine"),
	})
	if err != nil {
		return err
	}
	in.stack.Push("engine", e.Stop)
	in.watch(e.Done(), e.Err)
	in.Endpoints.ClickHouseNative, in.Endpoints.ClickHouseHTTP = e.Addr(), e.HTTP()
	return nil
}

// watch reports the end of a part that ends with an error.
func (in *installation) watch(done <-chan struct{}, reason func() error) {
	go func() { // ends with the part, which Stop waits for
		<-done
		if err := reason(); err != nil {
			in.failed <- err
		}
	}()
}

func (in *installation) makeTopics(ctx context.Context, f *upFlags) error {
	n, err := ensureTopics(ctx, in.kafka, in.log)
	if err != nil {
		return err
	}
	if in.broker != nil {
		if err := in.broker.KeepLess(ctx, in.kafka.Prefix); err != nil {
			return err
		}
	}
	if n != in.home.Partitions {
		if f.Partitions != 0 {
			return usagef("the topics at %s have %d partitions, and %d are asked for: leave --partitions out", strings.Join(in.kafka.Brokers, ","), n, f.Partitions)
		}
		in.home.Partitions, in.kafka.Partitions = n, n
		return in.home.Save()
	}
	return nil
}

// makeTables brings the schema up to this binary.
func (in *installation) makeTables(ctx context.Context) error {
	in.clickhouse = chdb.DefaultConfig()
	if in.external {
		in.clickhouse = clickhouseConfig(in.config)
	}
	in.clickhouse.Addr = in.Endpoints.ClickHouseNative
	db, err := migrate(ctx, in.clickhouse, in.log)
	if err != nil {
		return err
	}
	return db.Close()
}

func (in *installation) startMetrics(ctx context.Context) error {
	page := telemetry.Page{
		Title: "Waymark",
		Links: func() []telemetry.Link {
			e := in.Endpoints
			return []telemetry.Link{
				{Name: "Collector", Value: e.Collector + "/healthz", URL: e.Collector + "/healthz"},
				{Name: "SQL", Value: e.ClickHouseHTTP + "/play", URL: e.ClickHouseHTTP + "/play"},
				{Name: "ClickHouse, native", Value: e.ClickHouseNative},
				{Name: "Kafka", Value: e.Kafka},
				{Name: "Metrics", Value: e.Metrics + "/metrics", URL: e.Metrics + "/metrics"},
				{Name: "Folder", Value: in.home.Dir},
			}
		},
		Ready: func() error { return nil },
	}
	s, err := telemetry.Listen(ctx, in.registry, page, fmt.Sprintf("127.0.0.1:%d", in.ports.Console), fmt.Sprintf("127.0.0.1:%d", in.ports.Metrics))
	if err != nil {
		return err
	}
	in.stack.Push("metrics", s.Stop)
	in.Endpoints.Console, in.Endpoints.Metrics = "http://"+s.Addrs()[0], "http://"+s.Addrs()[1]
	s.Start()
	return nil
}

// watchDisk warns, once, before the disk is full: the broker then refuses what comes, and the collector answers 503.
func (in *installation) watchDisk() error {
	stopping := make(chan struct{})
	var watching sync.WaitGroup
	in.stack.Push("disk watch", func(context.Context) error {
		close(stopping)
		watching.Wait()
		return nil
	})
	watching.Go(func() {
		every := time.NewTicker(diskEvery)
		defer every.Stop()
		for warned := false; !warned; {
			select {
			case <-stopping:
				return
			case <-every.C:
			}
			if free, err := in.home.FreeBytes(); err == nil && free < lowBytes {
				in.log.Warn("the disk is nearly full: when it is, events are answered with 503", zap.String("folder", in.home.Dir), zap.Uint64("free_bytes", free))
				warned = true
			}
		}
	})
	return nil
}

// announce tells clients where everything is.
func (in *installation) announce() error {
	path := in.home.Path(endpoints.Name)
	in.stack.Push("endpoints", func(context.Context) error { return endpoints.Remove(path) })
	return in.Endpoints.Write(path)
}
