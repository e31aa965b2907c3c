-- Checks the rows that the portal wrote. They have no ordinal, only a time.
WITH event AS (
    SELECT 'tenant_skill_events' AS tab, id, tenant_name, skill_id, event_kind, occurred_at,
           event_kind = 'enabled' AS is_on, id > (SELECT min(id) FROM tenant_skill_events WHERE pass_id IS NOT NULL) AS is_late
    FROM tenant_skill_events WHERE num_nonnulls(lifecycle_id, tenant_uid, ordinal, pass_id) = 0
    UNION ALL
    SELECT 'tenant_suspension_events', id, tenant_name, NULL, event_kind, occurred_at,
           event_kind = 'suspended', id > (SELECT min(id) FROM tenant_suspension_events WHERE pass_id IS NOT NULL)
    FROM tenant_suspension_events WHERE num_nonnulls(lifecycle_id, tenant_uid, ordinal, pass_id) = 0
), ordered AS (
    SELECT e.*, l.id AS lifecycle_id, l.created_at, l.deleted_at, l.tenant_uid,
           coalesce(lag(is_on) OVER (PARTITION BY e.tab, e.tenant_name, l.id, e.skill_id ORDER BY e.occurred_at, e.id), false) AS was_on
    FROM event e
    LEFT JOIN reconciler_portal_lives() life
           ON life.tenant_name = e.tenant_name AND e.occurred_at > life.after AND e.occurred_at <= life.until
    LEFT JOIN tenant_billing_lifecycle l ON l.id = life.lifecycle_id
)
SELECT rule, tenant_name, tenant_uid, ARRAY[tab], ARRAY[id],
       concat_ws(' ', event_kind, skill_id, 'at', occurred_at, 'lifecycle', lifecycle_id)
FROM ordered CROSS JOIN LATERAL unnest(array_remove(ARRAY[
    CASE WHEN is_late THEN 'row-late' END,
    CASE WHEN is_on = was_on AND NOT coalesce(is_late, false) THEN 'portal-contradiction' END,
    CASE WHEN (lifecycle_id IS NULL OR occurred_at < created_at OR occurred_at > deleted_at) AND NOT coalesce(is_late, false)
         THEN 'portal-outside' END
], NULL)) AS rule
