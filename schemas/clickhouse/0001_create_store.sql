-- The tables behind the contract views. Every table that a batch is written to keeps the tokens of the last 100,000
-- inserts, so that a repeated batch is dropped; a table that a view writes to needs its own.

-- +goose Up

-- The ledger: one row for each batch of a lane, written before the batch's rows. The last row of a lane is in flight, all
-- before it are complete in every table. The arrays of positions have an element for each partition of the lane.
CREATE TABLE IF NOT EXISTS waymark_store.batches
(
    lane UInt16,
    seq UInt64,
    generation UInt32,
    loader String,
    written_at DateTime64(3, 'UTC'),
    partition Array(UInt16),
    facts_next Array(Int64),
    facts_end Array(Int64),
    touchpoints_next Array(Int64),
    touchpoints_end Array(Int64),
    clock Array(DateTime64(3, 'UTC')),
    hash Array(UInt64),
    dead_partition Array(UInt16),
    dead_from Array(Int64),
    dead_next Array(Int64),
    dead_end Array(Int64),
    frame_partition Array(UInt16),
    frame_offset Array(Int64),
    frame_parts Array(UInt32),
    frame_from Array(Int64),
    frame_to Array(Int64),
    frame_none Array(UInt32),
    frame_events Array(UInt32),
    frame_duplicate Array(UInt32),
    frame_too_late Array(UInt32),
    frame_suppressed Array(UInt32),
    frame_forwarded Array(UInt32),
    frame_sessions Array(UInt32),
    frame_entrants Array(UInt32),
    frame_moves Array(UInt32),
    frame_transitions Array(UInt32),
    frame_carts Array(UInt32)
)
ENGINE = MergeTree
ORDER BY (lane, seq)
SETTINGS non_replicated_deduplication_window = 100000;

