-- The times in which a change may have been made and undone unseen.
--
-- | kind    | from what                                                                                            |
-- |---------|------------------------------------------------------------------------------------------------------|
-- | lost    | a list says that it is not gapless: the API server no longer had the history, or nobody asked for it |
-- | unknown | no list says anything for longer than longest_gap: snapshot files, and versions before 3             |
--
-- A list that is gapless leaves no gap, however long ago the list before it was. A pass that has caught up counts as one.

CREATE OR REPLACE FUNCTION reconciler_gaps(as_of_pass bigint, starts_at timestamptz, ends_at timestamptz, longest_gap interval)
RETURNS TABLE (kind text, since timestamptz, until timestamptz)
LANGUAGE sql STABLE AS $$
WITH looked AS (
    -- As far back as the last look before the period. The first look of all comes after nothing.
    SELECT p.id, p.asked_at, p.observed_at, p.gapless, p.gap_since,
           coalesce(lag(p.observed_at) OVER (ORDER BY p.id), '-infinity') AS before
    FROM reconciler_passes p
    WHERE (p.complete OR p.gapless IS NOT NULL) AND p.id <= $1 AND p.id >= coalesce((
        SELECT b.id FROM reconciler_passes b
        WHERE (b.complete OR b.gapless IS NOT NULL) AND b.id <= $1 AND b.observed_at < $2 ORDER BY b.id DESC LIMIT 1), 0)
), gap AS (
    SELECT 'lost' AS kind, l.gap_since AS since, l.observed_at AS until FROM looked l WHERE NOT l.gapless
    UNION ALL
    SELECT 'unknown', l.before, l.asked_at FROM looked l WHERE l.gapless IS NULL
), clipped AS (
    SELECT g.kind, greatest(g.since, $2) AS since, least(g.until, $3) AS until
    FROM gap g WHERE g.since < $3 AND g.until > $2
), islands AS (
    SELECT c.*, count(*) FILTER (WHERE c.kind = 'unknown' OR c.since > c.reached) OVER w AS island
    FROM (SELECT c.*, max(c.until) OVER (PARTITION BY c.kind ORDER BY c.since, c.until
                                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
          FROM clipped c WHERE c.kind = 'lost' OR c.until - c.since > $4) c
    WINDOW w AS (PARTITION BY c.kind ORDER BY c.since, c.until)
)
SELECT i.kind, min(i.since), max(i.until) FROM islands i GROUP BY i.kind, i.island ORDER BY 2, 1
$$;
COMMENT ON FUNCTION reconciler_gaps(bigint, timestamptz, timestamptz, interval) IS 'The times within a period in which a change may have been made and undone unseen, as of a pass: lost where a list says so, unknown where no list says anything for longer than longest_gap.';
