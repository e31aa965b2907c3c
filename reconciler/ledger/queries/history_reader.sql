-- looks --
-- The first look at all tenants in a period, how many there were, the last one, and when that asked.
SELECT (SELECT p.asked_at FROM reconciler_passes p WHERE p.complete ORDER BY p.id LIMIT 1),
       count(*) FILTER (WHERE l.complete)::integer, max(l.id), max(l.observed_at)
FROM reconciler_passes l
WHERE (l.complete OR l.gapless IS NOT NULL)
  AND l.observed_at >= coalesce(%s, '-infinity'::timestamptz) AND l.asked_at <= %s

-- gaps --
-- The gaps of a period, as of a pass: their kind, start and end.
SELECT kind, since, until FROM reconciler_gaps(%s, %s, %s, %s::interval)
