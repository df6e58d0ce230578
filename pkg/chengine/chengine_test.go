package chengine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/chengine"
)

func TestMain(m *testing.M) {
	chengine.Main()
	os.Exit(m.Run())
}

func start(t *testing.T, dir string) *chengine.Engine {
	t.Helper()
	p, err := chengine.Locate(t.Context(), chengine.LocateConfig{Log: zaptest.NewLogger(t)})
	if err != nil {
		if os.Getenv("WAYMARK_ENGINE_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	e, err := chengine.Start(t.Context(), chengine.Config{Program: p, Dir: dir, Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	return e
}

func stop(t *testing.T, e *chengine.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func query(t *testing.T, e *chengine.Engine, sql string) (string, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.HTTP(), strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("default", "") // who names nobody only reads
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(string(body))
	}
	return strings.TrimSpace(string(body)), err
}

func mustQuery(t *testing.T, e *chengine.Engine, sql string) string {
	t.Helper()
	out, err := query(t, e, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func TestDataOutlivesStopAndCrash(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	mustQuery(t, e, "CREATE DATABASE d ENGINE = Atomic")
	mustQuery(t, e, "CREATE TABLE d.t (a Int64) ENGINE = MergeTree ORDER BY a")
	mustQuery(t, e, "INSERT INTO d.t SELECT number FROM numbers(10)")

	pid := e.Pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, err := query(t, e, "SELECT count() FROM d.t")
		if err == nil && e.Pid() != pid {
			if out != "10" {
				t.Fatalf("after the crash there are %s rows, want 10", out)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the engine did not come back: %v", err)
		}
		<-time.After(50 * time.Millisecond)
	}
	stop(t, e)
	again := start(t, dir)
	if out := mustQuery(t, again, "SELECT count() FROM d.t"); out != "10" {
		t.Fatalf("after a restart there are %s rows, want 10", out)
	}
	// A plain read by GET, with neither user nor password.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, again.HTTP()+"/?query="+url.QueryEscape("SELECT sum(a) FROM d.t"), http.NoBody)
	req.SetBasicAuth("default", "")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if got := strings.TrimSpace(string(body)); got != "45" {
		t.Fatalf("GET gave %q, want 45", got)
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	e := start(t, t.TempDir())
	_, port, _ := strings.Cut(e.Addr(), ":")
	var n int
	for _, c := range port {
		n = n*10 + int(c-'0')
	}
	_, err := chengine.Start(t.Context(), chengine.Config{Program: chengine.Program{Path: "/none"}, Dir: t.TempDir(), TCP: n})
	if err == nil || !strings.Contains(err.Error(), port) || !strings.Contains(err.Error(), "--port-base") {
		t.Fatalf("a taken port gave %v", err)
	}
}

func TestLocateSaysWhatToDo(t *testing.T) {
	none := t.TempDir()
	t.Setenv("PATH", none)
	t.Setenv(chengine.LibraryVariable, "")
	for _, offline := range []bool{true, false} {
		_, err := chengine.Locate(t.Context(), chengine.LocateConfig{Offline: offline, Cache: none})
		if !errors.Is(err, chengine.ErrNoEngine) || !strings.Contains(err.Error(), "--clickhouse") || strings.Contains(err.Error(), "\n") {
			t.Errorf("offline=%v: %v", offline, err)
		}
	}
	t.Setenv(chengine.LibraryVariable, filepath.Join(none, "lib.so"))
	if _, err := chengine.Locate(t.Context(), chengine.LocateConfig{}); !errors.Is(err, chengine.ErrNoEngine) {
		t.Errorf("a library that is not there gave %v", err)
	}
}

func TestLocateTakesNewProgramsOnly(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv(chengine.LibraryVariable, "")
	for version, want := range map[string]bool{"26.2.9.1": false, "26.3.1.1": true, "27.1": true, "18.16.1": false} {
		script := "#!/bin/sh\necho 'ClickHouse local version " + version + " (official build).'\n"
		if err := os.WriteFile(filepath.Join(bin, "clickhouse"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		p, _ := chengine.Locate(t.Context(), chengine.LocateConfig{Offline: true, Cache: bin})
		if p.Server != want {
			t.Errorf("version %s: taken %v, want %v", version, p.Server, want)
		}
	}
}
