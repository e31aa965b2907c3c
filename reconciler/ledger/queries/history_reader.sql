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

-- overrides --
-- What operators decided about these lifecycles, and about their cluster while they lived; oldest first.
SELECT l.id, o.override, o.pass_id, o.decided_at, o.decided_by, o.database_user, o.because, o.effective_at, o.outside
FROM tenant_billing_lifecycle l
JOIN reconciler_overrides o ON o.lifecycle_id = l.id
    OR (o.lifecycle_id IS NULL AND o.pass_id >= coalesce(l.created_pass_id, l.recognised_pass_id) AND o.pass_id <= coalesce(l.deleted_pass_id, o.pass_id))
WHERE l.id = ANY(%s)
ORDER BY l.id, o.id
