-- The events of open sessions: those that have an event since the time before which all are closed, and are not closed. `hits`
-- are, for each of `funnels`, the required steps that the event matches, counted from 1; `places` are their step_nos. A value of
-- a field is a letter for its JSON type and its text, as in table funnel_defs.
CREATE OR REPLACE VIEW waymark_store.open_events AS
SELECT
    e.project AS project,
    e.session_id AS session_id,
    e.person AS person,
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
    arrayMap(field -> multiIf(
        field = 'step', concat('s', e.step),
        field = 'name', concat('s', e.name),
        field = 'project', concat('s', e.project),
        field = 'message_id', concat('s', e.message_id),
        field = 'source', if(e.source = '', '', concat('s', e.source)),
        field = 'channel', if(e.channel = '', '', concat('s', e.channel)),
        field = 'anonymous_id', if(e.anonymous_id = '', '', concat('s', e.anonymous_id)),
        field = 'user_id', if(e.user_id = '', '', concat('s', e.user_id)),
        field = 'occurred_at', concat('n', toString(toUnixTimestamp64Milli(e.occurred_at))),
        field = 'received_at', concat('n', toString(toUnixTimestamp64Milli(e.received_at))),
        field = 'context.url', if(e.url = '', '', concat('s', e.url)),
        field = 'context.path', if(e.path = '', '', concat('s', e.path)),
        field = 'context.title', if(e.title = '', '', concat('s', e.title)),
        field = 'context.referrer', if(e.referrer = '', '', concat('s', e.referrer)),
        field = 'context.campaign.name', if(e.campaign = '', '', concat('s', e.campaign)),
        field = 'context.campaign.source', if(e.campaign_source = '', '', concat('s', e.campaign_source)),
        field = 'context.campaign.medium', if(e.campaign_medium = '', '', concat('s', e.campaign_medium)),
        field = 'context.device', if(e.device = '', '', concat('s', e.device)),
        field = 'context.os', if(e.os = '', '', concat('s', e.os)),
        field = 'context.browser', if(e.browser = '', '', concat('s', e.browser)),
        field = 'context.country', if(e.country = '', '', concat('s', e.country)),
        field = 'context.app_version', if(e.app_version = '', '', concat('s', e.app_version)),
        field = 'context.load_time', if(bitTest(e.given, 3), concat('n', toString(e.load_time)), ''),
        field = 'context.bot' AND e.bot, 'btrue',
        field = 'commerce.product_id', if(e.product_id = '', '', concat('s', e.product_id)),
        field = 'commerce.cart_id', if(e.cart_id = '', '', concat('s', e.cart_id)),
        field = 'commerce.order_id', if(e.order_id = '', '', concat('s', e.order_id)),
        field = 'commerce.currency', if(e.currency = '', '', concat('s', e.currency)),
        field = 'commerce.coupon', if(e.coupon = '', '', concat('s', e.coupon)),
        field = 'commerce.price', if(bitTest(e.given, 0), concat('n', toString(e.price)), ''),
        field = 'commerce.quantity', if(bitTest(e.given, 1), concat('n', toString(e.quantity)), ''),
        field = 'commerce.revenue', if(bitTest(e.given, 2), concat('n', toString(e.revenue)), ''),
        -- A scalar of a JSON object by its dotted path.
        arrayElement(arrayMap(raw -> multiIf(
            JSONType(raw) = 'String', concat('s', JSONExtractString(raw)),
            JSONType(raw) IN ('Int64', 'UInt64', 'Double'), concat('n', raw),
            JSONType(raw) = 'Bool', concat('b', raw),
            ''), [arrayFold(
                (object, key) -> JSONExtractRaw(object, key),
                splitByChar('.', substring(field, position(field, '.') + 1)),
                multiIf(startsWith(field, 'properties.'), e.properties, startsWith(field, 'commerce.'), e.commerce, e.context))]), 1)
    ), f.fields) AS field_values,
    arrayMap(d -> arrayFilter(
        k -> arrayAll((field, wanted) -> has(wanted, field_values[indexOf(f.fields, field)]), d.3[k], d.4[k]),
        arrayEnumerate(d.3)), f.defs) AS hits,
    arrayMap(d -> d.1, f.defs) AS funnels,
    arrayMap(d -> d.2, f.defs) AS places,
    f.rule_version AS rule_version
FROM waymark_store.recent_events AS e
LEFT JOIN (
    SELECT
        project,
        arraySort(groupArray((funnel, step_nos, step_fields, step_values))) AS defs,
        arrayDistinct(arrayFlatten(groupArray(step_fields))) AS fields,
        argMax(rule_version, version) AS rule_version
    FROM (
        SELECT
            project,
            funnel,
            arrayFilter(i -> NOT optional[i], arrayEnumerate(steps)) AS step_nos,
            arrayMap(i -> fields[i], step_nos) AS step_fields,
            arrayMap(i -> values[i], step_nos) AS step_values,
            rule_version,
            version
        FROM waymark_store.funnel_defs FINAL
        WHERE scope = 'session')
    GROUP BY project
) AS f ON f.project = e.project
WHERE (e.project, e.person, e.session_id) IN (
    SELECT project, person, session_id
    FROM waymark_store.open_candidates
    WHERE (project, session_id) NOT IN (
        SELECT project, session_id
        FROM waymark_store.sessions
        WHERE ended_at >= (SELECT min(since) FROM waymark_store.open_since)
        GROUP BY project, session_id
        HAVING sum(sign) > 0))
