package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/chengine"
	"github.com/waymark-analytics/waymark/services/waymark/internal/broker"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// realInstallation is a Kafka (the one that WAYMARK_KAFKA names, else an embedded one) and a ClickHouse, and a configuration
// that names them.
func realInstallation(t *testing.T) (file string, e endpoints.Endpoints) {
	t.Helper()
	needEngine(t)
	log := zaptest.NewLogger(t)
	program, err := chengine.Locate(t.Context(), chengine.LocateConfig{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := chengine.Start(t.Context(), chengine.Config{Program: program, Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := engine.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	kafka, prefix := os.Getenv("WAYMARK_KAFKA"), fmt.Sprintf("run%d-", time.Now().UnixNano()%1e10)
	if !strings.Contains(kafka, ":") {
		b, err := broker.Start(t.Context(), broker.Config{Dir: t.TempDir(), Log: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		kafka = b.Addr()
	}
	file = filepath.Join(t.TempDir(), "waymark.yaml")
	config := fmt.Sprintf(`
kafka: {brokers: [%s], prefix: %s, partitions: 3, replication: 1}
clickhouse: {addr: %s, http: %s}
projects:
  default:
    sources:
      site: {kind: web, write_key: key-of-the-site}
`, kafka, prefix, engine.Addr(), engine.HTTP())
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, endpoints.Endpoints{ClickHouseHTTP: engine.HTTP(), Kafka: kafka, WriteKey: "key-of-the-site", ClickHouseNative: engine.Addr()}
}

func TestRunOverGivenKafkaAndClickHouse(t *testing.T) {
	file, e := realInstallation(t)
	for range 2 { // what is there stays as it is
		if status, out, errs := call(t, "migrate", "--config", file, "--set", "log.level=error"); status != 0 || !strings.Contains(out, "3 partitions") {
			t.Fatalf("migrate: status %d: %s%s", status, out, errs)
		}
	}
	if status, _, errs := call(t, "migrate", "--config", file, "--set", "kafka.partitions=5", "--set", "log.level=error"); status != 2 || !strings.Contains(errs, "cannot change") {
		t.Fatalf("migrate with another number of partitions: status %d: %s", status, errs)
	}

	listen := freeAddress(t)
	e.Collector = "http://" + listen
	services := []*program{
		launch(t, nil, "run", "loader", "sessionizer", "--config", file, "--set", "metrics.listen=127.0.0.1:0"),
		launch(t, nil, "run", "collector", "--config", file, "--set", "metrics.listen=127.0.0.1:0", "--set", "collector.listen="+listen),
	}
	p := services[1]
	p.eventually(30*time.Second, "the collector", func() error { return answers(t, e.Collector+"/readyz") })
	p.send(e, 0, 40)
	p.stored(e, 40, 7)

	services[0].signal(syscall.SIGKILL)
	p.send(e, 20, 40)
	services[0] = launch(t, nil, "run", "loader", "sessionizer", "--config", file, "--set", "metrics.listen=127.0.0.1:0")
	p.stored(e, 60, 7)

	for _, p := range services {
		p.signal(syscall.SIGTERM)
		if status, said := p.ends(); status != 0 {
			t.Errorf("after SIGTERM: status %d:\n%s", status, said)
		}
	}
}

func TestUpOverGivenKafkaAndClickHouse(t *testing.T) {
	file, given := realInstallation(t)
	dir := t.TempDir()
	args := []string{
		"up", "--dir", dir, "--config", file, "--port-base", "0", "--partitions", "3", "--kafka", given.Kafka, "--clickhouse", given.ClickHouseNative,
	}
	p := launch(t, nil, args...)
	e := p.up(dir)
	if e.WriteKey != given.WriteKey || e.Kafka != given.Kafka || e.ClickHouseHTTP != given.ClickHouseHTTP || e.ClickHouseNative != given.ClickHouseNative {
		t.Errorf("endpoints: %+v, want those of %+v", e, given)
	}
	p.send(e, 0, 40)
	p.stored(e, 40, 7)
	p.signal(syscall.SIGTERM)
	if status, said := p.ends(); status != 0 {
		t.Errorf("after SIGTERM: status %d:\n%s", status, said)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}
