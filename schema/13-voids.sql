-- Voided passes: the way out where a pass should never have been, such as one over a file that was dated a year ahead.
--
-- A pass is voided with all passes after it. What they wrote leaves the tables and goes on record in reconciler_voided_rows,
-- and the ledger is as the pass before them left it. The next pass is sealed with the record.
--
-- A void takes a number from the passes: it is a position like them. Positions among voided passes are no longer answered.

CREATE TABLE IF NOT EXISTS reconciler_voids (
    id            bigint PRIMARY KEY,
    first_pass_id bigint NOT NULL,
    last_pass_id  bigint NOT NULL CHECK (last_pass_id >= first_pass_id AND last_pass_id < id),
    voided_from   timestamptz NOT NULL,
    because       text NOT NULL CHECK (because <> ''),
    decided_by    text NOT NULL CHECK (decided_by <> ''),
    decided_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    database_user text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE reconciler_voids IS 'Which passes an operator voided (reconciler void). Append-only; written by reconciler_void_passes().';
COMMENT ON COLUMN reconciler_voids.id IS 'Number of the void. It comes from the numbers of passes.';
COMMENT ON COLUMN reconciler_voids.first_pass_id IS 'The first pass that was voided.';
COMMENT ON COLUMN reconciler_voids.last_pass_id IS 'The last one: all passes were voided from the first on.';
COMMENT ON COLUMN reconciler_voids.voided_from IS 'When the first one was written. Between then and decided_at the ledger said what it no longer says.';
COMMENT ON COLUMN reconciler_voids.because IS 'Why (--because).';
COMMENT ON COLUMN reconciler_voids.decided_by IS 'The operator: --by, or else the OS user.';
COMMENT ON COLUMN reconciler_voids.decided_at IS 'When, on the database''s clock.';
COMMENT ON COLUMN reconciler_voids.database_user IS 'The database role of the connection.';

CREATE TABLE IF NOT EXISTS reconciler_voided_rows (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    void_id    bigint NOT NULL REFERENCES reconciler_voids (id),
    table_name text NOT NULL,
    row        jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS reconciler_voided_rows_void ON reconciler_voided_rows (void_id, table_name);
COMMENT ON TABLE reconciler_voided_rows IS 'What voided passes had written, and lifecycles and setbacks as they were before the void changed them. Append-only.';
COMMENT ON COLUMN reconciler_voided_rows.id IS 'Number of the row.';
COMMENT ON COLUMN reconciler_voided_rows.void_id IS 'The void.';
COMMENT ON COLUMN reconciler_voided_rows.table_name IS 'The table in which the row was.';
COMMENT ON COLUMN reconciler_voided_rows.row IS 'The row, by column. Times are in UTC.';

CREATE OR REPLACE TRIGGER reconciler_voids_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_voids EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_voids_signed
    BEFORE INSERT ON reconciler_voids FOR EACH ROW EXECUTE FUNCTION reconciler_sign_decision();
CREATE OR REPLACE TRIGGER reconciler_voided_rows_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_voided_rows EXECUTE FUNCTION reconciler_append_only();

-- Whether the triggers that keep what is written are at work: ENABLE or DISABLE.
CREATE OR REPLACE FUNCTION reconciler_switch_append_only(switch text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    keeper record;
BEGIN
    FOR keeper IN
        SELECT t.tgrelid::regclass AS of_table, t.tgname FROM pg_trigger t
        WHERE t.tgfoid IN (
            'reconciler_append_only()'::regprocedure, 'reconciler_lifecycle_changes()'::regprocedure,
            'reconciler_refuse_without_pass()'::regprocedure)
    LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', keeper.of_table, switch, keeper.tgname);
    END LOOP;
END $$;
COMMENT ON FUNCTION reconciler_switch_append_only(text) IS 'Part of reconciler_void_passes(): switches the triggers that keep what is written. It takes the owner of the tables.';

-- Only the owner of the tables may: others cannot switch the triggers off that keep the rows.
CREATE OR REPLACE FUNCTION reconciler_void_passes(first_pass bigint, because text, decided_by text) RETURNS bigint
LANGUAGE plpgsql SET timezone = 'UTC' SET bytea_output = 'hex' SET datestyle = 'ISO' AS $$
#variable_conflict use_variable
DECLARE
    void_id bigint;
    last_pass bigint;
    written record;
BEGIN
    IF NOT pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = 'reconciler_passes'::regclass), 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of reconciler_passes may void passes' USING ERRCODE = 'insufficient_privilege';
    END IF;
    LOCK TABLE reconciler_writer IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM reconciler_passes p WHERE p.id = first_pass) THEN
        RAISE EXCEPTION 'there is no pass %', first_pass USING ERRCODE = 'no_data_found';
    END IF;
    last_pass := (SELECT max(p.id) FROM reconciler_passes p);
    void_id := nextval(pg_get_serial_sequence('reconciler_passes', 'id'));
    PERFORM reconciler_check_number(void_id);
    INSERT INTO reconciler_voids (id, first_pass_id, last_pass_id, voided_from, because, decided_by)
    SELECT void_id, first_pass, last_pass, p.written_at, because, decided_by FROM reconciler_passes p WHERE p.id = first_pass;

    PERFORM reconciler_switch_append_only('DISABLE');
    -- Those that others refer to come after them. A lifecycle that goes on is put right before its pass goes.
    DELETE FROM reconciler_state;
    FOR written IN
        SELECT * FROM (VALUES
            ('tenant_skill_events', 'pass_id'), ('tenant_suspension_events', 'pass_id'), ('reconciler_moves', 'pass_id'),
            ('reconciler_overrides', 'pass_id'), ('reconciler_reopenings', 'pass_id'), ('reconciler_rebindings', 'pass_id'),
            ('reconciler_digests', 'pass_id'), ('tenant_billing_lifecycle', 'created_pass_id'),
            ('reconciler_passes', 'id')) AS of (of_table, pass_column)
    LOOP
        IF written.of_table = 'reconciler_passes' THEN
            -- Those that are ended again first: of one name and of one uid, one at most is live.
            PERFORM reconciler_restore_lifecycles(void_id, first_pass, ends => true);
            PERFORM reconciler_restore_lifecycles(void_id, first_pass, ends => false);
            PERFORM reconciler_restore_setbacks(void_id, first_pass);
        END IF;
        EXECUTE format(
            'WITH gone AS (DELETE FROM %1$I WHERE %2$I >= $2 RETURNING *)
             INSERT INTO reconciler_voided_rows (void_id, table_name, row) SELECT $1, %1$L, to_jsonb(gone) FROM gone',
            written.of_table, written.pass_column) USING void_id, first_pass;
    END LOOP;
    PERFORM reconciler_restore_state();
    PERFORM reconciler_switch_append_only('ENABLE');
    RETURN void_id;
END $$;
COMMENT ON FUNCTION reconciler_void_passes(bigint, text, text) IS 'Voids a pass and all passes after it: takes their rows on record and out of the ledger. Returns the number of the void. For the owner of the tables.';

-- Ends, uids and setbacks as they were before these passes. A lifecycle that they began is gone by now; what they
-- decided of the others is among the voided rows.
CREATE OR REPLACE FUNCTION reconciler_restore_lifecycles(void_id bigint, first_pass bigint, ends boolean) RETURNS void
LANGUAGE sql SET timezone = 'UTC' AS $$
WITH reopened AS (
    SELECT DISTINCT ON (r.lifecycle_id) r.*
    FROM reconciler_voided_rows v, jsonb_populate_record(NULL::reconciler_reopenings, v.row) r
    WHERE v.void_id = $1 AND v.table_name = 'reconciler_reopenings'
    ORDER BY r.lifecycle_id, r.pass_id
), rebound AS (
    SELECT DISTINCT ON (r.lifecycle_id) r.*
    FROM reconciler_voided_rows v, jsonb_populate_record(NULL::reconciler_rebindings, v.row) r
    WHERE v.void_id = $1 AND v.table_name = 'reconciler_rebindings'
    ORDER BY r.lifecycle_id, r.pass_id
), changed AS (
    SELECT l.id, b.old_uid, l.recognised_pass_id >= $2 AS was_unknown, ended.*,
           (SELECT p.cluster_uid FROM reconciler_passes p
            WHERE p.id = coalesce((SELECT max(e.pass_id) FROM reconciler_rebindings e WHERE e.lifecycle_id = l.id),
                                  l.recognised_pass_id, l.created_pass_id)) AS old_cluster_uid
    FROM tenant_billing_lifecycle l
    LEFT JOIN reopened r ON r.lifecycle_id = l.id
    LEFT JOIN rebound b ON b.lifecycle_id = l.id
    -- Its end before: that which they withdrew, or else its own, where they did not write it.
    LEFT JOIN LATERAL (
        SELECT r.deleted_at, r.deleted_not_before, r.deleted_time_source, r.deleted_observed_at, r.deleted_pass_id
        WHERE r.lifecycle_id IS NOT NULL AND coalesce(r.deleted_pass_id, 0) < $2
        UNION ALL
        SELECT l.deleted_at, l.deleted_not_before, l.deleted_time_source, l.deleted_observed_at, l.deleted_pass_id
        WHERE r.lifecycle_id IS NULL AND coalesce(l.deleted_pass_id, 0) < $2
    ) ended ON true
    WHERE (l.recognised_pass_id >= $2 OR l.deleted_pass_id >= $2 OR r.lifecycle_id IS NOT NULL OR b.lifecycle_id IS NOT NULL)
      AND (ended.deleted_at IS NOT NULL) = $3
), recorded AS (
    INSERT INTO reconciler_voided_rows (void_id, table_name, row)
    SELECT $1, 'tenant_billing_lifecycle', to_jsonb(l) FROM tenant_billing_lifecycle l JOIN changed USING (id)
)
UPDATE tenant_billing_lifecycle l
SET tenant_uid = CASE WHEN c.was_unknown THEN NULL ELSE coalesce(c.old_uid, l.tenant_uid) END,
    cluster_uid = CASE WHEN c.was_unknown THEN NULL WHEN c.old_uid IS NULL THEN l.cluster_uid ELSE c.old_cluster_uid END,
    recognised_pass_id = CASE WHEN c.was_unknown THEN NULL ELSE l.recognised_pass_id END,
    deleted_at = c.deleted_at, deleted_not_before = c.deleted_not_before, deleted_time_source = c.deleted_time_source,
    deleted_observed_at = c.deleted_observed_at, deleted_pass_id = c.deleted_pass_id
FROM changed c WHERE c.id = l.id
$$;
COMMENT ON FUNCTION reconciler_restore_lifecycles(bigint, bigint, boolean) IS 'Part of reconciler_void_passes(): lifecycles as they were before the voided passes, those that had ended or those that were live.';

-- That a server went back is still true.
CREATE OR REPLACE FUNCTION reconciler_restore_setbacks(void_id bigint, first_pass bigint) RETURNS void
LANGUAGE sql SET timezone = 'UTC' AS $$
INSERT INTO reconciler_voided_rows (void_id, table_name, row)
SELECT $1, 'reconciler_setbacks', to_jsonb(s) FROM reconciler_setbacks s WHERE s.after_pass_id >= $2;
UPDATE reconciler_setbacks s SET after_pass_id = before.id
FROM (SELECT max(p.id) AS id FROM reconciler_passes p WHERE p.id < $2) before
WHERE s.after_pass_id >= $2 AND before.id IS NOT NULL;
DELETE FROM reconciler_setbacks s WHERE s.after_pass_id >= $2;
$$;
COMMENT ON FUNCTION reconciler_restore_setbacks(bigint, bigint) IS 'Part of reconciler_void_passes(): setbacks follow the last pass that is left.';

-- Who could not be read since the last list, or was held back, goes on from the last list before. Where a pass does not say
-- whom it could not read, that is all its tenants: read_at may be earlier than it was, but never later.
CREATE OR REPLACE FUNCTION reconciler_restore_state() RETURNS void LANGUAGE sql AS $$
WITH unread AS (
    SELECT p.id AS pass_id, p.complete, p.scope_uid, one ->> 'tenantUid' AS uid, one ->> 'tenantName' AS name, is_held
    FROM reconciler_passes p,
         LATERAL (SELECT jsonb_array_elements(p.quarantined) AS one, false AS is_held
                  UNION ALL SELECT jsonb_array_elements(p.held_back), true) named
), live AS (
    SELECT l.id, l.tenant_name, d.skills, d.suspended, d.changed_at,
           coalesce(l.created_pass_id, l.recognised_pass_id, 9223372036854775807) AS has_uid_since,
           l.tenant_uid || ARRAY(SELECT b.old_uid FROM reconciler_rebindings b WHERE b.lifecycle_id = l.id) AS uids
    FROM reconciler_derived_state() d JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id
), missed AS (
    SELECT l.id, u.pass_id, u.is_held, u.uid IS NOT NULL OR u.name IS NOT NULL AS is_named
    FROM live l JOIN unread u
      ON (u.complete OR u.scope_uid = ANY (l.uids))
     AND (u.uid = ANY (l.uids) OR u.uid IS NULL AND coalesce(u.name, l.tenant_name) = l.tenant_name)
      OR u.name = l.tenant_name AND u.pass_id < l.has_uid_since
), last_missed AS (
    SELECT l.*, coalesce((
        SELECT max(p.id) FROM reconciler_passes p
        WHERE (p.complete OR p.scope_uid = ANY (l.uids))
          AND NOT EXISTS (SELECT FROM missed m WHERE m.id = l.id AND m.pass_id = p.id)), 0) AS read_pass_id
    FROM live l WHERE l.id IN (SELECT m.id FROM missed m)
), frozen AS (
    SELECT l.id, min(m.pass_id) AS first_pass_id,
           (array_agg(m.is_held ORDER BY m.pass_id DESC, m.is_held) FILTER (WHERE m.is_named))[1] AS held
    FROM last_missed l JOIN missed m ON m.id = l.id AND m.pass_id > l.read_pass_id
    GROUP BY l.id
)
INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at, read_at, held)
SELECT l.id, l.skills, l.suspended, l.changed_at,
       CASE WHEN f.id IS NOT NULL THEN least(
           coalesce((SELECT p.asked_at FROM reconciler_passes p WHERE p.complete AND p.id < f.first_pass_id ORDER BY p.id DESC LIMIT 1),
                    l.changed_at),
           -- If its deletion was withdrawn since, it was last read before it ended.
           (SELECT min(coalesce(r.deleted_not_before, r.deleted_at)) FROM reconciler_reopenings r
            WHERE r.lifecycle_id = l.id AND r.pass_id >= f.first_pass_id)) END,
       coalesce(f.held, false)
FROM live l LEFT JOIN frozen f USING (id)
$$;
COMMENT ON FUNCTION reconciler_restore_state() IS 'Part of reconciler_void_passes(): the known state, from the events and the last passes.';
