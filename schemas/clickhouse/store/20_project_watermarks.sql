-- A project's watermark in each partition that has seen it, as of now: it moves with the partition's clock, and never past it.
CREATE OR REPLACE VIEW waymark_store.project_watermarks AS
SELECT
    w.project AS project,
    w._partition AS partition,
    least(p.clock, addMilliseconds(w.watermark, greatest(0, dateDiff('millisecond', w.at, p.clock)))) AS watermark
FROM (SELECT project, _partition, watermark, at FROM waymark_store.watermarks FINAL) AS w
INNER JOIN waymark_store.positions AS p ON p.partition = w._partition
