-- new_ids --
-- Ids for so many new lifecycles.
SELECT nextval(pg_get_serial_sequence('tenant_billing_lifecycle', 'id')) FROM generate_series(1, %s::bigint)

-- last_ordinals --
-- The last ordinal of each of these subjects: a lifecycle and a skill, or no skill for its suspension.
SELECT lifecycle_id, skill_id, ordinal
FROM unnest(%s::bigint[], %s::text[]) AS subject (lifecycle_id, skill_id)
CROSS JOIN LATERAL (
    (SELECT ordinal FROM tenant_skill_events e
     WHERE subject.skill_id IS NOT NULL AND e.lifecycle_id = subject.lifecycle_id
       AND e.skill_key = reconciler_skill_key(subject.skill_id) AND e.ordinal IS NOT NULL
     ORDER BY e.ordinal DESC LIMIT 1)
    UNION ALL
    (SELECT ordinal FROM tenant_suspension_events e
     WHERE subject.skill_id IS NULL AND e.lifecycle_id = subject.lifecycle_id AND e.ordinal IS NOT NULL
     ORDER BY e.ordinal DESC LIMIT 1)
) AS last

-- end --
-- Ends lifecycles.
UPDATE tenant_billing_lifecycle l
SET deleted_at = e.at, deleted_not_before = e.not_before, deleted_time_source = e.source,
    deleted_observed_at = e.observed_at, deleted_pass_id = %s
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::timestamptz[])
     AS e (id, at, not_before, source, observed_at)
WHERE l.id = e.id

-- reopen --
-- Withdraws deletions; their record is in reconciler_reopenings by then.
UPDATE tenant_billing_lifecycle
SET deleted_at = NULL, deleted_not_before = NULL, deleted_time_source = NULL,
    deleted_observed_at = NULL, deleted_pass_id = NULL
WHERE id = ANY(%s)

-- recognise --
-- Gives lifecycles the uid by which they are known from now on.
UPDATE tenant_billing_lifecycle l
SET tenant_uid = r.uid,
    cluster_uid = CASE WHEN l.tenant_uid IS DISTINCT FROM r.uid THEN coalesce(%s, l.cluster_uid) ELSE l.cluster_uid END
FROM unnest(%s::bigint[], %s::text[]) AS r (id, uid)
WHERE l.id = r.id

-- forget_state --
-- Removes the states that are replaced, or of lifecycles that end.
DELETE FROM reconciler_state WHERE lifecycle_id = ANY(%s)

-- was_written --
-- One row where the pass is in the ledger.
SELECT FROM reconciler_passes WHERE id = %s
