-- Compares what operators decided with the lifecycles.
SELECT 'override', l.tenant_name, l.tenant_uid, ARRAY['reconciler_overrides', 'tenant_billing_lifecycle'],
       ARRAY[o.id, o.lifecycle_id], concat(o.override, ' by ', o.decided_by, ', pass ', o.pass_id)
FROM reconciler_overrides o
LEFT JOIN tenant_billing_lifecycle l ON l.id = o.lifecycle_id
LEFT JOIN reconciler_passes p ON p.id = o.pass_id
WHERE p.id IS NULL OR NOT CASE o.override
    WHEN 'move' THEN EXISTS (SELECT FROM reconciler_moves m WHERE (m.pass_id, m.lifecycle_id) = (o.pass_id, o.lifecycle_id))
    WHEN 'rebind' THEN EXISTS (SELECT FROM reconciler_rebindings r WHERE (r.pass_id, r.lifecycle_id) = (o.pass_id, o.lifecycle_id))
    WHEN 'reopen' THEN EXISTS (SELECT FROM reconciler_reopenings r WHERE (r.pass_id, r.lifecycle_id) = (o.pass_id, o.lifecycle_id))
    WHEN 'allow-deletions' THEN l.deleted_pass_id = o.pass_id OR EXISTS (
        SELECT FROM reconciler_reopenings r WHERE (r.lifecycle_id, r.deleted_pass_id) = (o.lifecycle_id, o.pass_id))
    ELSE p.adopted_cluster END
UNION ALL
-- Who decided is recorded since version 3 of the schema, as digests of encoding 2 are.
SELECT 'override-missing', l.tenant_name, l.tenant_uid, ARRAY[d.decision, 'tenant_billing_lifecycle'], ARRAY[d.pass_id, d.lifecycle_id],
       concat(d.override, ', pass ', d.pass_id)
FROM (
    SELECT 'reconciler_moves' AS decision, 'move' AS override, pass_id, lifecycle_id FROM reconciler_moves
    UNION ALL SELECT 'reconciler_rebindings', 'rebind', pass_id, lifecycle_id FROM reconciler_rebindings
    UNION ALL SELECT 'reconciler_reopenings', 'reopen', pass_id, lifecycle_id FROM reconciler_reopenings
) d
JOIN reconciler_digests g ON g.pass_id = d.pass_id AND g.encoding = 2
LEFT JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id
WHERE NOT EXISTS (
    SELECT FROM reconciler_overrides o WHERE (o.pass_id, o.lifecycle_id, o.override) = (d.pass_id, d.lifecycle_id, d.override))
UNION ALL
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
UNION ALL
SELECT 'move', coalesce(l.tenant_name, before.tenant_name), coalesce(l.tenant_uid, before.tenant_uid), 
       ARRAY['reconciler_moves', 'tenant_billing_lifecycle', 'tenant_billing_lifecycle'], ARRAY[m.pass_id, m.lifecycle_id, m.previous_lifecycle_id],
       concat('by pass ', m.pass_id, ' from ', before.zitadel_org_id, ', which ends ' || before.deleted_at, ' by pass ' || before.deleted_pass_id,
              ', to ', l.zitadel_org_id, ', which begins ' || l.created_at, ' by pass ' || l.created_pass_id)
FROM reconciler_moves m
LEFT JOIN tenant_billing_lifecycle l ON l.id = m.lifecycle_id
LEFT JOIN tenant_billing_lifecycle before ON before.id = m.previous_lifecycle_id
WHERE (l.tenant_name, l.created_pass_id, l.created_at, l.created_not_before)
      IS DISTINCT FROM (before.tenant_name, m.pass_id, before.deleted_at, before.deleted_not_before)
   OR before.deleted_pass_id IS DISTINCT FROM m.pass_id OR before.zitadel_org_id = l.zitadel_org_id
   OR (l.tenant_uid <> before.tenant_uid AND NOT EXISTS (
       SELECT FROM reconciler_rebindings r WHERE r.lifecycle_id = l.id AND r.old_uid = before.tenant_uid))
