-- The queries of decisions.py; see __init__.py.

-- postures --
-- How each org is billed that the ledger knows, or one of them; with its live tenants, and whether it has a row.
SELECT org.id, coalesce(c.pay_by_invoice, false), coalesce(c.auto_invoice_enabled, false),
       coalesce(c.auto_reminders_enabled, false), c.stripe_customer_id, c.display_name,
       (SELECT count(*) FROM tenant_billing_lifecycle l
        WHERE l.zitadel_org_id = org.id AND l.deleted_at IS NULL),
       c.zitadel_org_id IS NOT NULL
FROM (
    SELECT zitadel_org_id FROM org_billing_config
    UNION SELECT zitadel_org_id FROM tenant_billing_lifecycle
) AS org (id)
LEFT JOIN org_billing_config c ON c.zitadel_org_id = org.id
WHERE %s::text IS NULL OR org.id = %s
ORDER BY org.id COLLATE "C"

-- begin --
-- The org, where this made its row, with the defaults.
INSERT INTO org_billing_config (zitadel_org_id) VALUES (%s) ON CONFLICT (zitadel_org_id) DO NOTHING RETURNING zitadel_org_id

-- row --
-- The row of an org, locked until the end of the transaction.
SELECT pay_by_invoice, auto_invoice_enabled, auto_reminders_enabled, stripe_customer_id, display_name
FROM org_billing_config WHERE zitadel_org_id = %s FOR UPDATE

-- change --
-- Brings the row of an org to other values.
UPDATE org_billing_config
SET pay_by_invoice = %s, auto_invoice_enabled = %s, auto_reminders_enabled = %s, stripe_customer_id = %s, display_name = %s
WHERE zitadel_org_id = %s

-- names --
-- What people call the organisations.
SELECT zitadel_org_id, display_name FROM org_billing_config WHERE display_name IS NOT NULL

-- record --
-- Puts a decision on record.
INSERT INTO reconciler_decisions (decided_by, table_name, subject, before, after)
VALUES (%s, %s, %s, %s::text::jsonb, %s::text::jsonb) RETURNING id, decided_at, database_user

-- known_org --
-- One row where an organisation has its settings, or ever had a tenant.
SELECT FROM org_billing_config WHERE zitadel_org_id = %s::text
UNION ALL
SELECT FROM tenant_billing_lifecycle WHERE zitadel_org_id = %s::text
LIMIT 1
