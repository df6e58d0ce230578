-- Where each partition stands: the last complete batch of its lane.
CREATE OR REPLACE VIEW waymark_store.positions AS
SELECT lane, seq, written_at, partition, facts_next, facts_end, touchpoints_next, touchpoints_end, clock
FROM waymark_store.batches
ARRAY JOIN partition, facts_next, facts_end, touchpoints_next, touchpoints_end, clock
WHERE (lane, seq) IN (SELECT lane, max(seq) - 1 FROM waymark_store.batches GROUP BY lane)
