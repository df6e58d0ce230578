-- The sessions that have an event since the time before which all are closed. Some of them may be closed.
CREATE OR REPLACE VIEW waymark_store.open_candidates AS
SELECT DISTINCT e.project AS project, e.person AS person, e.session_id AS session_id
FROM waymark_store.recent_events AS e
INNER JOIN waymark_store.open_since AS o ON o.project = e.project
WHERE e.occurred_at >= o.since AND e.session_id != ''
