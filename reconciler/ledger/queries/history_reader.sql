-- found --
-- The lifecycles of an org, of a tenant's name, or of a uid that it has or had.
SELECT id FROM tenant_billing_lifecycle
WHERE zitadel_org_id = %s OR tenant_name = %s OR tenant_uid = %s
   OR id IN (SELECT lifecycle_id FROM reconciler_rebindings WHERE old_uid = %s)

-- lifecycles --
-- These lifecycles, by name and oldest first.
SELECT id, tenant_name, tenant_uid, zitadel_org_id, cluster_uid, created_at, deleted_at,
       created_not_before, created_time_source, created_observed_at, created_pass_id,
       deleted_not_before, deleted_time_source, deleted_observed_at, deleted_pass_id,
       (SELECT c.display_name FROM org_billing_config c WHERE c.zitadel_org_id = l.zitadel_org_id)
FROM tenant_billing_lifecycle l
WHERE id = ANY(%s)
ORDER BY tenant_name, created_at, id

-- moves --
-- Each of these lifecycles that ended in a move, with every lifecycle that its tenant moved to.
WITH RECURSIVE later AS (
    SELECT m.previous_lifecycle_id AS id, m.lifecycle_id AS later_id
    FROM reconciler_moves m WHERE m.previous_lifecycle_id = ANY(%s)
    UNION ALL
    SELECT later.id, m.lifecycle_id
    FROM later JOIN reconciler_moves m ON m.previous_lifecycle_id = later.later_id
)
SELECT id, later_id FROM later ORDER BY id, later_id

-- events --
-- The events of these lifecycles. Rows of the portal name no lifecycle; theirs is the one of that
-- name that the portal began.
WITH mine AS (
    SELECT id, tenant_name, created_pass_id FROM tenant_billing_lifecycle WHERE id = ANY(%s)
), event AS NOT MATERIALIZED (
    SELECT lifecycle_id, tenant_name, event_kind, skill_id,
           occurred_at, not_before, time_source, observed_at, pass_id, ordinal, id
    FROM tenant_skill_events
    UNION ALL
    SELECT lifecycle_id, tenant_name, event_kind, NULL,
           occurred_at, not_before, time_source, observed_at, pass_id, ordinal, id
    FROM tenant_suspension_events
), of_mine AS (
    SELECT mine.id AS mine_id, event.* FROM mine JOIN event ON event.lifecycle_id = mine.id
    UNION ALL
    SELECT mine.id, event.* FROM mine
    JOIN reconciler_portal_lives() life ON life.lifecycle_id = mine.id
    JOIN event ON event.lifecycle_id IS NULL AND event.tenant_name = life.tenant_name
              AND event.occurred_at > life.after AND event.occurred_at <= life.until
    WHERE mine.created_pass_id IS NULL
)
SELECT mine_id, event_kind, skill_id, occurred_at, not_before, time_source, observed_at, pass_id
FROM of_mine ORDER BY occurred_at, ordinal NULLS FIRST, skill_id COLLATE "C" NULLS FIRST, id

-- passes --
-- These passes.
SELECT id, source, cluster_uid, resource_version, asked_at, observed_at, written_at
FROM reconciler_passes WHERE id = ANY(%s)

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
