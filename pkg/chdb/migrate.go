package chdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/schemas"
)

const versionTable = Store + ".schema_versions"

// migrateAttempts is how often two that migrate at once get out of each other's way.
const migrateAttempts = 5

// Migrate makes or updates the tables, then lays down all views anew. It may run again, and by two at once: migrations are
// written such that each statement may be repeated.
func (db *DB) Migrate(ctx context.Context) error {
	var err error
	for attempt := range migrateAttempts {
		if attempt > 0 {
			db.log.Info("migrate again", zap.Int("attempt", attempt), zap.Error(err))
			select {
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			case <-time.After(time.Duration(attempt) * 300 * time.Millisecond):
			}
		}
		if err = db.migrate(ctx); err == nil || ClassOf(err) == Configuration && attempt > 0 {
			return err
		}
	}
	return err
}

func (db *DB) migrate(ctx context.Context) error {
	for _, name := range []string{Store, Contract} {
		if err := db.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+name+" ENGINE = Atomic"); err != nil {
			return fmt.Errorf("create database %s: %w", name, err)
		}
	}
	sqlDB := clickhouse.OpenDB(options(db.c, db.settings))
	defer func() { _ = sqlDB.Close() }()
	files, err := fs.Sub(schemas.ClickHouse, "clickhouse")
	if err != nil {
		return fmt.Errorf("migrations in the binary: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectClickHouse, sqlDB, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations in the binary: %w", err)
	}
	done, err := provider.Up(ctx)
	for _, m := range done {
		db.log.Info("migrated clickhouse", zap.Int64("version", m.Source.Version), zap.Duration("took", m.Duration))
	}
	if err != nil {
		return fmt.Errorf("migrate clickhouse %s: %w", db.c, err)
	}
	views, err := Views()
	if err != nil {
		return err
	}
	for _, v := range views {
		if err := db.Exec(ctx, v.SQL); err != nil {
			return fmt.Errorf("create view %s: %w", v.Name, err)
		}
	}
	return nil
}

// Version is the number of the newest migration that the server has, 0 for none.
func (db *DB) Version(ctx context.Context) (int64, error) {
	var there uint8
	if err := db.Row(ctx, "EXISTS TABLE "+versionTable, nil, &there); err != nil {
		return 0, fmt.Errorf("schema version of clickhouse %s: %w", db.c, err)
	}
	if there == 0 {
		return 0, nil
	}
	var v int64
	if err := db.Row(ctx, "SELECT max(version_id) FROM "+versionTable+" WHERE is_applied = 1", nil, &v); err != nil {
		return 0, fmt.Errorf("schema version of clickhouse %s: %w", db.c, err)
	}
	return v, nil
}

// View is the definition of one view.
type View struct {
	Name string // with its database
	SQL  string
}

// Views returns all views in an order in which they can be made.
func Views() ([]View, error) {
	var inner, contract []View
	for _, dir := range []string{"store", "contract"} {
		paths, err := fs.Glob(schemas.ClickHouse, "clickhouse/"+dir+"/*.sql")
		if err != nil {
			return nil, fmt.Errorf("views in the binary: %w", err)
		}
		slices.Sort(paths)
		for _, path := range paths {
			sql, err := schemas.ClickHouse.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("views in the binary: %w", err)
			}
			v := View{SQL: string(sql)}
			_, rest, ok := strings.Cut(v.SQL, "CREATE OR REPLACE VIEW ")
			if !ok {
				return nil, fmt.Errorf("views in the binary: %s makes no view", path)
			}
			v.Name = strings.Fields(rest)[0]
			switch {
			case v.Name == Contract+".events": // the inner views read it
				inner = append([]View{v}, inner...)
			case dir == "store":
				inner = append(inner, v)
			default:
				contract = append(contract, v)
			}
		}
	}
	return append(inner, contract...), nil
}
