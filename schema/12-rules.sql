-- The rules of the ledger: keys, constraints, who writes, and what may never change.

-- Keys and constraints, for every writer -----------------------------------------------------------

DO $$
DECLARE
    rule record;
BEGIN
    -- Rules of earlier versions. Until 2 nothing but a creation began a lifecycle; until 3 what the portal had written
    -- broke these, which were NOT VALID for it, and a dump without triggers could not be restored.
    ALTER TABLE tenant_billing_lifecycle
        DROP CONSTRAINT IF EXISTS tenant_billing_lifecycle_begin_is_explained,
        DROP CONSTRAINT IF EXISTS tenant_billing_lifecycle_ends_after_it_begins,
        DROP CONSTRAINT IF EXISTS tenant_billing_lifecycle_end_is_explained;
    ALTER TABLE tenant_skill_events DROP CONSTRAINT IF EXISTS tenant_skill_events_is_explained;
    ALTER TABLE tenant_suspension_events DROP CONSTRAINT IF EXISTS tenant_suspension_events_is_explained;
    -- These did not know yet that a move has a time of its own.
    FOR rule IN
        SELECT c.conrelid::regclass AS tab, c.conname AS name FROM pg_constraint c
        WHERE c.conrelid IN ('tenant_billing_lifecycle'::regclass, 'tenant_skill_events'::regclass, 'tenant_suspension_events'::regclass)
          AND c.conname ~ '_explained$' AND pg_get_constraintdef(c.oid) NOT LIKE '%operator%'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rule.tab, rule.name);
    END LOOP;
    FOR rule IN SELECT * FROM (VALUES
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_pkey', 'PRIMARY KEY (id)'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_begins_before_it_ends',
         'CHECK (created_pass_id IS NULL OR deleted_at >= created_at) NOT VALID'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_ending_is_explained',
         'CHECK ((deleted_at IS NULL OR (deleted_not_before <= deleted_at AND deleted_time_source IN (''deletion'', ''successor'', ''observed'', ''managed-fields'', ''operator'') AND deleted_at <= deleted_observed_at AND deleted_pass_id IS NOT NULL)) IS TRUE OR num_nonnulls(created_pass_id, deleted_not_before, deleted_time_source, deleted_observed_at, deleted_pass_id) = 0) NOT VALID'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_beginning_is_explained',
         'CHECK ((created_not_before <= created_at AND created_time_source IN (''creation'', ''observed'', ''managed-fields'', ''operator'') AND created_at <= created_observed_at AND created_pass_id IS NOT NULL AND tenant_uid IS NOT NULL) IS TRUE OR (created_not_before IS NULL AND created_time_source IS NULL AND created_observed_at IS NULL AND created_pass_id IS NULL))'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_created_pass_fkey', 'FOREIGN KEY (created_pass_id) REFERENCES reconciler_passes (id)'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_deleted_pass_fkey', 'FOREIGN KEY (deleted_pass_id) REFERENCES reconciler_passes (id)'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_recognised_pass_fkey', 'FOREIGN KEY (recognised_pass_id) REFERENCES reconciler_passes (id)'),
        ('tenant_skill_events', 'tenant_skill_events_pkey', 'PRIMARY KEY (id)'),
        ('tenant_skill_events', 'tenant_skill_events_kind', 'CHECK (event_kind IN (''enabled'', ''disabled''))'),
        -- The portal's rows say nothing of all this; a trigger keeps new ones from doing the same. NOT VALID: an upgrade
        -- reads no row again.
        ('tenant_skill_events', 'tenant_skill_events_explained',
         'CHECK ((lifecycle_id IS NOT NULL AND tenant_uid IS NOT NULL AND pass_id IS NOT NULL AND ordinal >= 0 AND not_before <= occurred_at AND occurred_at <= observed_at AND time_source IN (''creation'', ''managed-fields'', ''observed'', ''operator'')) IS TRUE OR num_nonnulls(lifecycle_id, tenant_uid, pass_id, ordinal, not_before, time_source, observed_at) = 0) NOT VALID'),
        ('tenant_skill_events', 'tenant_skill_events_alternates', 'CHECK ((ordinal % 2 = 1) = (event_kind = ''enabled''))'),
        ('tenant_skill_events', 'tenant_skill_events_ordinal_key', 'UNIQUE (lifecycle_id, skill_key, ordinal)'),
        ('tenant_skill_events', 'tenant_skill_events_previous_fkey',
         'FOREIGN KEY (lifecycle_id, skill_key, previous) REFERENCES tenant_skill_events (lifecycle_id, skill_key, ordinal)'),
        ('tenant_skill_events', 'tenant_skill_events_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('tenant_skill_events', 'tenant_skill_events_pass_fkey', 'FOREIGN KEY (pass_id) REFERENCES reconciler_passes (id)'),
        ('tenant_suspension_events', 'tenant_suspension_events_pkey', 'PRIMARY KEY (id)'),
        ('tenant_suspension_events', 'tenant_suspension_events_kind', 'CHECK (event_kind IN (''suspended'', ''resumed''))'),
        ('tenant_suspension_events', 'tenant_suspension_events_explained',
         'CHECK ((lifecycle_id IS NOT NULL AND tenant_uid IS NOT NULL AND pass_id IS NOT NULL AND ordinal >= 0 AND not_before <= occurred_at AND occurred_at <= observed_at AND time_source IN (''status'', ''managed-fields'', ''observed'', ''operator'')) IS TRUE OR num_nonnulls(lifecycle_id, tenant_uid, pass_id, ordinal, not_before, time_source, observed_at) = 0) NOT VALID'),
        ('tenant_suspension_events', 'tenant_suspension_events_alternates', 'CHECK ((ordinal % 2 = 1) = (event_kind = ''suspended''))'),
        ('tenant_suspension_events', 'tenant_suspension_events_ordinal_key', 'UNIQUE (lifecycle_id, ordinal)'),
        ('tenant_suspension_events', 'tenant_suspension_events_previous_fkey',
         'FOREIGN KEY (lifecycle_id, previous) REFERENCES tenant_suspension_events (lifecycle_id, ordinal)'),
        ('tenant_suspension_events', 'tenant_suspension_events_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('tenant_suspension_events', 'tenant_suspension_events_pass_fkey', 'FOREIGN KEY (pass_id) REFERENCES reconciler_passes (id)'),
        -- What no pass could read again. The years are those that Python has.
        ('reconciler_passes', 'reconciler_passes_readable',
         'CHECK (asked_at BETWEEN years AND observed_at BETWEEN years AND coalesce(gap_since, asked_at) BETWEEN years AND jsonb_typeof(quarantined) = ''array'' AND jsonb_typeof(held_back) = ''array'') NOT VALID'),
        ('reconciler_setbacks', 'reconciler_setbacks_readable',
         'CHECK (found_at BETWEEN years AND resource_version ~ ''^[0-9]{1,40}$'' AND ledger_version ~ ''^[0-9]{1,40}$'') NOT VALID'),
        ('reconciler_state', 'reconciler_state_readable',
         'CHECK (changed_at BETWEEN years AND coalesce(read_at, changed_at) BETWEEN years AND coalesce(settled_at, changed_at) BETWEEN years AND coalesce(settled_at, changed_at) <= changed_at AND coalesce(array_ndims(skills), 1) = 1 AND array_position(skills, NULL) IS NULL) NOT VALID'),
        ('tenant_billing_lifecycle', 'tenant_billing_lifecycle_readable',
         'CHECK ((created_pass_id IS NULL OR created_at BETWEEN years AND created_not_before BETWEEN years AND created_observed_at BETWEEN years) AND (deleted_pass_id IS NULL OR deleted_at BETWEEN years AND deleted_not_before BETWEEN years AND deleted_observed_at BETWEEN years)) NOT VALID'),
        ('tenant_skill_events', 'tenant_skill_events_readable', 'CHECK (pass_id IS NULL OR not_before BETWEEN years AND observed_at BETWEEN years) NOT VALID'),
        ('tenant_suspension_events', 'tenant_suspension_events_readable', 'CHECK (pass_id IS NULL OR not_before BETWEEN years AND observed_at BETWEEN years) NOT VALID'),
        ('reconciler_overrides', 'reconciler_overrides_readable', 'CHECK (effective_at IS NULL OR effective_at BETWEEN years) NOT VALID'),
        -- A move goes from a life to a later one.
        ('reconciler_moves', 'reconciler_moves_later', 'CHECK (lifecycle_id > previous_lifecycle_id) NOT VALID'),
        ('reconciler_rebindings', 'reconciler_rebindings_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('reconciler_reopenings', 'reconciler_reopenings_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('reconciler_moves', 'reconciler_moves_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('reconciler_moves', 'reconciler_moves_previous_fkey', 'FOREIGN KEY (previous_lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('reconciler_overrides', 'reconciler_overrides_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)'),
        ('reconciler_state', 'reconciler_state_lifecycle_fkey', 'FOREIGN KEY (lifecycle_id) REFERENCES tenant_billing_lifecycle (id)')
    ) AS r (tab, name, definition) LOOP
        IF rule.definition LIKE 'PRIMARY KEY%' THEN
            -- A key of the portal's own numbers the rows as well.
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'id'
                WHERE i.indrelid = rule.tab::regclass AND i.indisunique AND i.indimmediate AND i.indisvalid
                  AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum);
            IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = rule.tab::regclass AND contype = 'p') THEN
                rule.name := rule.tab || '_id_key';
                rule.definition := 'UNIQUE (id)';
            END IF;
        END IF;
        CONTINUE WHEN EXISTS (SELECT FROM pg_constraint WHERE conrelid = rule.tab::regclass AND conname = rule.name);
        rule.definition := replace(rule.definition, 'BETWEEN years', 'BETWEEN ''0001-01-02Z'' AND ''9999-12-30Z''');
        BEGIN
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s', rule.tab, rule.name, rule.definition);
        EXCEPTION
            -- What a record names was lost (a table was dropped): reconciler verify tells of each.
            WHEN foreign_key_violation THEN
                EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s NOT VALID', rule.tab, rule.name, rule.definition);
        END;
    END LOOP;
END $$;

CREATE INDEX IF NOT EXISTS reconciler_passes_of_clusters ON reconciler_passes (id) WHERE cluster_uid IS NOT NULL;
CREATE INDEX IF NOT EXISTS reconciler_passes_complete ON reconciler_passes (id) WHERE complete;
CREATE INDEX IF NOT EXISTS reconciler_passes_watched ON reconciler_passes (id) WHERE NOT complete;
CREATE INDEX IF NOT EXISTS reconciler_passes_holding ON reconciler_passes (observed_at) WHERE NOT complete AND held_back <> '[]';
CREATE INDEX IF NOT EXISTS reconciler_passes_waiting ON reconciler_passes (id) WHERE held_back <> '[]' OR quarantined <> '[]';
CREATE INDEX IF NOT EXISTS reconciler_passes_adopted ON reconciler_passes (id) WHERE adopted_cluster;
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_vanished ON tenant_billing_lifecycle (deleted_observed_at)
    WHERE deleted_time_source IN ('observed', 'successor');
CREATE UNIQUE INDEX IF NOT EXISTS tenant_billing_lifecycle_live_name ON tenant_billing_lifecycle (tenant_name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS tenant_billing_lifecycle_live_uid ON tenant_billing_lifecycle (tenant_uid) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_uid ON tenant_billing_lifecycle (tenant_uid);
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_name ON tenant_billing_lifecycle (tenant_name);
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_of_portal ON tenant_billing_lifecycle (id) WHERE created_pass_id IS NULL AND deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS tenant_billing_lifecycle_org ON tenant_billing_lifecycle (zitadel_org_id);

-- Numbers go on above all that are taken: after a restore without its sequences, or where the portal gave them itself.
DO $$
DECLARE
    tab text;
    taken bigint;
    number text;
    next bigint;
BEGIN
    FOREACH tab IN ARRAY ARRAY['reconciler_passes', 'tenant_billing_lifecycle', 'tenant_skill_events', 'tenant_suspension_events'] LOOP
        number := pg_get_serial_sequence(tab, 'id');
        EXECUTE format('SELECT max(id) FROM %I', tab) INTO taken;
        EXECUTE format('SELECT last_value + is_called::int FROM %s', number) INTO next;
        IF taken >= next THEN
            PERFORM setval(number, taken);
        END IF;
    END LOOP;
END $$;

-- Who writes ----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION reconciler_refuse_without_pass() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: a row without a pass: only the reconciler writes here', TG_TABLE_NAME USING
        ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME,
        DETAIL = 'What the portal wrote until it was adopted is kept. What happens since is read from the cluster.',
        HINT = format('Switch off the portal''s hook that writes to %s. Nothing is lost by that: the next pass sees the change.', TG_TABLE_NAME);
END $$;
COMMENT ON FUNCTION reconciler_refuse_without_pass() IS 'Trigger: refuses what names no pass, and tells the portal''s developer which hook to switch off.';

CREATE OR REPLACE TRIGGER tenant_billing_lifecycle_by_a_pass BEFORE INSERT ON tenant_billing_lifecycle
    FOR EACH ROW WHEN (NEW.created_pass_id IS NULL) EXECUTE FUNCTION reconciler_refuse_without_pass();
CREATE OR REPLACE TRIGGER tenant_billing_lifecycle_ended_by_a_pass BEFORE UPDATE ON tenant_billing_lifecycle
    FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL AND NEW.deleted_pass_id IS NULL)
    EXECUTE FUNCTION reconciler_refuse_without_pass();
-- After the row: COPY takes many rows at a time only where no trigger comes before them.
CREATE OR REPLACE TRIGGER tenant_skill_events_by_a_pass AFTER INSERT ON tenant_skill_events
    FOR EACH ROW WHEN (NEW.pass_id IS NULL) EXECUTE FUNCTION reconciler_refuse_without_pass();
CREATE OR REPLACE TRIGGER tenant_suspension_events_by_a_pass AFTER INSERT ON tenant_suspension_events
    FOR EACH ROW WHEN (NEW.pass_id IS NULL) EXECUTE FUNCTION reconciler_refuse_without_pass();

-- For tables of events that the portal made with the organisation on each row; see reconciler.core.adoption.
CREATE OR REPLACE FUNCTION reconciler_fill_org() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    org text;
BEGIN
    EXECUTE format('SELECT zitadel_org_id FROM %I.tenant_billing_lifecycle WHERE id = $1', TG_TABLE_SCHEMA)
    INTO org USING NEW.lifecycle_id;
    RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], org));
