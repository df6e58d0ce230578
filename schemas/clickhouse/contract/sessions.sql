-- A row that was never cancelled is read as it lies there. Of the few others, not merged away yet, one of each that is not
-- cancelled in sum: FINAL would sort all.
CREATE OR REPLACE VIEW waymark.sessions
(
    `project` String COMMENT 'name of the project: a tenant',
    `session_id` String COMMENT 'hash of the project and the first event, kept over a log-in',
    `person` String COMMENT 'whose session it is: u: and a user id, or a: and an anonymous id',
    `number` UInt32 COMMENT 'of the sessions of the person, from 1',
    `new` Bool COMMENT 'first session of the person',
    `started_at` DateTime64(3, 'UTC') COMMENT 'time of the first event',
    `ended_at` DateTime64(3, 'UTC') COMMENT 'time of the last event',
    `duration` Int64 COMMENT 'from first to last event, ms',
    `events` UInt32 COMMENT 'events in the session',
    `page_views` UInt32 COMMENT 'page and screen views among them',
    `bounce` Bool COMMENT 'exactly one event',
    `entry_page` String COMMENT 'first path',
    `exit_page` String COMMENT 'last path',
    `referrer` String COMMENT 'landing referrer',
    `campaign` String COMMENT 'campaign name of the first event that has one',
    `campaign_source` String COMMENT 'campaign source of the first event that has one',
    `campaign_medium` String COMMENT 'campaign medium of the first event that has one',
    `channel` String COMMENT 'channel of the first event that has one',
    `device` String COMMENT 'device of the first event that has one',
    `browser` String COMMENT 'browser of the first event that has one',
    `country` String COMMENT 'country of the first event that has one',
    `app_version` String COMMENT 'version of the app or site of the first event that has one',
    `steps` Array(String) COMMENT 'canonical steps in their order',
    `step_times` Array(DateTime64(3, 'UTC')) COMMENT 'time of each of the steps',
    `furthest` Map(String, UInt8) COMMENT 'session funnel -> step_no of the furthest step, 0 for none',
    `stage_start` String COMMENT 'stage of the person before the session',
    `stage_end` String COMMENT 'stage of the person at its end',
    `cart_adds` UInt32 COMMENT 'cart_add events',
    `cart_removes` UInt32 COMMENT 'cart_remove events',
    `abandoned` Bool COMMENT 'has a cart_add, and no purchase after the first one',
    `orders` UInt32 COMMENT 'purchases',
    `revenue` Map(String, Int64) COMMENT 'currency -> sum of revenue in minor units',
    `runaway` Bool COMMENT 'more events or longer than a session can be: in no funnel',
    `bot` Bool COMMENT 'an event of it looks like a program: in no funnel',
    `flags` Array(String) COMMENT 'remarks on its events',
    `rule_version` String COMMENT 'version of the rules that made the row'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    project,
    session_id,
    person,
    number,
    toBool(number = 1) AS new,
    started_at,
    ended_at,
    dateDiff('millisecond', started_at, ended_at) AS duration,
    events,
    page_views,
    toBool(events = 1) AS bounce,
    entry_page,
    exit_page,
    referrer,
    campaign,
    campaign_source,
    campaign_medium,
    channel,
    device,
    browser,
    country,
    app_version,
    steps,
    step_times,
    mapFromArrays(furthest_funnels, furthest_steps) AS furthest,
    stage_start,
    stage_end,
    cart_adds,
    cart_removes,
    abandoned,
    orders,
    mapFromArrays(revenue_currencies, revenue_amounts) AS revenue,
    runaway,
    bot,
    flags,
    rule_version
FROM waymark_store.sessions
WHERE sign = 1 AND version NOT IN (SELECT version FROM waymark_store.sessions WHERE sign = -1)
UNION ALL
SELECT
    project,
    session_id,
    person,
    number,
    toBool(number = 1) AS new,
    started_at,
    ended_at,
    dateDiff('millisecond', started_at, ended_at) AS duration,
    events,
    page_views,
    toBool(events = 1) AS bounce,
    entry_page,
    exit_page,
    referrer,
    campaign,
    campaign_source,
    campaign_medium,
    channel,
    device,
    browser,
    country,
    app_version,
    steps,
    step_times,
    mapFromArrays(furthest_funnels, furthest_steps) AS furthest,
    stage_start,
    stage_end,
    cart_adds,
    cart_removes,
    abandoned,
    orders,
    mapFromArrays(revenue_currencies, revenue_amounts) AS revenue,
    runaway,
    bot,
    flags,
    rule_version
FROM (
    SELECT *
    FROM waymark_store.sessions
    WHERE sign = 1 AND version IN (
        SELECT version
        FROM waymark_store.sessions
        WHERE version IN (SELECT version FROM waymark_store.sessions WHERE sign = -1)
        GROUP BY project, person, started_at, session_id, version
        HAVING sum(sign) > 0)
    LIMIT 1 BY project, person, started_at, session_id, version
)
COMMENT 'one row for each closed session, flagged ones too'
