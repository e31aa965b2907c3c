-- The queries of standing.py; see __init__.py.

-- standing --
-- Where the ledger stands: the last pass and the last list, what the list held back and set aside, the tenants, the time in
-- the last day of which nobody knows what happened (the longest gap given), and the position.
SELECT extract(epoch FROM (SELECT p.written_at FROM reconciler_passes p ORDER BY p.id DESC LIMIT 1))::float8,
       extract(epoch FROM l.written_at)::float8, extract(epoch FROM l.observed_at)::float8,
       coalesce(jsonb_array_length(l.quarantined), 0), coalesce(jsonb_array_length(l.held_back), 0),
       (SELECT count(*) FROM tenant_billing_lifecycle t WHERE t.deleted_at IS NULL),
       (SELECT count(*) FROM reconciler_state s WHERE s.suspended),
       coalesce((SELECT extract(epoch FROM sum(g.until - g.since))::float8
                 FROM reconciler_gaps(l.id, l.observed_at - interval '1 day', l.observed_at, %s) g), 0),
       (SELECT reconciler_position_at(NULL))
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (SELECT p.* FROM reconciler_passes p WHERE p.complete ORDER BY p.id DESC LIMIT 1) l ON true

-- passes --
-- How many passes there are.
SELECT count(*) FROM reconciler_passes

-- rows --
-- How many rows of each kind passes have written.
SELECT kind, sum(rows)::bigint FROM (
    SELECT 'created' AS kind, count(*) AS rows FROM tenant_billing_lifecycle WHERE created_pass_id IS NOT NULL
    UNION ALL SELECT 'deleted', count(*) FROM tenant_billing_lifecycle WHERE deleted_pass_id IS NOT NULL
    UNION ALL SELECT event_kind::text, count(*) FROM tenant_skill_events WHERE pass_id IS NOT NULL GROUP BY event_kind
    UNION ALL SELECT event_kind::text, count(*) FROM tenant_suspension_events WHERE pass_id IS NOT NULL GROUP BY event_kind
) written GROUP BY kind ORDER BY kind
