-- Finds rows of the known state that belong to no live lifecycle, and those that were not read although the last list could.
SELECT 'state-of-none', l.tenant_name, l.tenant_uid, ARRAY['reconciler_state'], ARRAY[s.lifecycle_id],
       CASE WHEN l.id IS NULL THEN 'there is no such lifecycle' ELSE concat('it ended ', l.deleted_at) END
FROM reconciler_state s LEFT JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
WHERE l.id IS NULL OR l.deleted_at IS NOT NULL
UNION ALL
SELECT 'state-read', l.tenant_name, l.tenant_uid, ARRAY['reconciler_state'], ARRAY[s.lifecycle_id],
       concat('read_at ', s.read_at, '; pass ', listed.id, ' could read it')
FROM reconciler_state s
JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
CROSS JOIN (SELECT p.id, p.asked_at FROM reconciler_passes p WHERE p.complete ORDER BY p.id DESC LIMIT 1) listed
-- One that was lost was written again as of its last change, until the next list.
WHERE s.read_at < listed.asked_at AND s.read_at <> s.changed_at AND l.deleted_at IS NULL AND NOT EXISTS (
    -- Who cannot be told by uid or name may be anybody. A list may have been overtaken by what was watched before it was written.
    SELECT FROM reconciler_passes p CROSS JOIN jsonb_array_elements(p.quarantined || p.held_back) AS missed (one)
    WHERE p.id >= coalesce((SELECT max(b.id) FROM reconciler_passes b WHERE b.complete AND b.id < listed.id), 0) AND coalesce(
        missed.one ->> 'tenantUid' = l.tenant_uid OR missed.one ->> 'tenantName' = l.tenant_name,
        missed.one ->> 'tenantName' = l.tenant_name, missed.one ->> 'tenantUid' = l.tenant_uid, true))
