-- A row that was never cancelled is read as it lies there. Of the few others, not merged away yet, one of each that is not
-- cancelled in sum: FINAL would sort all.
CREATE OR REPLACE VIEW waymark.funnel_people
(
    `project` String COMMENT 'name of the project: a tenant',
    `funnel` String COMMENT 'name of the funnel',
    `scope` String COMMENT 'session or person',
    `person` String COMMENT 'who',
    `session_id` String COMMENT 'session, empty in person scope',
    `started_at` DateTime64(3, 'UTC') COMMENT 'start of the session, or first step of the person',
    `furthest` UInt8 COMMENT 'step_no of the furthest step reached that is not optional',
    `steps` Array(UInt8) COMMENT 'step_no of each step reached, optional ones included',
    `times` Array(DateTime64(3, 'UTC')) COMMENT 'when each of them was first reached',
    `channel` String COMMENT 'channel',
    `device` String COMMENT 'device',
    `country` String COMMENT 'country',
    `campaign` String COMMENT 'campaign',
    `app_version` String COMMENT 'version of the app or site'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    project,
    funnel,
    scope,
    person,
    session_id,
    started_at,
    furthest,
    step_nos AS steps,
    times,
    channel,
    device,
    country,
    campaign,
    app_version
FROM waymark_store.entrants
WHERE sign = 1 AND version NOT IN (SELECT version FROM waymark_store.entrants WHERE sign = -1)
UNION ALL
SELECT
    project,
    funnel,
    scope,
    person,
    session_id,
    started_at,
    furthest,
    step_nos AS steps,
    times,
    channel,
    device,
    country,
    campaign,
    app_version
FROM (
    SELECT *
    FROM waymark_store.entrants
    WHERE sign = 1 AND version IN (
        SELECT version
        FROM waymark_store.entrants
        WHERE version IN (SELECT version FROM waymark_store.entrants WHERE sign = -1)
        GROUP BY project, funnel, scope, person, started_at, session_id, version
        HAVING sum(sign) > 0)
    LIMIT 1 BY project, funnel, scope, person, started_at, session_id, version
)
COMMENT 'one row for each person or session in a funnel'
