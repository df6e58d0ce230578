package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/services/collector"
	"github.com/waymark-analytics/waymark/services/loader"
	"github.com/waymark-analytics/waymark/services/sessionizer"
	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
)

// defaultProject is the project of an installation whose configuration names no web source.
const defaultProject = "default"

// startServices starts what makes numbers of events, the readers before the writer, so that nothing waits in the log for long.
func (in *installation) startServices(ctx context.Context) error {
	projects := in.projects()
	in.Endpoints.Kafka = strings.Join(in.kafka.Brokers, ",")
	in.Endpoints.ImportKey = cmp.Or(in.config.ImportKey.Reveal(), in.home.ImportKey)
	in.Endpoints.WriteKey = firstWebKey(projects)

	rows, err := loader.New(loaderConfig(in.config, in.kafka, in.clickhouse), loader.Deps{Log: in.log.Named("loader"), Registry: in.registry, Rules: in.config.Rules})
	if err != nil {
		return err
	}
	if err := in.launch(ctx, "loader", rows); err != nil {
		return err
	}

	sc := sessionizerConfig(in.config)
	sc.Instance = "up" // there is one in this folder's broker
	sessions, err := sessionizer.New(sc, sessionizer.Deps{Log: in.log, Registry: in.registry, Kafka: in.kafka, Rules: in.config.Rules})
	if err != nil {
		return fmt.Errorf("sessionizer: %w", err)
	}
	if err := in.launch(ctx, "sessionizer", sessions); err != nil {
		return err
	}

	cc := collectorConfig(in.config, in.kafka, projects)
	cc.Listen = fmt.Sprintf("127.0.0.1:%d", in.ports.Collector)
	cc.ImportKey, cc.AnyProject = in.Endpoints.ImportKey, true
	store := &ask.Client{URL: in.Endpoints.ClickHouseHTTP}
	if in.external {
		store = askConfigured(in.config)
	}
	events, err := collector.New(cc, collector.Deps{
		Log: in.log, Registry: in.registry, Gatherer: in.registry, Rules: in.config.Rules, Locate: locator(store),
	})
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	in.Endpoints.Collector = "http://" + events.Addr()
	if err := in.launch(ctx, "collector", events); err != nil {
		return err
	}
	return ready(ctx, in.Endpoints.Collector+"/readyz")
}

// ready waits until the URL answers 200.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := "no answer"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return fmt.Errorf("ask %s: %w", url, err)
		}
		if resp, err := client.Do(req); err == nil {
			last = resp.Status
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not get ready: %s: %w", url, last, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// projects are the configured ones with their sources, and, without a web source among them, the folder's own.
func (in *installation) projects() []config.Project {
	projects := append([]config.Project{}, in.config.Projects...)
	if firstWebKey(projects) != "" {
		return projects
	}
	own := config.Source{Name: "web", Kind: "web", WriteKey: config.Secret(in.home.WriteKey)}
	for i := range projects {
		if projects[i].Name == defaultProject {
			projects[i].Sources = append(append([]config.Source{}, projects[i].Sources...), own)
			return projects
		}
	}
	return append(projects, config.Project{Name: defaultProject, Sources: []config.Source{own}})
}

func firstWebKey(projects []config.Project) string {
	for _, p := range projects {
		for _, s := range p.Sources {
			if s.Kind == "web" {
				return s.WriteKey.Reveal()
			}
		}
	}
	return ""
}

func collectorConfig(c *config.Config, k kafka.Config, projects []config.Project) collector.Config {
	out := collector.Config{
		Listen: c.Collector.Listen, Kafka: k, ImportKey: c.ImportKey.Reveal(), Staff: map[string]collector.Staff{},
		MaxBatchBytes: int64(c.Collector.MaxBatchBytes), MaxBatchEvents: c.Collector.MaxBatchEvents,
		MaxImportBytes: int64(c.Collector.MaxImportBytes), MaxImportEvents: c.Collector.MaxImportEvents,
		MaxInFlightBytes: int64(c.Collector.MaxInFlightBytes), AckWithin: c.Collector.AckWithin,
		RatePerKey: float64(c.Collector.RatePerKey), RateBurst: c.Collector.RateBurst,
		ClientAddressHeader: c.Collector.ClientAddressHeader, CookieDays: c.Collector.CookieDays,
	}
	for _, p := range projects {
		out.Projects = append(out.Projects, p.Name)
		out.Staff[p.Name] = collector.Staff{Agents: p.Staff.Agents, Networks: p.Staff.Networks, Headers: p.Staff.Headers}
		for _, s := range p.Sources {
			out.Sources = append(out.Sources, collector.Source{Project: p.Name, Name: s.Name, Kind: s.Kind, WriteKey: s.WriteKey.Reveal()})
		}
	}
	return out
}

func sessionizerConfig(c *config.Config) sessionizer.Config {
	out := sessionizer.Config{
		Workers: c.Sessionizer.Workers, Instance: c.Sessionizer.Instance, Static: c.Sessionizer.Static,
		CommitEvery: c.Sessionizer.CommitEvery, CommitRecords: c.Sessionizer.CommitRecords,
		CheckpointEvery: c.Sessionizer.CheckpointEvery, CheckpointBytes: c.Sessionizer.CheckpointBytes,
		SessionTimeout: c.Sessionizer.SessionTimeout, TransactionTimeout: c.Sessionizer.TransactionTimeout,
	}
	if out.Workers == 0 {
		out.Workers = sessionizer.DefaultConfig().Workers
	}
	return out
}

func loaderConfig(c *config.Config, k kafka.Config, db chdb.Config) loader.Config {
	return loader.Config{
		Kafka: k, ClickHouse: db, Lanes: c.Loader.Lanes, Generation: c.Loader.Generation, FlushEvery: c.Loader.FlushEvery,
		IdleEvery: c.Loader.IdleEvery, MaxRows: c.Loader.MaxRows, StandbyAfter: c.Loader.StandbyAfter, Window: c.Loader.Window,
	}
}

func askConfigured(c *config.Config) *ask.Client {
	return &ask.Client{URL: c.ClickHouse.HTTP, User: c.ClickHouse.User, Password: c.ClickHouse.Password.Reveal()}
}

func kafkaConfig(c *config.Config) kafka.Config {
	return kafka.Config{Brokers: c.Kafka.Brokers, Prefix: c.Kafka.Prefix, Partitions: c.Kafka.PartitionsOr(0), Replication: int16(c.Kafka.Replication)}
}
