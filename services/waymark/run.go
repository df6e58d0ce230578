package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/pkg/telemetry"
	"github.com/waymark-analytics/waymark/services/collector"
	"github.com/waymark-analytics/waymark/services/loader"
	"github.com/waymark-analytics/waymark/services/sessionizer"
)

type runCmd struct {
	Services []string `arg:"" enum:"collector,sessionizer,loader" help:"collector, sessionizer or loader; several names: several in one process."`
	configFlags
}

func (runCmd) Help() string {
	return `Runs services against a real Kafka and a real ClickHouse, which the configuration names. Run "waymark migrate" once before the first
one, and after each upgrade. Any number of each service may run: the partitions of the log are dealt among the sessionizers, and
one loader works while the others stand by.

  collector     takes events over HTTP (collector.listen); answers 200 when they are in Kafka
  sessionizer   makes sessions, funnels and carts of them; keeps its state in memory and its checkpoints in Kafka
  loader        puts events and facts into ClickHouse, each exactly once

/metrics, /healthz and /readyz are at metrics.listen. SIGTERM stops in order: nothing new is taken, what is in hand is finished.

Examples:
  waymark run collector --config waymark.yaml
  waymark run sessionizer loader --config waymark.yaml --set metrics.listen=0.0.0.0:9181

Everything on one machine, without Kafka or ClickHouse: waymark up --help`
}

// Run runs the services until the context ends or one of them cannot go on.
func (c *runCmd) Run(ctx context.Context, std *stdio) (err error) {
	cfg, err := c.load(std)
	if err != nil {
		return err
	}
	tuneMemory(0.8)
	h := newHost()
	if h.log, err = telemetry.NewLogger(std.Err, cfg.Log.Level, cfg.Log.Format); err != nil {
		return usagef("%w", err)
	}
	defer func() { err = errors.Join(err, h.Stop(ctx)) }()
	if effective, err := cfg.YAML(); err == nil {
		h.log.Info("configuration", zap.String("effective", string(effective)))
	}
	version, _ := buildVersion()
	h.log.Info("starting", zap.Strings("services", c.Services), zap.String("version", version))

	var up atomic.Bool
	page := telemetry.Page{Title: "Waymark " + strings.Join(c.Services, ", "), Links: func() []telemetry.Link {
		return []telemetry.Link{{Name: "Metrics", Value: "/metrics", URL: "/metrics"}, {Name: "Ready", Value: "/readyz", URL: "/readyz"}}
	}, Ready: func() error {
		if !up.Load() {
			return errors.New("not every service has started")
		}
		return nil
	}}
	metrics, err := telemetry.Listen(ctx, h.registry, page, cfg.Metrics.Listen)
	if err != nil {
		return fmt.Errorf("metrics.listen: %w", err)
	}
	h.stack.Push("metrics", metrics.Stop)
	metrics.Start()

	// The readers before the writer, whatever the order of the names.
	for _, name := range []string{"loader", "sessionizer", "collector"} {
		if !slices.Contains(c.Services, name) {
			continue
		}
		s, err := h.build(name, cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := h.launch(ctx, name, s); err != nil {
			return err
		}
	}
	up.Store(true)
	h.stack.Push("readiness", func(context.Context) error { up.Store(false); return nil })
	return h.wait(ctx)
}

// build makes a service of a real installation.
func (h *host) build(name string, cfg *config.Config) (service, error) {
	k := kafkaConfig(cfg)
	switch name {
	case "collector":
		return collector.New(collectorConfig(cfg, k, cfg.Projects), collector.Deps{
			Log: h.log, Registry: h.registry, Gatherer: h.registry, Rules: cfg.Rules, Locate: locator(askConfigured(cfg)),
		})
	case "sessionizer":
		return sessionizer.New(sessionizerConfig(cfg), sessionizer.Deps{Log: h.log, Registry: h.registry, Kafka: k, Rules: cfg.Rules})
	case "loader":
		return loader.New(loaderConfig(cfg, k, clickhouseConfig(cfg)), loader.Deps{Log: h.log.Named("loader"), Registry: h.registry, Rules: cfg.Rules})
	}
	return nil, fmt.Errorf("no service has the name %q", name)
}
