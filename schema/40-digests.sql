-- A digest of what each pass wrote, chained to that of the pass before: so that rows which were altered afterwards show.
--
-- Writer and verifier use the same functions. Each digest has the number of the encoding that it was made with:
--
-- | encoding | texts                                                                  | written by          |
-- |----------|------------------------------------------------------------------------|---------------------|
-- | 1        | as literals one after the other; two pairs of texts may give the same  | schema version 2    |
-- | 2        | as an array, which tells where each ends; other texts give other bytes | schema version 3 on |
--
-- A digest is of text that no setting of a session changes. What one place
-- covers never changes, or the digests of earlier passes would no longer hold: a new column gets a place of its own.

CREATE TABLE IF NOT EXISTS reconciler_digests (
    pass_id     bigint PRIMARY KEY REFERENCES reconciler_passes (id),
    rows_digest bytea NOT NULL CHECK (octet_length(rows_digest) = 32),
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32)
);
ALTER TABLE reconciler_digests ADD COLUMN IF NOT EXISTS encoding integer NOT NULL DEFAULT 1 CHECK (encoding IN (1, 2));
COMMENT ON TABLE reconciler_digests IS 'What each pass wrote, as a digest, chained to the pass before. Written by a trigger when the pass is committed. Append-only.';
COMMENT ON COLUMN reconciler_digests.pass_id IS 'The pass.';
COMMENT ON COLUMN reconciler_digests.rows_digest IS 'SHA-256 of its row and of all rows that name it, as reconciler_pass_digests() has it.';
COMMENT ON COLUMN reconciler_digests.digest IS 'SHA-256 of the digest of the pass before, where there is one, and rows_digest.';
COMMENT ON COLUMN reconciler_digests.encoding IS 'How the rows were turned into bytes: 1 until schema version 2, 2 since.';

-- A pass finds its lifecycles by these; few rows of the tables are in them, and events need none.
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_created_by ON tenant_billing_lifecycle (created_pass_id) WHERE created_pass_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_deleted_by ON tenant_billing_lifecycle (deleted_pass_id) WHERE deleted_pass_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_recognised_by ON tenant_billing_lifecycle (recognised_pass_id) WHERE recognised_pass_id IS NOT NULL;

DROP FUNCTION IF EXISTS reconciler_pass_digests(bigint, bigint, bigint, bigint);

