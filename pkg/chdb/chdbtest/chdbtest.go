// Package chdbtest gives tests a ClickHouse of their own: the embedded engine in a folder that goes with the test. Tests of a
// package that uses it need a TestMain that calls Main.
package chdbtest

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/chengine"
)

// Main runs the tests of a package, or, in a child process, the engine.
func Main(m *testing.M) {
	chengine.Main()
	os.Exit(m.Run())
}

// Engine starts an engine that ends with the test. Without one the test is skipped with the reason, or fails where
// WAYMARK_ENGINE_REQUIRED is 1.
func Engine(t testing.TB) *chengine.Engine {
	t.Helper()
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	program, err := chengine.Locate(t.Context(), chengine.LocateConfig{Log: log})
	if err != nil {
		if os.Getenv("WAYMARK_ENGINE_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	e, err := chengine.Start(t.Context(), chengine.Config{Program: program, Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Errorf("stop engine: %v", err)
		}
	})
	return e
}

// Config is how to reach an engine.
func Config(e *chengine.Engine) chdb.Config {
	c := chdb.DefaultConfig()
	c.Addr = e.Addr()
	return c
}

// New gives a test an engine of its own with the schema made.
func New(t testing.TB) (*chdb.DB, *chengine.Engine) {
	t.Helper()
	e := Engine(t)
	db, err := chdb.Open(t.Context(), Config(e), zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, e
}
