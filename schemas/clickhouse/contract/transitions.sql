-- A row that was never cancelled is read as it lies there. Of the few others, not merged away yet, one of each that is not
-- cancelled in sum: FINAL would sort all.
CREATE OR REPLACE VIEW waymark.transitions
(
    `project` String COMMENT 'name of the project: a tenant',
    `person` String COMMENT 'who',
    `journey` UInt32 COMMENT 'of the journeys of the person, from 1',
    `seq` UInt32 COMMENT 'of the transitions of the person, from 1',
    `from_stage` String COMMENT 'stage before, empty at the start of a journey',
    `to_stage` String COMMENT 'stage after, or lapsed',
    `at` DateTime64(3, 'UTC') COMMENT 'when',
    `rule` String COMMENT 'id of the rule that led there, or lapsed',
    `rule_version` String COMMENT 'name and version of the stage model',
    `evidence` Array(String) COMMENT 'message ids of the events that completed the rule',
    `dwell` Int64 COMMENT 'time in the stage before, ms',
    `skipped` Array(String) COMMENT 'stages passed over'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    project,
    person,
    journey,
    seq,
    from_stage,
    to_stage,
    at,
    rule,
    rule_version,
    evidence,
    dwell,
    skipped
FROM waymark_store.transitions
WHERE sign = 1 AND version NOT IN (SELECT version FROM waymark_store.transitions WHERE sign = -1)
UNION ALL
SELECT
    project,
    person,
    journey,
    seq,
    from_stage,
    to_stage,
    at,
    rule,
    rule_version,
    evidence,
    dwell,
    skipped
FROM (
    SELECT *
    FROM waymark_store.transitions
    WHERE sign = 1 AND version IN (
        SELECT version
        FROM waymark_store.transitions
        WHERE version IN (SELECT version FROM waymark_store.transitions WHERE sign = -1)
        GROUP BY project, person, at, seq, version
        HAVING sum(sign) > 0)
    LIMIT 1 BY project, person, at, seq, version
)
COMMENT 'one row for each change of a stage, lapsed ones too'