-- Bytes that no setting of a session changes: numbers and times in binary.
-- A lifecycle changes later: its end, its recognition and its uid are covered by the pass that wrote them. Its
-- cluster_uid is not: it is always that of a pass. Batches of ids, so that a pass of millions of rows is never in memory.
CREATE OR REPLACE FUNCTION reconciler_pass_digests(
    first_pass bigint, last_pass bigint, skill_events_above bigint DEFAULT -1, suspension_events_above bigint DEFAULT -1,
    encoding integer DEFAULT 2
)
RETURNS TABLE (pass_id bigint, rows_digest bytea)
LANGUAGE sql STABLE AS $$
SELECT batch.pass_id, sha256(string_agg(batch.digest, '' ORDER BY batch.place, batch.part))
FROM (
    SELECT few.pass_id, few.place, few.number >> 12 AS part, sha256(string_agg(few.bytes, '' ORDER BY few.number)) AS digest
    FROM (
        SELECT p.id AS pass_id, 0 AS place, p.id AS number,
               reconciler_encoded($5, 'pass %s%L%L%L%s %s %s %s %s %L%L%s%L', p.id::text, p.source, p.cluster_uid, p.resource_version,
                   p.tenants_examined::text, p.lifecycle_inserted::text, p.lifecycle_deleted::text, p.events_inserted::text,
                   p.suspension_events_inserted::text, p.quarantined::text, p.held_back::text, left(p.adopted_cluster::text, 1),
                   p.program_version)
               || coalesce(timestamptz_send(p.asked_at), '') || coalesce(timestamptz_send(p.observed_at), '')
               || coalesce(timestamptz_send(p.written_at), '') AS bytes
        FROM reconciler_passes p WHERE p.id BETWEEN $1 AND $2
        UNION ALL
        SELECT l.created_pass_id, 1, l.id,
               reconciler_encoded($5, 'begin %s%L%L%L%L', l.id::text, l.tenant_name, l.zitadel_org_id,
                   coalesce(first.old_uid, l.tenant_uid), l.created_time_source)
               || coalesce(timestamptz_send(l.created_at), '') || coalesce(timestamptz_send(l.created_not_before), '')
               || coalesce(timestamptz_send(l.created_observed_at), '')
        FROM tenant_billing_lifecycle l
        LEFT JOIN (SELECT DISTINCT ON (r.lifecycle_id) r.lifecycle_id, r.old_uid
                   FROM reconciler_rebindings r ORDER BY r.lifecycle_id, r.pass_id) first ON first.lifecycle_id = l.id
        WHERE l.created_pass_id BETWEEN $1 AND $2
        UNION ALL
        SELECT l.recognised_pass_id, 2, l.id,
               reconciler_encoded($5, 'recognised %s%L%L%L', l.id::text, l.tenant_name, l.zitadel_org_id, coalesce(first.old_uid, l.tenant_uid))
               || coalesce(timestamptz_send(l.created_at), '')
        FROM tenant_billing_lifecycle l
        LEFT JOIN (SELECT DISTINCT ON (r.lifecycle_id) r.lifecycle_id, r.old_uid
                   FROM reconciler_rebindings r ORDER BY r.lifecycle_id, r.pass_id) first ON first.lifecycle_id = l.id
        WHERE l.recognised_pass_id BETWEEN $1 AND $2
        UNION ALL
        -- An end that was withdrawn since is on record with its withdrawal, as it was written.
        SELECT ended.pass_id, 3, ended.id,
               reconciler_encoded($5, 'end %s%L', ended.id::text, ended.time_source)
               || coalesce(timestamptz_send(ended.at), '') || coalesce(timestamptz_send(ended.not_before), '')
               || coalesce(timestamptz_send(ended.observed_at), '')
        FROM (
            SELECT l.deleted_pass_id, l.id, l.deleted_at, l.deleted_not_before, l.deleted_time_source, l.deleted_observed_at
            FROM tenant_billing_lifecycle l WHERE l.deleted_pass_id BETWEEN $1 AND $2
            UNION ALL
            SELECT r.deleted_pass_id, r.lifecycle_id, r.deleted_at, r.deleted_not_before, r.deleted_time_source, r.deleted_observed_at
            FROM reconciler_reopenings r WHERE r.deleted_pass_id BETWEEN $1 AND $2
        ) ended (pass_id, id, at, not_before, time_source, observed_at)
        UNION ALL
        SELECT r.pass_id, 4, r.lifecycle_id,
               reconciler_encoded($5, 'reopened %s %s ', r.lifecycle_id::text, r.deleted_pass_id::text) || coalesce(timestamptz_send(r.deleted_at), '')
        FROM reconciler_reopenings r WHERE r.pass_id BETWEEN $1 AND $2
        UNION ALL
        SELECT r.pass_id, 5, r.lifecycle_id, reconciler_encoded($5, 'rebound %s%L%L', r.lifecycle_id::text, r.old_uid, r.new_uid)
        FROM reconciler_rebindings r WHERE r.pass_id BETWEEN $1 AND $2
        UNION ALL
        SELECT m.pass_id, 8, m.lifecycle_id, reconciler_encoded($5, 'moved %s %s', m.lifecycle_id::text, m.previous_lifecycle_id::text)
        FROM reconciler_moves m WHERE m.pass_id BETWEEN $1 AND $2
        UNION ALL
        SELECT p.id, 9, p.id, convert_to('of one change', 'UTF8')
        FROM reconciler_passes p WHERE p.id BETWEEN $1 AND $2 AND NOT p.complete
        UNION ALL
        SELECT p.id, 10, p.id, reconciler_encoded($5, 'about %L%L', p.scope_uid, p.scope_name)
        FROM reconciler_passes p WHERE p.id BETWEEN $1 AND $2 AND num_nonnulls(p.scope_uid, p.scope_name) > 0
        UNION ALL
        SELECT p.id, 11, p.id, reconciler_encoded($5, 'gapless %L', left(p.gapless::text, 1)) || coalesce(timestamptz_send(p.gap_since), '')
        FROM reconciler_passes p WHERE p.id BETWEEN $1 AND $2 AND num_nonnulls(p.gapless, p.gap_since) > 0
        UNION ALL
        SELECT o.pass_id, 12, o.id,
               reconciler_encoded($5, 'override', o.override, o.lifecycle_id::text, o.outside::text, o.because, o.decided_by, o.database_user)
               || timestamptz_send(o.decided_at) || coalesce(timestamptz_send(o.effective_at), '')
        FROM reconciler_overrides o WHERE o.pass_id BETWEEN $1 AND $2
        UNION ALL
        -- What was voided since the pass before.
        SELECT sealing.pass_id, 13, v.id,
               reconciler_encoded($5, 'void', v.id::text, v.first_pass_id::text, v.last_pass_id::text, v.because, v.decided_by, v.database_user)
               || timestamptz_send(v.voided_from) || timestamptz_send(v.decided_at)
               || coalesce((SELECT sha256(string_agg(reconciler_encoded($5, 'row', r.table_name, r.row::text), '' ORDER BY r.id))
                            FROM reconciler_voided_rows r WHERE r.void_id = v.id), '')
        FROM reconciler_voids v
        CROSS JOIN LATERAL (SELECT min(p.id) AS pass_id FROM reconciler_passes p WHERE p.id > v.id) sealing
        WHERE sealing.pass_id BETWEEN $1 AND $2
    ) few
    GROUP BY 1, 2, 3
    UNION ALL
    -- Of the events only what no other rule ties to the lifecycle, the pass or the ordinal: there are millions.
    SELECT e.pass_id, 6, e.id >> 12, sha256(string_agg(
        int8send(e.id) || int8send(e.lifecycle_id) || int4send(e.ordinal) || timestamptz_send(e.occurred_at)
        || timestamptz_send(e.not_before) || convert_to(e.skill_key || ' ' || e.time_source, 'UTF8'), '' ORDER BY e.id))
    FROM tenant_skill_events e WHERE e.id > $3 AND e.pass_id BETWEEN $1 AND $2 GROUP BY 1, 3
    UNION ALL
    SELECT e.pass_id, 7, e.id >> 12, sha256(string_agg(
        int8send(e.id) || int8send(e.lifecycle_id) || int4send(e.ordinal) || timestamptz_send(e.occurred_at)
        || timestamptz_send(e.not_before) || convert_to(e.time_source, 'UTF8'), '' ORDER BY e.id))
    FROM tenant_suspension_events e WHERE e.id > $4 AND e.pass_id BETWEEN $1 AND $2 GROUP BY 1, 3
) batch
GROUP BY batch.pass_id
$$;
COMMENT ON FUNCTION reconciler_pass_digests(bigint, bigint, bigint, bigint, integer) IS 'A digest of all that each of these passes wrote; of the events only those with higher ids.';