END $$;
COMMENT ON FUNCTION reconciler_fill_org() IS 'Trigger: gives a row of events the organisation of its lifecycle, in the column that is its argument.';

-- The database says when, and as whom; a position in time never moves. -------------------------------

-- After a failover or a restore a sequence may lag behind: what is written next would count as earlier than what is there.
CREATE OR REPLACE FUNCTION reconciler_check_number(number bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    last CONSTANT bigint := greatest(
        (SELECT p.id FROM reconciler_passes p ORDER BY p.id DESC LIMIT 1),
        (SELECT h.id FROM reconciler_price_history h ORDER BY h.id DESC LIMIT 1),
        (SELECT v.id FROM reconciler_voids v ORDER BY v.id DESC LIMIT 1));
BEGIN
    IF number <= last THEN
        RAISE EXCEPTION 'pass or price number % would come before number %, which is written already: the sequence lags behind', number, last
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = '`reconciler schema apply`, run by the owner of the tables, corrects it';
    END IF;
END $$;
COMMENT ON FUNCTION reconciler_check_number(bigint) IS 'Refuses a pass or a price whose number comes before one that is there.';

CREATE OR REPLACE FUNCTION reconciler_date_pass() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A clock that was set back does not move a pass before one that was committed earlier.
    NEW.written_at := greatest(
        clock_timestamp(),
        (SELECT p.written_at FROM reconciler_passes p ORDER BY p.id DESC LIMIT 1),
        (SELECT v.decided_at FROM reconciler_voids v ORDER BY v.id DESC LIMIT 1));
    PERFORM reconciler_check_number(NEW.id);
    -- What was seen since the last list may have gone with the passes that were voided.
    IF NEW.gapless AND EXISTS (
        SELECT FROM reconciler_voids v
        WHERE v.id > (SELECT p.id FROM reconciler_passes p WHERE p.complete ORDER BY p.id DESC LIMIT 1)) THEN
        NEW.gapless := NULL;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION reconciler_date_pass() IS 'Trigger: dates a pass by the database''s clock, and never before an earlier one. After a void nothing is gapless until the next list.';
-- Whoever writes a pass is the only one, from before it has its number: nothing that is written later can come before it.
CREATE OR REPLACE FUNCTION reconciler_lock_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE reconciler_writer IN SHARE ROW EXCLUSIVE MODE;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION reconciler_lock_ledger() IS 'Trigger: takes the lock of the one writer.';
CREATE OR REPLACE TRIGGER reconciler_passes_locked
    BEFORE INSERT ON reconciler_passes EXECUTE FUNCTION reconciler_lock_ledger();

CREATE OR REPLACE FUNCTION reconciler_check_lifecycle_ids() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    taken CONSTANT bigint := (SELECT max(l.id) FROM tenant_billing_lifecycle l);
BEGIN
    IF taken > coalesce(pg_sequence_last_value(pg_get_serial_sequence('tenant_billing_lifecycle', 'id')::regclass), taken) THEN
        RAISE EXCEPTION 'tenant_billing_lifecycle: id % is not from its sequence', taken USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION reconciler_check_lifecycle_ids() IS 'Trigger: refuses an id that the sequence has not given, and with which it would be used up.';
CREATE OR REPLACE TRIGGER tenant_billing_lifecycle_numbered
    AFTER INSERT ON tenant_billing_lifecycle EXECUTE FUNCTION reconciler_check_lifecycle_ids();

CREATE OR REPLACE TRIGGER reconciler_passes_dated
    BEFORE INSERT ON reconciler_passes FOR EACH ROW EXECUTE FUNCTION reconciler_date_pass();

CREATE OR REPLACE FUNCTION reconciler_sign_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.decided_at := greatest(clock_timestamp(), (SELECT p.written_at FROM reconciler_passes p ORDER BY p.id DESC LIMIT 1));
    NEW.database_user := session_user;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION reconciler_sign_decision() IS 'Trigger: records when a decision was made and by which role, whatever the statement says.';
CREATE OR REPLACE TRIGGER reconciler_decisions_signed
    BEFORE INSERT ON reconciler_decisions FOR EACH ROW EXECUTE FUNCTION reconciler_sign_decision();
CREATE OR REPLACE TRIGGER reconciler_overrides_signed
    BEFORE INSERT ON reconciler_overrides FOR EACH ROW EXECUTE FUNCTION reconciler_sign_decision();

-- Append-only tables ---------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION reconciler_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is not possible', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'A correction is a new row, written by a pass.';
END $$;
COMMENT ON FUNCTION reconciler_append_only() IS 'Refuses UPDATE, DELETE and TRUNCATE.';

CREATE OR REPLACE TRIGGER tenant_skill_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON tenant_skill_events EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER tenant_suspension_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON tenant_suspension_events EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_rebindings_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_rebindings EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_reopenings_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_reopenings EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_moves_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_moves EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_overrides_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_overrides EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_setbacks_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_setbacks EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_adoptions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_adoptions EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_decisions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_decisions EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_passes_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_passes EXECUTE FUNCTION reconciler_append_only();

CREATE OR REPLACE FUNCTION reconciler_lifecycle_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'rows of tenant_billing_lifecycle cannot be removed: % is not possible', TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.id, OLD.tenant_name, OLD.zitadel_org_id, OLD.created_at, OLD.created_not_before, OLD.created_time_source, OLD.created_observed_at, OLD.created_pass_id)
       IS DISTINCT FROM
       (NEW.id, NEW.tenant_name, NEW.zitadel_org_id, NEW.created_at, NEW.created_not_before, NEW.created_time_source, NEW.created_observed_at, NEW.created_pass_id)
    THEN
        RAISE EXCEPTION 'the beginning of lifecycle % of % cannot be changed', OLD.id, OLD.tenant_name USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.tenant_uid IS NOT NULL AND OLD.tenant_uid IS DISTINCT FROM NEW.tenant_uid AND NOT EXISTS (
        SELECT FROM reconciler_rebindings r
        WHERE r.lifecycle_id = OLD.id AND r.old_uid = OLD.tenant_uid AND r.new_uid = NEW.tenant_uid)
    THEN
        RAISE EXCEPTION 'the uid of lifecycle % of % cannot be changed without a rebinding on record', OLD.id, OLD.tenant_name
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.deleted_at IS NOT NULL AND OLD IS DISTINCT FROM NEW AND NOT (NEW.deleted_at IS NULL AND EXISTS (
        SELECT FROM reconciler_reopenings r
        WHERE r.lifecycle_id = OLD.id AND r.deleted_at = OLD.deleted_at
          AND r.deleted_pass_id IS NOT DISTINCT FROM OLD.deleted_pass_id))
    THEN
        RAISE EXCEPTION 'lifecycle % of % has ended and cannot be changed without a reopening on record', OLD.id, OLD.tenant_name
            USING ERRCODE = 'restrict_violation';
    END IF;
    NEW.recognised_pass_id := OLD.recognised_pass_id;
    IF OLD.tenant_uid IS NULL AND NEW.tenant_uid IS NOT NULL THEN
        -- The current pass is the last one, because passes are written one at a time.
        NEW.recognised_pass_id := (SELECT max(p.id) FROM reconciler_passes p);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION reconciler_lifecycle_changes() IS 'Allows a lifecycle to end once, and to get its uid once, which records the pass. Anything else needs an operator''s decision on record.';

CREATE OR REPLACE TRIGGER tenant_billing_lifecycle_changes
    BEFORE UPDATE OR DELETE ON tenant_billing_lifecycle FOR EACH ROW EXECUTE FUNCTION reconciler_lifecycle_changes();
CREATE OR REPLACE TRIGGER tenant_billing_lifecycle_stays
    BEFORE TRUNCATE ON tenant_billing_lifecycle EXECUTE FUNCTION reconciler_lifecycle_changes();

-- Version 1 stored the instant of the snapshot here.
UPDATE reconciler_state s SET changed_at = d.changed_at FROM reconciler_derived_state() d
WHERE s.lifecycle_id = d.lifecycle_id AND s.changed_at > d.changed_at
  AND NOT EXISTS (SELECT FROM reconciler_schema WHERE version >= 2);

-- Live lifecycles that have no state yet, because the portal wrote them.
INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at)
SELECT d.lifecycle_id, d.skills, d.suspended, d.changed_at FROM reconciler_derived_state() d
WHERE NOT EXISTS (SELECT FROM reconciler_state s WHERE s.lifecycle_id = d.lifecycle_id);
