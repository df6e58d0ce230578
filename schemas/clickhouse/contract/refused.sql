CREATE OR REPLACE VIEW waymark.refused
(
    `project` String COMMENT 'name of the project: a tenant',
    `source` String COMMENT 'sender of the events',
    `minute` DateTime('UTC') COMMENT 'minute in which the collector refused them',
    `reason` String COMMENT 'no_identity, bad_timestamp, too_large, bad_json, unknown_type, missing_event or schema',
    `events` UInt64 COMMENT 'refused events',
    `app_version` String COMMENT 'version of the app or site that sent the last of them',
    `last_message_id` String COMMENT 'message id of the last of them, as sent',
    `last_detail` String COMMENT 'what was wrong with the last of them'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS
SELECT
    project,
    source,
    toStartOfMinute(toDateTime(received_at, 'UTC')) AS minute,
    reason,
    count() AS events,
    argMax(app_version, _offset) AS app_version,
    argMax(message_id, _offset) AS last_message_id,
    argMax(detail, _offset) AS last_detail
FROM waymark_store.refused
GROUP BY project, source, minute, reason
COMMENT 'events that were refused, by minute and reason'
