-- new_ids --
-- Ids for so many new lifecycles, as one array: a hundred thousand rows would take ten times its memory.
SELECT ARRAY(SELECT nextval(pg_get_serial_sequence('tenant_billing_lifecycle', 'id')) FROM generate_series(1, %s::bigint))

-- last_ordinals --
-- The last ordinal of each of these subjects: a lifecycle, a table of events and, in that of skills, a skill.
SELECT lifecycle_id, events, skill_id, ordinal
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS subject (lifecycle_id, events, skill_id)
CROSS JOIN LATERAL (
    (SELECT ordinal FROM tenant_skill_events e
     WHERE subject.events = 'tenant_skill_events' AND e.lifecycle_id = subject.lifecycle_id
       AND e.skill_key = reconciler_skill_key(subject.skill_id) AND e.ordinal IS NOT NULL
     ORDER BY e.ordinal DESC LIMIT 1)
    UNION ALL
    (SELECT ordinal FROM tenant_suspension_events e
     WHERE subject.events = 'tenant_suspension_events' AND e.lifecycle_id = subject.lifecycle_id
       AND e.ordinal IS NOT NULL
     ORDER BY e.ordinal DESC LIMIT 1)
) AS last

-- was_written --
-- One row where the pass is in the ledger.
SELECT FROM reconciler_passes WHERE id = %s

-- setback --
-- Records that the server of the ledger's cluster went back: when, to which resourceVersion and from which.
INSERT INTO reconciler_setbacks (cluster_uid, found_at, resource_version, ledger_version, after_pass_id)
SELECT (SELECT p.cluster_uid FROM reconciler_passes p WHERE p.cluster_uid IS NOT NULL ORDER BY p.id DESC LIMIT 1), %s, %s, %s,
       (SELECT max(id) FROM reconciler_passes)
