-- Open sessions, computed from their events in the order of events. `entered` are the session funnels of which they have reached
-- a step. Places in funnels are found as in ordered funnels without window, exclusions and held property.
CREATE OR REPLACE VIEW waymark_store.open_aggregates AS
SELECT
    project,
    session_id,
    person,
    min(occurred_at) AS started_at,
    max(occurred_at) AS ended_at,
    toUInt32(count()) AS events,
    toBool(count() > 1000 OR dateDiff('millisecond', min(occurred_at), max(occurred_at)) > 86400000) AS runaway,
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
    any(funnels) AS names,
    any(places) AS step_nos,
    arraySort(groupArrayIf((occurred_at, message_id, user_id, anonymous_id, hits), arrayExists(h -> notEmpty(h), hits))) AS chain,
    arrayMap(i -> arrayFold((k, act) -> if(has(act.5[i], k + 1), k + 1, k), chain, toUInt64(0)), arrayEnumerate(names)) AS reached,
    arrayFilter((funnel, k) -> k > 0, names, reached) AS entered,
    any(rule_version) AS rules
FROM waymark_store.open_events
GROUP BY project, person, session_id
