-- The events that open sessions can have, with their last person and session: a session is a day long at most, or flagged.
CREATE OR REPLACE VIEW waymark_store.recent_events AS
SELECT
    e.project AS project,
    if(m.version > 0, m.session_id, e.session_id) AS session_id,
    if(m.version > 0, m.person, e.person) AS person,
    e.occurred_at AS occurred_at,
    e.message_id AS message_id,
    e.user_id AS user_id,
    e.anonymous_id AS anonymous_id,
    e.name AS name,
    e.step AS step,
    e.path AS path,
    e.referrer AS referrer,
    e.campaign AS campaign,
    e.campaign_source AS campaign_source,
    e.campaign_medium AS campaign_medium,
    e.channel AS channel,
    e.device AS device,
    e.browser AS browser,
    e.country AS country,
    e.app_version AS app_version,
    e.currency AS currency,
    e.revenue AS revenue,
    e.order_id AS order_id,
    e.bot AS bot,
    e.flags AS flags,
    e.source AS source,
    e.received_at AS received_at,
    e.url AS url,
    e.title AS title,
    e.os AS os,
    e.load_time AS load_time,
    e.given AS given,
    e.product_id AS product_id,
    e.cart_id AS cart_id,
    e.coupon AS coupon,
    e.price AS price,
    e.quantity AS quantity,
    e.properties AS properties,
    e.commerce AS commerce,
    e.context AS context
FROM waymark_store.events AS e
LEFT JOIN (
    SELECT _partition, _offset, person, session_id, version
    FROM waymark_store.events_moved FINAL
    WHERE occurred_at >= (SELECT min(since) - INTERVAL 1 DAY FROM waymark_store.open_since)
) AS m ON m._partition = e._partition AND m._offset = e._offset
WHERE e.occurred_at >= (SELECT min(since) - INTERVAL 1 DAY FROM waymark_store.open_since)
