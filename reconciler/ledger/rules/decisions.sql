-- What operators decided, against what came of it.
SELECT 'rebinding', l.tenant_name, coalesce(l.tenant_uid, r.new_uid), ARRAY['reconciler_rebindings', 'tenant_billing_lifecycle'],
       ARRAY[r.pass_id, r.lifecycle_id], concat('from ', r.old_uid, ' to ', r.new_uid, ', then ', coalesce(r.next_uid, l.tenant_uid))
FROM (SELECT *, lead(old_uid) OVER (PARTITION BY lifecycle_id ORDER BY pass_id) AS next_uid FROM reconciler_rebindings) r
LEFT JOIN tenant_billing_lifecycle l ON l.id = r.lifecycle_id
LEFT JOIN reconciler_passes p ON p.id = r.pass_id
WHERE l.id IS NULL OR p.id IS NULL OR r.old_uid = r.new_uid OR r.pass_id <= l.created_pass_id OR r.pass_id > l.deleted_pass_id
   OR r.new_uid IS DISTINCT FROM coalesce(r.next_uid, l.tenant_uid)
UNION ALL
SELECT 'reopening', l.tenant_name, l.tenant_uid, ARRAY['reconciler_reopenings', 'tenant_billing_lifecycle'],
       ARRAY[r.pass_id, r.lifecycle_id], concat('withdrew the end of ', r.deleted_at, ' by pass ', r.deleted_pass_id,
       '; the lifecycle''s end: ' || l.deleted_at || ' by pass ' || l.deleted_pass_id)
FROM (SELECT *, lag(pass_id) OVER (PARTITION BY lifecycle_id ORDER BY pass_id) AS before FROM reconciler_reopenings) r
LEFT JOIN tenant_billing_lifecycle l ON l.id = r.lifecycle_id
LEFT JOIN reconciler_passes p ON p.id = r.pass_id
LEFT JOIN reconciler_passes gone ON gone.id = r.deleted_pass_id
WHERE l.id IS NULL OR p.id IS NULL OR r.deleted_at IS NULL OR (r.deleted_pass_id IS NOT NULL AND gone.id IS NULL)
   OR r.deleted_pass_id >= r.pass_id OR r.deleted_pass_id <= r.before OR r.deleted_pass_id < l.created_pass_id
   OR r.deleted_observed_at <> gone.observed_at
   OR NOT (r.deleted_not_before <= r.deleted_at AND r.deleted_at <= r.deleted_observed_at)
   OR (l.deleted_at IS NOT NULL AND coalesce(l.deleted_pass_id, 0) <= r.pass_id)