-- Applied events. Months outside 2015 to 2049 share a partition: a sender's clock must not be able to make thousands.
-- Merges of wide rows cost more than inserts, hence the two settings.
CREATE TABLE IF NOT EXISTS waymark_store.events
(
    project String,
    person String,
    occurred_at DateTime64(3, 'UTC'),
    message_id String,
    session_id String,
    source LowCardinality(String),
    name LowCardinality(String),
    step LowCardinality(String),
    channel LowCardinality(String),
    anonymous_id String,
    user_id String,
    received_at DateTime64(3, 'UTC'),
    flags Array(LowCardinality(String)),
    url String,
    path String,
    title String,
    referrer String,
    campaign LowCardinality(String),
    campaign_source LowCardinality(String),
    campaign_medium LowCardinality(String),
    device LowCardinality(String),
    os LowCardinality(String),
    browser LowCardinality(String),
    country LowCardinality(String),
    app_version LowCardinality(String),
    load_time Int64,
    bot Bool,
    product_id String,
    cart_id String,
    order_id String,
    currency LowCardinality(String),
    coupon LowCardinality(String),
    price Int64,
    quantity Int64,
    revenue Int64,
    given UInt8, -- bits: 1 price, 2 quantity, 4 revenue, 8 load_time were sent
    products String,
    properties String,
    commerce String,
    context String,
    _partition UInt16,
    _offset Int64,
    INDEX offsets _offset TYPE minmax GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY if(occurred_at >= toDateTime64('2015-01-01 00:00:00', 3, 'UTC') AND occurred_at < toDateTime64('2050-01-01 00:00:00', 3, 'UTC'), toYYYYMM(occurred_at), 0)
ORDER BY (project, person, occurred_at)
SETTINGS non_replicated_deduplication_window = 100000, vertical_merge_algorithm_min_rows_to_activate = 1000000000000, merge_selector_base = 12;

CREATE TABLE IF NOT EXISTS waymark_store.events_too_late AS waymark_store.events
ENGINE = MergeTree
ORDER BY (project, person, occurred_at)
SETTINGS non_replicated_deduplication_window = 100000;

-- Events that got another person or session after they were written.
CREATE TABLE IF NOT EXISTS waymark_store.events_moved
(
    _partition UInt16,
    _offset Int64,
    project String,
    occurred_at DateTime64(3, 'UTC'),
    old_person String,
    person String,
    session_id String,
    version Int64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (_partition, _offset)
SETTINGS non_replicated_deduplication_window = 100000;

-- Closed sessions and their corrections: a cancelling row has the values and the version of the row it cancels.
CREATE TABLE IF NOT EXISTS waymark_store.sessions
(
    project String,
    person String,
    started_at DateTime64(3, 'UTC'),
    session_id String,
    sign Int8,
    version UInt64,
    number UInt32,
    ended_at DateTime64(3, 'UTC'),
    events UInt32,
    page_views UInt32,
    entry_page String,
    exit_page String,
    referrer String,
    campaign LowCardinality(String),
    campaign_source LowCardinality(String),
    campaign_medium LowCardinality(String),
    channel LowCardinality(String),
    device LowCardinality(String),
    browser LowCardinality(String),
    country LowCardinality(String),
    app_version LowCardinality(String),
    steps Array(LowCardinality(String)),
    step_times Array(DateTime64(3, 'UTC')),
    furthest_funnels Array(LowCardinality(String)),
    furthest_steps Array(UInt8),
    stage_start LowCardinality(String),
    stage_end LowCardinality(String),
    cart_adds UInt32,
    cart_removes UInt32,
    abandoned Bool,
    orders UInt32,
    revenue_currencies Array(LowCardinality(String)),
    revenue_amounts Array(Int64),
    runaway Bool,
    bot Bool,
    flags Array(LowCardinality(String)),
    rule_version LowCardinality(String),
    _partition UInt16,
    _offset Int64
)
ENGINE = VersionedCollapsingMergeTree(sign, version)
PARTITION BY if(started_at >= toDateTime64('2015-01-01 00:00:00', 3, 'UTC') AND started_at < toDateTime64('2050-01-01 00:00:00', 3, 'UTC'), toYYYYMM(started_at), 0)
ORDER BY (project, person, started_at, session_id)
SETTINGS non_replicated_deduplication_window = 100000;

-- Sessions and persons in funnels, signed as sessions are. `step_nos` are the places of the steps in the funnel, from 1.
-- Not partitioned: a view reads its inserts, and so a repeated block is dropped or taken as a whole.
CREATE TABLE IF NOT EXISTS waymark_store.entrants
(
    project String,
    funnel String,
    scope LowCardinality(String),
    person String,
    started_at DateTime64(3, 'UTC'),
    session_id String,
    sign Int8,
    version UInt64,
    furthest UInt8,
    step_nos Array(UInt8),
    times Array(DateTime64(3, 'UTC')),
    channel LowCardinality(String),
    device LowCardinality(String),
    country LowCardinality(String),
    campaign LowCardinality(String),
    app_version LowCardinality(String),
    _partition UInt16,
    _offset Int64
)
ENGINE = VersionedCollapsingMergeTree(sign, version)
ORDER BY (project, funnel, scope, person, started_at, session_id)
SETTINGS non_replicated_deduplication_window = 100000;

-- The roll-up: how many entrants reached each step, by quarter of an hour and segment. Cancelling rows subtract.
CREATE TABLE IF NOT EXISTS waymark_store.funnel_rollup
(
    project String,
    funnel String,
    scope LowCardinality(String),
    bucket DateTime('UTC'),
    channel LowCardinality(String),
    device LowCardinality(String),
    country LowCardinality(String),
    campaign LowCardinality(String),
    app_version LowCardinality(String),
    step_no UInt8,
    reached Int64
)
ENGINE = SummingMergeTree(reached)
ORDER BY (project, funnel, scope, bucket, channel, device, country, campaign, app_version, step_no)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark_store.entrants_to_rollup TO waymark_store.funnel_rollup AS
SELECT
    project,
    funnel,
    scope,
    toStartOfInterval(toDateTime(started_at, 'UTC'), INTERVAL 15 MINUTE, 'UTC') AS bucket,
    channel,
    device,
    country,
    campaign,
    app_version,
    step_no,
    sum(toInt64(sign)) AS reached
FROM waymark_store.entrants
ARRAY JOIN step_nos AS step_no
GROUP BY ALL;

-- Funnels as they ran last. The predicate of step i is fields[i] and values[i]: each field must be one of its values.
CREATE TABLE IF NOT EXISTS waymark_store.funnel_defs
(
    project String,
    funnel String,
    scope LowCardinality(String),
    version Int64,
    steps Array(String),
    optional Array(Bool),
    fields Array(Array(String)),
    values Array(Array(Array(String))),
    rule_version String
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (project, funnel, scope);

-- Per project and partition the watermark that an event moved last, and the partition's clock then. `gap` is the pause, in ms, that
-- ends a session of the project, 0 where it is not known.
CREATE TABLE IF NOT EXISTS waymark_store.watermarks
(
    project String,
    _partition UInt16,
    watermark DateTime64(3, 'UTC'),
    at DateTime64(3, 'UTC'),
    gap Int64,
    _offset Int64
)
ENGINE = ReplacingMergeTree(_offset)
ORDER BY (project, _partition);

-- Refused events, without their bytes: those are in topic deadletter at this partition and offset.
CREATE TABLE IF NOT EXISTS waymark_store.refused
(
    project String,
    received_at DateTime64(3, 'UTC'),
    source LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    message_id String,
    app_version LowCardinality(String),
    _partition UInt16,
    _offset Int64
)
ENGINE = MergeTree
ORDER BY (project, received_at)
SETTINGS non_replicated_deduplication_window = 100000;

-- Why a lane stands still, '' where it does not.
CREATE TABLE IF NOT EXISTS waymark_store.causes
(
    lane UInt16,
    at DateTime64(3, 'UTC'),
    cause String
)
ENGINE = ReplacingMergeTree(at)
ORDER BY lane;

-- +goose Down
DROP TABLE waymark_store.causes;
DROP TABLE waymark_store.refused;
DROP TABLE waymark_store.watermarks;
DROP TABLE waymark_store.funnel_defs;
DROP TABLE waymark_store.entrants_to_rollup;
DROP TABLE waymark_store.funnel_rollup;
DROP TABLE waymark_store.entrants;
DROP TABLE waymark_store.sessions;
DROP TABLE waymark_store.events_moved;
DROP TABLE waymark_store.events_too_late;
DROP TABLE waymark_store.events;
DROP TABLE waymark_store.batches;
