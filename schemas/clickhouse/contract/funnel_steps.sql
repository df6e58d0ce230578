-- Named funnels come from the roll-up of stored results. A bucket and segment with entrants, open ones included, has a row for
-- every step.
CREATE OR REPLACE VIEW waymark.funnel_steps
(
    `project` String COMMENT 'name of the project: a tenant',
    `funnel` String COMMENT 'name of the funnel',
    `scope` String COMMENT 'session or person: what its entrants are',
    `bucket` DateTime('UTC') COMMENT 'quarter of an hour in which the entrants started',
    `step_no` UInt8 COMMENT 'place of the step in the funnel, from 1',
    `step` String COMMENT 'name of the step',
    `channel` String COMMENT 'channel of the entrants',
    `device` String COMMENT 'device of the entrants',
    `country` String COMMENT 'country of the entrants',
    `campaign` String COMMENT 'campaign of the entrants',
    `app_version` String COMMENT 'version of the app or site of the entrants',
    `reached` Int64 COMMENT 'entrants that reached the step: its sum is the number of the step',
    `entrants` Int64 COMMENT 'entrants of the bucket and segment: those that reached step 1',
    `optional` Bool COMMENT 'the step may be left out',
    `open` Int64 COMMENT 'entrants, not among the above, whose outcome can still change',
    `mature` Float64 COMMENT 'share of the entrants whose outcome cannot change by waiting, 0 to 1',
    `watermark` Nullable(DateTime64(3, 'UTC')) COMMENT 'up to where the events of the project are complete'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    g.project AS project,
    g.funnel AS funnel,
    g.scope AS scope,
    g.bucket AS bucket,
    step_no,
    d.steps[step_no] AS step,
    g.channel AS channel,
    g.device AS device,
    g.country AS country,
    g.campaign AS campaign,
    g.app_version AS app_version,
    g.reached[step_no] AS reached,
    g.entrants AS entrants,
    d.optional[step_no] AS optional,
    g.open AS open,
    g.entrants / (g.entrants + g.open) AS mature,
    w.watermark AS watermark
FROM (
    SELECT
        project, funnel, scope, bucket, channel, device, country, campaign, app_version,
        sumMap(map(step_no, n)) AS reached,
        sumIf(n, step_no = 1) AS entrants,
        sum(pending) AS open
    FROM (
        SELECT project, funnel, scope, bucket, channel, device, country, campaign, app_version, step_no, reached AS n, toInt64(0) AS pending
        FROM waymark_store.funnel_rollup
        UNION ALL
        SELECT project, funnel, 'session' AS scope, bucket, channel, device, country, campaign, app_version, 1 AS step_no, toInt64(0) AS n, pending
        FROM waymark_store.funnel_open
    )
    GROUP BY project, funnel, scope, bucket, channel, device, country, campaign, app_version
    HAVING entrants > 0 OR open > 0
) AS g
INNER JOIN (SELECT project, funnel, scope, steps, optional FROM waymark_store.funnel_defs FINAL) AS d
    ON d.project = g.project AND d.funnel = g.funnel AND d.scope = g.scope
LEFT JOIN (
    SELECT project, toNullable(min(watermark)) AS watermark FROM waymark_store.project_watermarks GROUP BY project
) AS w ON w.project = g.project
ARRAY JOIN arrayMap(i -> toUInt8(i), arrayEnumerate(d.steps)) AS step_no
COMMENT 'a funnel by quarter of an hour and segment, one row a step'
