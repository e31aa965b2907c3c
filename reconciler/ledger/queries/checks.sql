-- rebuilt --
-- The live lifecycles as their events tell them, and as reconciler_state has them.
SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
       d.skills, d.suspended, d.changed_at,
       s.lifecycle_id, s.skills, s.suspended, s.changed_at, s.read_at, s.held, s.fingerprint,
       CASE WHEN l.created_time_source = 'creation'
                 AND NOT EXISTS (SELECT FROM reconciler_rebindings r WHERE r.lifecycle_id = l.id)
            THEN l.created_observed_at END,
       l.created_pass_id IS NULL
FROM reconciler_derived_state() d
JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id
LEFT JOIN reconciler_state s ON s.lifecycle_id = d.lifecycle_id

-- checked --
-- How many rows there are.
SELECT (SELECT count(*) FROM tenant_billing_lifecycle), (SELECT count(*) FROM tenant_skill_events),
       (SELECT count(*) FROM tenant_suspension_events), (SELECT count(*) FROM reconciler_passes)

-- has_invoices --
-- Whether the invoice tables are ours.
SELECT to_regprocedure('reconciler_invoice_differences()') IS NOT NULL

-- digests --
-- The passes that have a digest and those that have none, the last one that has, and its digest.
SELECT count(d.pass_id), count(*) - count(d.pass_id), max(d.pass_id),
       (SELECT encode(digest, 'hex') FROM reconciler_digests ORDER BY pass_id DESC LIMIT 1)
FROM reconciler_passes p LEFT JOIN reconciler_digests d ON d.pass_id = p.id
