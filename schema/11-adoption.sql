-- Adoption: what the portal wrote before the ledger came is taken over, once, and sealed.
--
-- A row that cannot be true is understood as of the adoption. What it said before goes on record in `corrections`:
--
-- | the portal's row                             | counts as                                                    |
-- |----------------------------------------------|--------------------------------------------------------------|
-- | created_at, deleted_at or occurred_at ahead  | the adoption; events keep their order                        |
-- | deleted_at is infinity                       | null: not deleted                                            |
-- | deleted_at before created_at                 | a life of no length, at created_at                           |
-- | event_kind in other letters, or with spaces  | the kind                                                     |
--
-- After it, every row is a pass's own. verify --deep compares the rows without a pass with the seal.

CREATE TABLE IF NOT EXISTS reconciler_adoptions (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    adopted_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    database_user     text NOT NULL DEFAULT session_user,
    lifecycles        bigint NOT NULL,
    skill_events      bigint NOT NULL,
    suspension_events bigint NOT NULL,
    rows_digest       bytea NOT NULL CHECK (octet_length(rows_digest) = 32),
    corrections       jsonb NOT NULL DEFAULT '[]'
);
COMMENT ON TABLE reconciler_adoptions IS 'What the portal had written when its tables were adopted: how many rows, and a digest of them. Written by schema apply. Append-only.';
COMMENT ON COLUMN reconciler_adoptions.id IS 'Number of the adoption. The last one covers all rows without a pass.';
COMMENT ON COLUMN reconciler_adoptions.adopted_at IS 'When, on the database''s clock.';
COMMENT ON COLUMN reconciler_adoptions.database_user IS 'The database role of the connection.';
COMMENT ON COLUMN reconciler_adoptions.lifecycles IS 'Number of lifecycles that no pass began.';
COMMENT ON COLUMN reconciler_adoptions.skill_events IS 'Number of rows of tenant_skill_events without a pass.';
COMMENT ON COLUMN reconciler_adoptions.suspension_events IS 'Number of rows of tenant_suspension_events without a pass.';
COMMENT ON COLUMN reconciler_adoptions.rows_digest IS 'SHA-256 of these rows, as reconciler_adopted_rows() has it.';
COMMENT ON COLUMN reconciler_adoptions.corrections IS 'The rows that could not be true: [{"table", "id", "tenantName", "column", "was", "is"}].';

-- `template` names what the row is, and in encoding 1 is how it was written; see 40-digests.sql. STABLE, and not IMMUTABLE, because
-- format() is no more than that: so it is inlined.
CREATE OR REPLACE FUNCTION reconciler_encoded(encoding integer, template text, VARIADIC parts text[]) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE encoding WHEN 1 THEN convert_to(format(template, VARIADIC parts), 'UTF8') ELSE convert_to((template || parts)::text, 'UTF8') END;
COMMENT ON FUNCTION reconciler_encoded(integer, text, text[]) IS 'The texts and numbers of a row as bytes, for a digest.';

CREATE OR REPLACE FUNCTION reconciler_adopted_rows()
RETURNS TABLE (lifecycles bigint, skill_events bigint, suspension_events bigint, rows_digest bytea)
LANGUAGE sql STABLE AS $$
SELECT coalesce(sum(batch.rows) FILTER (WHERE batch.place = 0), 0)::bigint, coalesce(sum(batch.rows) FILTER (WHERE batch.place = 2), 0)::bigint,
       coalesce(sum(batch.rows) FILTER (WHERE batch.place = 3), 0)::bigint,
       sha256(coalesce(string_agg(batch.digest, '' ORDER BY batch.place, batch.part), ''))
FROM (
    SELECT few.place, few.number >> 12 AS part, count(*) AS rows, sha256(string_agg(few.bytes, '' ORDER BY few.number)) AS digest
    FROM (
        SELECT 0 AS place, l.id AS number,
               reconciler_encoded(2, 'begin', l.id::text, l.tenant_name, l.zitadel_org_id) || timestamptz_send(l.created_at) AS bytes
        FROM tenant_billing_lifecycle l WHERE l.created_pass_id IS NULL
        UNION ALL
        -- The ends that the portal wrote, also where an operator withdrew them since.
        SELECT 1, ended.id, reconciler_encoded(2, 'end', ended.id::text) || timestamptz_send(ended.at)
        FROM (
            SELECT l.id, l.deleted_at AS at FROM tenant_billing_lifecycle l WHERE l.deleted_at IS NOT NULL AND l.deleted_pass_id IS NULL
            UNION ALL
            SELECT r.lifecycle_id, r.deleted_at FROM reconciler_reopenings r WHERE r.deleted_pass_id IS NULL
        ) ended
        UNION ALL
        SELECT 2, e.id, reconciler_encoded(2, 'skill', e.id::text, e.tenant_name, e.skill_id, e.event_kind) || timestamptz_send(e.occurred_at)
        FROM tenant_skill_events e WHERE e.pass_id IS NULL
        UNION ALL
        SELECT 3, e.id, reconciler_encoded(2, 'suspension', e.id::text, e.tenant_name, e.event_kind) || timestamptz_send(e.occurred_at)
        FROM tenant_suspension_events e WHERE e.pass_id IS NULL
    ) few
    GROUP BY 1, 2
) batch
$$;
COMMENT ON FUNCTION reconciler_adopted_rows() IS 'The rows that no pass wrote: how many there are, and a digest of them.';