-- It runs with the rights of the tables' owner: who writes passes can add no digest of his own.
CREATE OR REPLACE FUNCTION reconciler_seal_pass() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    before bytea := (SELECT d.digest FROM reconciler_digests d WHERE d.pass_id < NEW.id ORDER BY d.pass_id DESC LIMIT 1);
    sealed bytea := (
        SELECT d.rows_digest FROM reconciler_pass_digests(
            NEW.id, NEW.id,
            -- Its events are the last ones, but for those of watched passes after it in the same transaction: nobody else
            -- writes meanwhile. So no index on pass_id is needed.
            coalesce((SELECT e.id FROM tenant_skill_events e WHERE e.pass_id < NEW.id OR e.pass_id IS NULL ORDER BY e.id DESC LIMIT 1), -1),
            coalesce((SELECT e.id FROM tenant_suspension_events e WHERE e.pass_id < NEW.id OR e.pass_id IS NULL ORDER BY e.id DESC LIMIT 1), -1)
        ) d);
BEGIN
    INSERT INTO reconciler_digests (pass_id, rows_digest, digest, encoding)
    VALUES (NEW.id, sealed, sha256(coalesce(before, '') || sealed), 2);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION reconciler_seal_pass() IS 'Trigger: writes the digest of a pass, after all its rows.';

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION reconciler_seal_pass() SET search_path = %I, pg_temp SET work_mem = ''64MB'' SET jit = off', current_schema());
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'reconciler_passes'::regclass AND tgname = 'reconciler_passes_sealed') THEN
        CREATE CONSTRAINT TRIGGER reconciler_passes_sealed AFTER INSERT ON reconciler_passes
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reconciler_seal_pass();
    END IF;
    ALTER TABLE reconciler_passes ENABLE TRIGGER reconciler_passes_sealed;
END $$;

CREATE OR REPLACE TRIGGER reconciler_digests_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_digests EXECUTE FUNCTION reconciler_append_only();
