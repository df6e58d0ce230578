-- Open sessions in session funnels, by bucket and segment: their outcome can still change.
CREATE OR REPLACE VIEW waymark_store.funnel_open AS
SELECT
    project,
    funnel,
    toStartOfInterval(toDateTime(started_at, 'UTC'), INTERVAL 15 MINUTE, 'UTC') AS bucket,
    channel,
    device,
    country,
    campaign,
    app_version,
    toInt64(count()) AS pending
FROM waymark_store.open_aggregates
ARRAY JOIN entered AS funnel
WHERE NOT runaway AND NOT bot
GROUP BY ALL