DO $$
DECLARE
    adopted_at CONSTANT timestamptz := now();
    corrected jsonb := '[]';
    more jsonb;
    events text;
    rows record;
BEGIN
    SELECT * INTO rows FROM reconciler_adopted_rows();
    -- Rows that came without a pass since, although these are refused, are sealed with the others. Rows that are gone are not.
    IF rows.lifecycles + rows.skill_events + rows.suspension_events <= (
        SELECT coalesce(max(a.lifecycles + a.skill_events + a.suspension_events), 0) FROM reconciler_adoptions a)
    THEN
        RETURN;
    END IF;
    -- Once passes have gone by them, rows are never changed.
    IF NOT EXISTS (SELECT FROM reconciler_passes) AND NOT EXISTS (SELECT FROM reconciler_adoptions) THEN
        WITH wrong AS (
            SELECT l.id, l.tenant_name, l.created_at, l.deleted_at, least(l.created_at, adopted_at) AS created,
                   CASE WHEN l.deleted_at < 'infinity' THEN greatest(least(l.deleted_at, adopted_at), least(l.created_at, adopted_at)) END AS deleted
            FROM tenant_billing_lifecycle l
            WHERE l.created_at > adopted_at OR l.deleted_at > adopted_at OR l.deleted_at < l.created_at
        ), done AS (
            UPDATE tenant_billing_lifecycle l SET created_at = wrong.created, deleted_at = wrong.deleted
            FROM wrong WHERE l.id = wrong.id
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object('table', 'tenant_billing_lifecycle', 'id', wrong.id, 'tenantName', wrong.tenant_name,
                   'column', one.name, 'was', one.was, 'is', one.becomes) ORDER BY wrong.id, one.name), '[]') INTO more
        FROM wrong CROSS JOIN LATERAL (VALUES ('created_at', wrong.created_at, wrong.created), ('deleted_at', wrong.deleted_at, wrong.deleted))
             AS one (name, was, becomes)
        WHERE one.was IS DISTINCT FROM one.becomes;
        corrected := corrected || more;
        FOREACH events IN ARRAY ARRAY['tenant_skill_events', 'tenant_suspension_events'] LOOP
            EXECUTE format($sql$
                WITH wrong AS (
                    SELECT e.id, e.tenant_name, e.event_kind AS kind_was, e.occurred_at AS was, lower(btrim(e.event_kind)) AS kind,
                           CASE WHEN e.occurred_at > $1
                                THEN $1 + interval '1 microsecond' * row_number() OVER (PARTITION BY e.occurred_at > $1 ORDER BY e.occurred_at, e.id)
                                ELSE e.occurred_at END AS at
                    FROM %1$I e
                    WHERE e.occurred_at > $1 OR e.event_kind <> lower(btrim(e.event_kind))
                ), done AS (
                    UPDATE %1$I e SET occurred_at = wrong.at, event_kind = wrong.kind FROM wrong WHERE e.id = wrong.id
                )
                SELECT coalesce(jsonb_agg(jsonb_build_object('table', %1$L, 'id', wrong.id, 'tenantName', wrong.tenant_name,
                           'column', one.name, 'was', one.was, 'is', one.becomes) ORDER BY wrong.id, one.name), '[]')
                FROM wrong CROSS JOIN LATERAL (
                    VALUES ('event_kind', to_jsonb(wrong.kind_was), to_jsonb(wrong.kind)), ('occurred_at', to_jsonb(wrong.was), to_jsonb(wrong.at)))
                     AS one (name, was, becomes)
                WHERE one.was <> one.becomes $sql$, events) INTO more USING adopted_at;
            corrected := corrected || more;
        END LOOP;
        SELECT * INTO rows FROM reconciler_adopted_rows();
    END IF;
    INSERT INTO reconciler_adoptions (lifecycles, skill_events, suspension_events, rows_digest, corrections)
    VALUES (rows.lifecycles, rows.skill_events, rows.suspension_events, rows.rows_digest, corrected);
END $$;
