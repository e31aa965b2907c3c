-- The queries of voids.py; see __init__.py. The work is done in schema/13-voids.sql.

-- standing --
-- Whether there is such a pass; whether this role may void it; and who owns the tables.
SELECT EXISTS (SELECT FROM reconciler_passes WHERE id = %s), pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)
FROM pg_class c WHERE c.oid = 'reconciler_passes'::regclass

-- void --
-- Voids a pass and all after it: pass, reason, operator. The number of the void.
SELECT reconciler_void_passes(%s, %s, %s)

-- voided --
-- What a void took out of the ledger, and the pass that the ledger is at now, if there is one.
SELECT v.first_pass_id, v.last_pass_id, v.because, v.decided_by, v.decided_at,
       count(r.*), sum((r.row ->> 'lifecycle_inserted')::bigint)::bigint, sum((r.row ->> 'lifecycle_deleted')::bigint)::bigint,
       sum((r.row ->> 'events_inserted')::bigint)::bigint, sum((r.row ->> 'suspension_events_inserted')::bigint)::bigint,
       (SELECT max(id) FROM reconciler_passes),
       (SELECT observed_at FROM reconciler_passes ORDER BY id DESC LIMIT 1),
       ARRAY(SELECT format('%%s to %%s%%s, revision %%s', c.period_start, c.period_end, ' of ' || c.zitadel_org_id, c.revision)
             FROM reconciler_closes c WHERE c.as_of_pass BETWEEN v.first_pass_id AND v.id ORDER BY c.id)
FROM reconciler_voids v JOIN reconciler_voided_rows r ON r.void_id = v.id AND r.table_name = 'reconciler_passes'
WHERE v.id = %s
GROUP BY v.id

-- has_positions --
-- Whether invoices tell the position that they were drawn at: the portal's own may not.
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('invoices') AND attname = 'as_of_pass' AND NOT attisdropped)

-- invoices --
-- The invoices that were drawn at a voided position, by number or, where they are drafts, by id: first and last position.
SELECT coalesce(number, id::text) FROM invoices
WHERE as_of_pass BETWEEN %s AND %s AND status <> 'void' ORDER BY 1
