-- Stages and carts: a row for each change, and its corrections. A cancelling row has the values and the version of the row it
-- cancels.

-- +goose Up
CREATE TABLE IF NOT EXISTS waymark_store.transitions
(
    project String,
    person String,
    at DateTime64(3, 'UTC'),
    seq UInt32,
    sign Int8,
    version UInt64,
    journey UInt32,
    from_stage LowCardinality(String),
    to_stage LowCardinality(String),
    rule LowCardinality(String),
    rule_version LowCardinality(String),
    evidence Array(String),
    dwell Int64,
    skipped Array(LowCardinality(String)),
    _partition UInt16,
    _offset Int64
)
ENGINE = VersionedCollapsingMergeTree(sign, version)
ORDER BY (project, person, at, seq)
SETTINGS non_replicated_deduplication_window = 100000;

-- Times that are not there are 0, prices that are not there -1.
CREATE TABLE IF NOT EXISTS waymark_store.carts
(
    project String,
    person String,
    opened_at DateTime64(3, 'UTC'),
    cart String,
    change UInt32,
    sign Int8,
    version UInt64,
    cart_id String,
    state LowCardinality(String),
    at DateTime64(3, 'UTC'),
    cause String,
    currency LowCardinality(String),
    value Int64,
    returned_at DateTime64(3, 'UTC'),
    abandoned_at DateTime64(3, 'UTC'),
    item_products Array(String),
    item_quantities Array(Int64),
    item_prices Array(Int64),
    item_currencies Array(LowCardinality(String)),
    _partition UInt16,
    _offset Int64
)
ENGINE = VersionedCollapsingMergeTree(sign, version)
ORDER BY (project, person, opened_at, cart, change)
SETTINGS non_replicated_deduplication_window = 100000;

-- +goose Down
DROP TABLE waymark_store.carts;
DROP TABLE waymark_store.transitions;
