-- Compares lifecycles with each other.
SELECT 'live-name-twice', tenant_name, NULL, array_fill('tenant_billing_lifecycle'::text, ARRAY[count(*)::int]),
       array_agg(id ORDER BY id), 'uids ' || string_agg(coalesce(tenant_uid, 'not known'), ', ' ORDER BY id)
FROM tenant_billing_lifecycle WHERE deleted_at IS NULL GROUP BY tenant_name HAVING count(*) > 1
UNION ALL
SELECT 'live-uid-twice', min(tenant_name), tenant_uid, array_fill('tenant_billing_lifecycle'::text, ARRAY[count(*)::int]),
       array_agg(id ORDER BY id), 'names ' || string_agg(tenant_name, ', ' ORDER BY id)
FROM tenant_billing_lifecycle WHERE deleted_at IS NULL AND tenant_uid IS NOT NULL GROUP BY tenant_uid HAVING count(*) > 1
UNION ALL
SELECT 'lifecycles-overlap', tenant_name, tenant_uid, ARRAY['tenant_billing_lifecycle', 'tenant_billing_lifecycle'],
       ARRAY[before_id, id], concat('the first ends ', before_end, ', the second begins ', created_at)
FROM (
    SELECT id, tenant_name, tenant_uid, created_at,
           lag(id) OVER w AS before_id, lag(deleted_at) OVER w AS before_end
    FROM tenant_billing_lifecycle WHERE tenant_uid IS NOT NULL
    WINDOW w AS (PARTITION BY tenant_uid ORDER BY created_at, id)
) l WHERE before_end > created_at
