-- contradictions --
-- What the portal's rows say of a subject without its opposite before it, told for people.
SELECT tenant_name || ' ' || coalesce(skill_id || ' ', '') || event_kind
       || ' without its opposite before it, ' || count(*) || ' times'
FROM (
    SELECT tenant_name, skill_id, event_kind,
           lag(event_kind) OVER (PARTITION BY tenant_name, skill_id ORDER BY occurred_at, id) AS before
    FROM tenant_skill_events WHERE lifecycle_id IS NULL
    UNION ALL
    SELECT tenant_name, NULL, event_kind,
           lag(event_kind) OVER (PARTITION BY tenant_name ORDER BY occurred_at, id)
    FROM tenant_suspension_events WHERE lifecycle_id IS NULL
) portal
WHERE event_kind = before OR (before IS NULL AND event_kind IN ('disabled', 'resumed'))
GROUP BY tenant_name, skill_id, event_kind
ORDER BY tenant_name, skill_id

-- corrections --
-- The portal's rows that could not be true, as the last adoption understands them, told for people.
SELECT format('%s: %s of row %s of %s was %s, and counts as %s', c.of ->> 'tenantName', c.of ->> 'column', c.of ->> 'id', c.of ->> 'table',
              c.of ->> 'was', coalesce(c.of ->> 'is', 'not deleted'))
FROM (SELECT * FROM reconciler_adoptions ORDER BY id DESC LIMIT 1) a CROSS JOIN LATERAL jsonb_array_elements(a.corrections) WITH ORDINALITY c (of, number)
ORDER BY c.number
