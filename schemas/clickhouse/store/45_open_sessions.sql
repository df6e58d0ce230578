-- Open sessions as rows of the view, numbered behind the closed ones of their persons.
CREATE OR REPLACE VIEW waymark_store.open_sessions AS
SELECT
    s.project AS project,
    s.session_id AS session_id,
    s.person AS person,
    toUInt32(c.closed + row_number() OVER (PARTITION BY s.project, s.person ORDER BY s.started_at, s.session_id)) AS number,
    s.started_at AS started_at,
    s.ended_at AS ended_at,
    s.events AS events,
    s.page_views AS page_views,
    s.entry_page AS entry_page,
    s.exit_page AS exit_page,
    s.referrer AS referrer,
    s.campaign AS campaign,
    s.campaign_source AS campaign_source,
    s.campaign_medium AS campaign_medium,
    s.channel AS channel,
    s.device AS device,
    s.browser AS browser,
    s.country AS country,
    s.app_version AS app_version,
    s.stepped.3 AS steps,
    s.stepped.1 AS step_times,
    mapFromArrays(s.names, arrayMap((at, k) -> toUInt8(if(k = 0, 0, at[k])), s.step_nos, s.reached)) AS furthest,
    '' AS stage_start,
    '' AS stage_end,
    toUInt32(countEqual(steps, 'cart_add')) AS cart_adds,
    toUInt32(countEqual(steps, 'cart_remove')) AS cart_removes,
    toBool(cart_adds > 0 AND NOT has(arraySlice(steps, indexOf(steps, 'cart_add')), 'purchase')) AS abandoned,
    toUInt32(countEqual(steps, 'purchase')) AS orders,
    s.revenue AS revenue,
    s.runaway AS runaway,
    s.bot AS bot,
    s.flags AS flags,
    s.rules AS rule_version
FROM waymark_store.open_aggregates AS s
LEFT JOIN (
    SELECT project, person, toUInt64(sum(sign)) AS closed
    FROM waymark_store.sessions
    WHERE (project, person) IN (SELECT project, person FROM waymark_store.open_candidates)
    GROUP BY project, person
) AS c ON c.project = s.project AND c.person = s.person
