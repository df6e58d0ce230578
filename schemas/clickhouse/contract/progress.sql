CREATE OR REPLACE VIEW waymark.progress
(
    `project` String COMMENT 'always empty: partitions are shared by all projects',
    `topic` String COMMENT 'touchpoints, facts or deadletter',
    `partition` UInt16 COMMENT 'partition of the topic',
    `next_offset` Int64 COMMENT 'first offset that is not yet in every table',
    `end_offset` Int64 COMMENT 'end of the partition when the last batch was made',
    `lag` Int64 COMMENT 'records between the two',
    `watermark` Nullable(DateTime64(3, 'UTC')) COMMENT 'latest watermark of the projects in the partition',
    `cause` String COMMENT 'why it stands still, empty if it does not'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    '' AS project,
    p.topic AS topic,
    p.partition AS partition,
    p.next_offset AS next_offset,
    greatest(p.end_offset, p.next_offset) AS end_offset,
    greatest(p.end_offset, p.next_offset) - p.next_offset AS lag,
    if(p.topic = 'deadletter', NULL, w.watermark) AS watermark,
    c.cause AS cause
FROM (
    SELECT lane, tupleElement(part, 1) AS topic, tupleElement(part, 2) AS partition, tupleElement(part, 3) AS next_offset, tupleElement(part, 4) AS end_offset
    FROM (
        SELECT lane, arrayJoin(arrayConcat(
            arrayMap((i, n, m) -> ('touchpoints', i, n, m), partition, touchpoints_next, touchpoints_end),
            arrayMap((i, n, m) -> ('facts', i, n, m), partition, facts_next, facts_end),
            arrayMap((i, n, m) -> ('deadletter', i, n, m), dead_partition, dead_next, dead_end))) AS part
        FROM waymark_store.batches
        WHERE (lane, seq) IN (SELECT lane, max(seq) - 1 FROM waymark_store.batches GROUP BY lane)
    )
) AS p
LEFT JOIN (
    SELECT partition, toNullable(max(watermark)) AS watermark FROM waymark_store.project_watermarks GROUP BY partition
) AS w ON w.partition = p.partition
LEFT JOIN (SELECT lane, cause FROM waymark_store.causes FINAL) AS c ON c.lane = p.lane
COMMENT 'how far each partition is stored, and why not further'
