-- Open sessions, computed from their events in the order of events. `entered` are the session funnels whose first step one of
-- the events matches. Places in funnels are found as in ordered funnels without window, exclusions and held property.
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
    CAST(map(), 'Map(String, UInt8)') AS furthest,
    '' AS stage_start,
    '' AS stage_end,
    toUInt32(countEqual(steps, 'cart_add')) AS cart_adds,
    toUInt32(countEqual(steps, 'cart_remove')) AS cart_removes,
    toBool(cart_adds > 0 AND NOT has(arraySlice(steps, indexOf(steps, 'cart_add')), 'purchase')) AS abandoned,
    toUInt32(countEqual(steps, 'purchase')) AS orders,
    s.revenue AS revenue,
    toBool(s.events > 1000 OR dateDiff('millisecond', s.started_at, s.ended_at) > 86400000) AS runaway,
    s.bot AS bot,
    s.flags AS flags,
    s.rule_version AS rule_version,
    s.entered AS entered
FROM (
    SELECT
        project,
        session_id,
        person,
        min(occurred_at) AS started_at,
        max(occurred_at) AS ended_at,
        toUInt32(count()) AS events,
        toUInt32(countIf(name IN ('Page Viewed', 'Screen Viewed'))) AS page_views,
        argMinIf(path, (occurred_at, message_id), path != '') AS entry_page,
        argMaxIf(path, (occurred_at, message_id), path != '') AS exit_page,
        argMinIf(referrer, (occurred_at, message_id), referrer != '') AS referrer,
        argMinIf(campaign, (occurred_at, message_id), campaign != '') AS campaign,
        argMinIf(campaign_source, (occurred_at, message_id), campaign_source != '') AS campaign_source,
        argMinIf(campaign_medium, (occurred_at, message_id), campaign_medium != '') AS campaign_medium,
        argMinIf(channel, (occurred_at, message_id), channel != '') AS channel,
        argMinIf(device, (occurred_at, message_id), device != '') AS device,
        argMinIf(browser, (occurred_at, message_id), browser != '') AS browser,
        argMinIf(country, (occurred_at, message_id), country != '') AS country,
        argMinIf(app_version, (occurred_at, message_id), app_version != '') AS app_version,
        arraySort(groupArrayIf((occurred_at, message_id, step), step != '')) AS stepped,
        sumMapIf(map(currency, revenue), step = 'purchase' AND currency != '' AND revenue != 0) AS revenue,
        max(bot) AS bot,
        arraySort(groupUniqArrayArray(flags)) AS flags,
        groupUniqArrayArray(entered) AS entered,
        any(rule_version) AS rule_version
    FROM waymark_store.open_events
    GROUP BY project, person, session_id
) AS s
LEFT JOIN (
    SELECT project, person, toUInt64(sum(sign)) AS closed
    FROM waymark_store.sessions
    GROUP BY project, person
) AS c ON c.project = s.project AND c.person = s.person
