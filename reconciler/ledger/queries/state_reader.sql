-- last_id --
-- The last pass: its id and instant. By these a kept state is found to be current.
SELECT id, observed_at FROM reconciler_passes ORDER BY id DESC LIMIT 1

-- last_age --
-- Seconds since the last pass was written, by the database's clock.
SELECT extract(epoch FROM clock_timestamp() - written_at)::float8 FROM reconciler_passes ORDER BY id DESC LIMIT 1

-- last_pass --
-- The last pass, the cluster and its newest resourceVersion, the last complete list, and the instants of the
-- weak deletions that were watched within an interval before the last pass.
WITH cluster AS (
    SELECT cluster_uid FROM reconciler_passes WHERE cluster_uid IS NOT NULL ORDER BY id DESC LIMIT 1
), newest AS (
    SELECT p.resource_version FROM reconciler_passes p JOIN cluster USING (cluster_uid)
    WHERE p.resource_version IS NOT NULL ORDER BY p.id DESC LIMIT 1
)
SELECT id, asked_at, observed_at,
       (SELECT cluster_uid FROM cluster), (SELECT resource_version FROM newest),
       (SELECT asked_at FROM reconciler_passes WHERE complete ORDER BY id DESC LIMIT 1),
       ARRAY(SELECT l.deleted_observed_at
             FROM tenant_billing_lifecycle l JOIN reconciler_passes p ON p.id = l.deleted_pass_id
             WHERE l.deleted_time_source IN ('observed', 'successor') AND NOT p.complete
               AND l.deleted_observed_at > last.observed_at - %s::interval)
FROM reconciler_passes last ORDER BY id DESC LIMIT 1

-- live --
-- The last known state of every live lifecycle.
SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
       s.skills, s.suspended, s.changed_at, s.read_at, s.held
FROM reconciler_state s JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
WHERE l.deleted_at IS NULL

-- gone --
-- Of these tenants (uids, names, times of creation) those that have ended, as their last lifecycle was at its end.
WITH ended AS (
    -- Rows of the portal have no uid: its tenant is the one of that name which is older than their end.
    SELECT DISTINCT ON (new.uid) l.id, new.uid, l.tenant_name, l.zitadel_org_id, l.created_at,
           coalesce(l.deleted_not_before, l.deleted_at) AS read_at
    FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) AS new (uid, name, created_at)
    JOIN tenant_billing_lifecycle l ON l.deleted_at IS NOT NULL AND (
        l.tenant_uid = new.uid
        OR (l.tenant_uid IS NULL AND l.tenant_name = new.name AND l.deleted_at >= new.created_at))
    ORDER BY new.uid, l.id DESC
)
SELECT e.id, e.uid, e.tenant_name, e.zitadel_org_id, e.created_at,
       s.skills, s.suspended, s.changed_at, e.read_at, false,
       EXISTS (SELECT FROM reconciler_moves m WHERE m.previous_lifecycle_id = e.id)
FROM ended e
JOIN reconciler_derived_state((SELECT coalesce(array_agg(id), '{}') FROM ended)) s
  ON s.lifecycle_id = e.id

-- present --
-- The uids of the tenants that lived as of the last pass.
SELECT l.tenant_uid FROM reconciler_state s JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
WHERE l.tenant_uid IS NOT NULL AND NOT s.held

-- has_portal --
-- Whether the portal has made its tables.
SELECT to_regclass('tenant_billing_lifecycle') IS NOT NULL

-- portal --
-- What the portal wrote, before the schema is brought up to date; for a dry run.
WITH switched AS (
    SELECT DISTINCT ON (tenant_name, skill_id)
           tenant_name, skill_id, event_kind = 'enabled' AS is_on
    FROM tenant_skill_events ORDER BY tenant_name, skill_id, occurred_at DESC, id DESC
), suspension AS (
    SELECT DISTINCT ON (tenant_name) tenant_name, event_kind = 'suspended' AS is_on
    FROM tenant_suspension_events ORDER BY tenant_name, occurred_at DESC, id DESC
), event AS (
    SELECT tenant_name, occurred_at FROM tenant_skill_events
    UNION ALL SELECT tenant_name, occurred_at FROM tenant_suspension_events
)
SELECT NULL::bigint, NULL::text, l.tenant_name, l.zitadel_org_id, l.created_at,
       ARRAY(SELECT skill_id FROM switched s WHERE s.tenant_name = l.tenant_name AND s.is_on
             ORDER BY skill_id COLLATE "C"),
       coalesce((SELECT is_on FROM suspension s WHERE s.tenant_name = l.tenant_name), false),
       least(greatest(l.created_at, (SELECT max(occurred_at) FROM event e
                                     WHERE e.tenant_name = l.tenant_name)), now()),
       l.deleted_at, false
FROM tenant_billing_lifecycle l
