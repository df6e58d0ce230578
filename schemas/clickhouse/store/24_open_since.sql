-- Per project a time such that every session without a later event is closed: the watermark as it was moved last, less the session
-- gap. Where the gap is not known it is taken for a day.
CREATE OR REPLACE VIEW waymark_store.open_since AS
SELECT project, min(subtractMilliseconds(watermark, if(gap > 0, gap, 86400000))) AS since
FROM waymark_store.watermarks FINAL
GROUP BY project
