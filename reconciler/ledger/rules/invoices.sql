-- The lines of issued invoices that are not what the ledger gives at the invoice's own position and prices, and the
-- invoices that name no position.
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
