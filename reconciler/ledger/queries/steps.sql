-- reopen --
-- Withdraws deletions. The database asks for their record in reconciler_reopenings.
UPDATE tenant_billing_lifecycle
SET deleted_at = NULL, deleted_not_before = NULL, deleted_time_source = NULL,
    deleted_observed_at = NULL, deleted_pass_id = NULL
WHERE id = ANY(%s::bigint[])

-- recognise --
-- Gives lifecycles the uid by which they are known from now on. The database asks for the record of a change of uid.
UPDATE tenant_billing_lifecycle l
SET tenant_uid = r.tenant_uid,
    cluster_uid = CASE WHEN l.tenant_uid IS DISTINCT FROM r.tenant_uid
                       THEN coalesce(r.cluster_uid, l.cluster_uid) ELSE l.cluster_uid END
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS r (id, tenant_uid, cluster_uid)
WHERE l.id = r.id

-- end --
-- Ends lifecycles.
UPDATE tenant_billing_lifecycle l
SET deleted_at = e.occurred_at, deleted_not_before = e.not_before, deleted_time_source = e.time_source,
    deleted_observed_at = e.observed_at, deleted_pass_id = e.pass_id
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::timestamptz[], %s::bigint[])
     AS e (id, occurred_at, not_before, time_source, observed_at, pass_id)
WHERE l.id = e.id

-- forget_state --
-- Removes the states that are replaced, and those of lifecycles that end.
DELETE FROM reconciler_state WHERE lifecycle_id = ANY(%s::bigint[])
