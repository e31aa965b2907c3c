-- Finds rows of the known state that belong to no live lifecycle.
SELECT 'state-of-none', l.tenant_name, l.tenant_uid, ARRAY['reconciler_state'], ARRAY[s.lifecycle_id],
       CASE WHEN l.id IS NULL THEN 'there is no such lifecycle' ELSE concat('it ended ', l.deleted_at) END
FROM reconciler_state s LEFT JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
WHERE l.id IS NULL OR l.deleted_at IS NOT NULL
