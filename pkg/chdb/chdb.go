// Package chdb is how services reach ClickHouse: it makes the schema, answers queries and inserts blocks of columns such that
// a repeated insert is dropped. It is the only package that imports a ClickHouse client.
package chdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.uber.org/zap"
)

// The databases: the tables, and the views that others may rely on.
const (
	Store    = "waymark_store"
	Contract = "waymark"
)

// Config says how to reach a server.
type Config struct {
	Addr        string // host:port of the native protocol
	User        string
	Password    string
	Compress    bool // LZ4 on the wire: worth it unless the server is on this machine
	DialTimeout time.Duration
	ReadTimeout time.Duration // of one insert or query
}

// DefaultConfig is a local server.
func DefaultConfig() Config {
	return Config{Addr: "127.0.0.1:9000", User: "default", DialTimeout: 5 * time.Second, ReadTimeout: 2 * time.Minute}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	var problems []error
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		problems = append(problems, fmt.Errorf("clickhouse.addr: %q is no host:port", c.Addr))
	}
	if c.User == "" {
		problems = append(problems, errors.New("clickhouse.user: is empty"))
	}
	if c.DialTimeout <= 0 || c.ReadTimeout <= 0 {
		problems = append(problems, errors.New("clickhouse: timeouts must be positive"))
	}
	return errors.Join(problems...)
}

// String leaves the password out.
func (c Config) String() string { return c.User + "@" + c.Addr }

// DB is a server. It is safe for concurrent use.
type DB struct {
	c        Config
	log      *zap.Logger
	conn     driver.Conn
	settings clickhouse.Settings
	inserts  chan *inserter // idle insert connections
}

// maxInserts bounds the idle connections for inserts.
const maxInserts = 16

// Every setting that a guarantee rests on is given with every statement: the defaults of servers differ, and have changed.
func settings() clickhouse.Settings {
	return clickhouse.Settings{
		"async_insert":       0,
		"insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views":                1,
		"max_insert_block_size":                                             1 << 22,
		"min_insert_block_size_rows":                                        1 << 22,
		"min_insert_block_size_bytes":                                       1 << 30,
		"max_partitions_per_insert_block":                                   0,
		"optimize_on_insert":                                                0,
		"materialized_views_ignore_errors":                                  0,
		"throw_on_max_partitions_per_insert_block":                          0,
		"use_async_executor_for_materialized_views":                         0,
		"update_insert_deduplication_token_in_dependent_materialized_views": 0,
	}
}

// Open connects to a server and asks which of the settings it knows.
func Open(ctx context.Context, c Config, log *zap.Logger) (*DB, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(options(c, nil))
	if err != nil {
		return nil, fmt.Errorf("open clickhouse %s: %w", c, err)
	}
	db := &DB{c: c, log: log, conn: conn, settings: settings(), inserts: make(chan *inserter, maxInserts)}
	var known []string
	if err := conn.QueryRow(ctx, "SELECT groupArray(name) FROM system.settings").Scan(&known); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open clickhouse %s: %w", c, err)
	}
	db.trim(known)
	return db, nil
}

// trim keeps the settings that the server knows. Deduplication has one more name since 26.2.
func (db *DB) trim(known []string) {
	has := make(map[string]bool, len(known))
	for _, name := range known {
		has[name] = true
	}
	for name := range db.settings {
		if !has[name] {
			delete(db.settings, name)
		}
	}
	if has["deduplicate_insert"] {
		db.settings["deduplicate_insert"] = "enable"
	}
}

func options(c Config, s clickhouse.Settings) *clickhouse.Options {
	o := &clickhouse.Options{
		Addr:        []string{c.Addr},
		Auth:        clickhouse.Auth{Database: "default", Username: c.User, Password: c.Password},
		Settings:    s,
		DialTimeout: c.DialTimeout,
		ReadTimeout: c.ReadTimeout,
	}
	if c.Compress {
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	return o
}

// Close closes all connections.
func (db *DB) Close() error {
	for {
		select {
		case in := <-db.inserts:
			_ = in.close()
			continue
		default:
		}
		return db.conn.Close()
	}
}

// Exec runs a statement.
func (db *DB) Exec(ctx context.Context, sql string, args ...any) error {
	return db.conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(db.settings)), sql, args...)
}

// Select reads all rows into a slice of structs with `ch` tags.
func (db *DB) Select(ctx context.Context, into any, sql string, args ...any) error {
	return db.conn.Select(ctx, into, sql, args...)
}

// Row reads the one row of a query.
func (db *DB) Row(ctx context.Context, sql string, args []any, into ...any) error {
	return db.conn.QueryRow(ctx, sql, args...).Scan(into...)
}

// ServerVersion is the version of the server.
func (db *DB) ServerVersion(ctx context.Context) (string, error) {
	var v string
	if err := db.Row(ctx, "SELECT version()", nil, &v); err != nil {
		return "", fmt.Errorf("version of clickhouse %s: %w", db.c, err)
	}
	return v, nil
}
