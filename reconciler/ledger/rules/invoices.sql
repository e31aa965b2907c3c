-- The lines of issued invoices that are not what the ledger gives at the invoice's own position and prices, the invoices
-- that name no position, and those whose position was voided and which are not credited as a whole.
SELECT 'invoice-line' AS rule, d.tenant_name, NULL::text AS tenant_uid, ARRAY['invoices'] AS tables, ARRAY[d.invoice_id] AS ids,
       format('invoice %s, %s%s: invoiced %s, the ledger gives %s', d.number, d.kind, coalesce(' ' || d.skill_id, ''),
           coalesce(d.invoiced_quantity || ' for ' || d.invoiced_chf || ' CHF', 'nothing'),
           coalesce(d.reckoned_quantity || ' for ' || d.reckoned_chf || ' CHF', 'nothing')) AS told
FROM reconciler_invoice_differences() d
UNION ALL
SELECT 'invoice-position', NULL, NULL, ARRAY['invoices'], ARRAY[i.id], format('invoice %s of %s', i.number, i.zitadel_org_id)
FROM invoices i
WHERE i.as_of_pass IS NULL AND i.status NOT IN ('draft', 'void') AND i.credits_invoice_id IS NULL
  AND EXISTS (SELECT FROM invoice_lines l WHERE l.invoice_id = i.id AND l.kind IN ('setup_fee', 'monthly_fee', 'skill'))
UNION ALL
SELECT 'invoice-voided', NULL, NULL, ARRAY['invoices'], ARRAY[i.id], format('invoice %s of %s, as of pass %s: %s', i.number, i.zitadel_org_id, i.as_of_pass, v.why)
FROM invoices i CROSS JOIN LATERAL (SELECT reconciler_voided(NULL, i.as_of_pass) AS why) v
WHERE v.why IS NOT NULL AND i.status NOT IN ('draft', 'void') AND i.credits_invoice_id IS NULL AND i.credited_at IS NULL
