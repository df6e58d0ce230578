// Package schemas carries what is on the wire and in the tables as files: topics, migrations, contract views, models. It
// imports nothing of ours.
package schemas

import "embed"

// Topics is topics.yaml: names, partitions and settings of the topics.
//
//go:embed topics.yaml
var Topics []byte

// Commerce is models/commerce.yaml: the default rules, over which a project's configuration is laid.
//
//go:embed models/commerce.yaml
var Commerce []byte

// ClickHouse holds the migrations (clickhouse/*.sql) and the contract views (clickhouse/contract/*.sql).
//
//go:embed clickhouse
var ClickHouse embed.FS
