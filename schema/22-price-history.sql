-- Prices have a history: what each cost from which day on, written by the database itself, whoever changes a price and in
-- whatever statement. `platform_pricing` and `skill_pricing` hold what is valid today, for whoever reads them directly.
--
-- | a price that is set                             | is valid                                                           |
-- |-------------------------------------------------|--------------------------------------------------------------------|
-- | by a statement on one of the two tables         | from the day of the commit on, the whole of it, in Europe/Zurich   |
-- | the same, where no value was set before it      | for all days before it too, back to the last one that was billed;  |
-- |                                                 | not so VAT, which is never without a value                         |
-- | with billing_set_price(…, valid_from)           | from that day on, past or future                                   |
-- | several for one day                             | the last one that was recorded                                     |
-- | for an earlier day than one on record           | until the day of that one                                          |
--
-- A day costs what is valid on it. The fees of the platform are 0, and VAT is 8.10 %, until somebody sets them.
--
-- Each change takes its number from the sequence that numbers the passes, and is committed under the lock that passes
-- are: so the numbers of both are in the order of their commits, and one number is a position in the whole ledger.

CREATE TABLE IF NOT EXISTS reconciler_price_history (
    id            bigint PRIMARY KEY,
    column_name   text NOT NULL,
    skill_id      text,
    value         numeric,
    previous      numeric,
    valid_from    date,
    is_planned    boolean NOT NULL,
    recorded_at   timestamptz NOT NULL,
    recorded_by   text,
    database_user text NOT NULL,
    CONSTRAINT reconciler_price_history_column_known CHECK (column_name IN (
        'tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'threema_message_chf', 'vat_rate_chli', 'daily_price_chf')),
    CONSTRAINT reconciler_price_history_skill_named CHECK (
        CASE WHEN column_name = 'daily_price_chf' THEN coalesce(skill_id, '') <> '' ELSE skill_id IS NULL END),
    CONSTRAINT reconciler_price_history_value_is_exact CHECK (
        value >= 0 AND value < CASE WHEN column_name IN ('daily_price_chf', 'threema_message_chf') THEN 1e5 ELSE 1e8 END
        AND scale(trim_scale(value)) <= CASE WHEN column_name IN ('daily_price_chf', 'threema_message_chf') THEN 5 ELSE 2 END
        AND (column_name <> 'vat_rate_chli' OR value <= 100)),
    CONSTRAINT reconciler_price_history_day_is_one CHECK (valid_from BETWEEN '1970-01-01' AND '9000-12-31')
);
-- After a restore without its sequences, the shared one goes on above these numbers and those of voids, too.
DO $$
DECLARE
    number CONSTANT text := pg_get_serial_sequence('reconciler_passes', 'id');
    taken CONSTANT bigint := greatest(
        (SELECT max(h.id) FROM reconciler_price_history h), (SELECT max(v.id) FROM reconciler_voids v));
    next bigint;
BEGIN
    EXECUTE format('SELECT last_value + is_called::int FROM %s', number) INTO next;
    IF taken >= next THEN
        PERFORM setval(number, taken);
    END IF;
END $$;
COMMENT ON TABLE reconciler_price_history IS 'What each price was set to, from which day on, when, and by whom. Append-only; written by triggers and by billing_set_price().';
COMMENT ON COLUMN reconciler_price_history.id IS 'Its position: a number of the sequence that numbers the passes.';
COMMENT ON COLUMN reconciler_price_history.column_name IS 'The price: a column of platform_pricing, or daily_price_chf of skill_pricing.';
COMMENT ON COLUMN reconciler_price_history.skill_id IS 'The skill, of daily_price_chf; else null.';
COMMENT ON COLUMN reconciler_price_history.value IS 'CHF without VAT, or percent; null: no price from that day on.';
COMMENT ON COLUMN reconciler_price_history.previous IS 'What was on record for that day before; null: no price.';
COMMENT ON COLUMN reconciler_price_history.valid_from IS 'The first day that it is for, in the billing zone; null: for all days before too.';
COMMENT ON COLUMN reconciler_price_history.is_planned IS 'It was recorded before its first day.';
COMMENT ON COLUMN reconciler_price_history.recorded_at IS 'When it was committed, on the database''s clock.';
COMMENT ON COLUMN reconciler_price_history.recorded_by IS 'Who, where that was said: the setting reconciler.by of the transaction, or the row''s updated_by.';
COMMENT ON COLUMN reconciler_price_history.database_user IS 'The role that they connected as.';

CREATE INDEX IF NOT EXISTS reconciler_price_history_planned ON reconciler_price_history (valid_from) WHERE is_planned;
CREATE OR REPLACE TRIGGER reconciler_price_history_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_price_history EXECUTE FUNCTION reconciler_append_only();

CREATE OR REPLACE FUNCTION reconciler_unset_price(column_name text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE column_name WHEN 'daily_price_chf' THEN NULL WHEN 'vat_rate_chli' THEN 8.10
                           WHEN 'threema_message_chf' THEN 0.00000 ELSE 0.00 END
$$;
COMMENT ON FUNCTION reconciler_unset_price(text) IS 'What a price is until somebody sets it; null for a skill: it has none.';

CREATE OR REPLACE FUNCTION reconciler_prices(as_of_pass bigint, prices_of date DEFAULT NULL)
RETURNS TABLE (column_name text, skill_id text, value numeric, valid_from date, valid_to date)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH recorded AS (
    SELECT DISTINCT ON (h.column_name, h.skill_id, h.valid_from)
           h.column_name, h.skill_id, coalesce(h.valid_from, '-infinity') AS valid_from,
           coalesce(h.value, reconciler_unset_price(h.column_name)) AS value
    FROM reconciler_price_history h
    WHERE h.id <= as_of_pass
    ORDER BY h.column_name, h.skill_id, h.valid_from, h.id DESC
), whole AS (
    SELECT * FROM recorded
    UNION ALL
    -- Before the first value that was set.
    SELECT unset.column_name, unset.skill_id, '-infinity', reconciler_unset_price(unset.column_name)
    FROM (
        SELECT DISTINCT r.column_name, r.skill_id FROM recorded r
        UNION
        SELECT name, NULL FROM unnest(ARRAY['tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'threema_message_chf', 'vat_rate_chli']) AS name
    ) unset
    WHERE NOT EXISTS (
        SELECT FROM recorded r
        WHERE r.column_name = unset.column_name AND r.skill_id IS NOT DISTINCT FROM unset.skill_id AND r.valid_from = '-infinity')
), changed AS (
    SELECT w.*, lag(w.value) OVER earlier IS DISTINCT FROM w.value OR w.valid_from = '-infinity' AS differs
    FROM whole w WINDOW earlier AS (PARTITION BY w.column_name, w.skill_id ORDER BY w.valid_from)
), valid AS (
    SELECT c.column_name, c.skill_id, c.value, c.valid_from,
           lead(c.valid_from, 1, 'infinity') OVER (PARTITION BY c.column_name, c.skill_id ORDER BY c.valid_from) AS valid_to
    FROM changed c WHERE c.differs
)
SELECT v.column_name, v.skill_id, v.value,
       CASE WHEN prices_of IS NULL THEN v.valid_from ELSE '-infinity' END,
       CASE WHEN prices_of IS NULL THEN v.valid_to ELSE 'infinity' END
FROM valid v
WHERE prices_of IS NULL OR v.valid_from <= prices_of AND v.valid_to > prices_of
$$;
COMMENT ON FUNCTION reconciler_prices(bigint, date) IS 'What each price was on which days [valid_from, valid_to), as on record at a position; null: no price. With prices_of that day''s prices, for all days.';

CREATE OR REPLACE FUNCTION reconciler_record_price(
    column_name text, skill_id text, value numeric, valid_from date, recorded_by text)
RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    unset CONSTANT numeric := reconciler_unset_price(column_name);
    today date;
    since date;
    before reconciler_price_history;
    written bigint;
BEGIN
    LOCK TABLE reconciler_writer IN SHARE ROW EXCLUSIVE MODE;
    today := (clock_timestamp() AT TIME ZONE 'Europe/Zurich')::date;
    SELECT h.* INTO before FROM reconciler_price_history h
    WHERE h.column_name = reconciler_record_price.column_name
      AND h.skill_id IS NOT DISTINCT FROM reconciler_record_price.skill_id
      AND (h.valid_from IS NULL OR h.valid_from <= coalesce(reconciler_record_price.valid_from, today))
    ORDER BY h.valid_from DESC NULLS LAST, h.id DESC LIMIT 1;
    IF coalesce(before.value, unset) IS NOT DISTINCT FROM coalesce(value, unset) THEN
        -- What is so already was decided before.
        RETURN NULL;
    END IF;
    since := CASE
        WHEN valid_from IS NOT NULL THEN nullif(valid_from, '-infinity')
        WHEN before.id IS NOT NULL OR column_name = 'vat_rate_chli' THEN today
        -- What was billed without a price is not charged for it now.
        ELSE (SELECT CASE WHEN billed > today THEN today ELSE billed END FROM reconciler_billed_until() AS billed) END;
    written := nextval(pg_get_serial_sequence('reconciler_passes', 'id'));
    PERFORM reconciler_check_number(written);
    INSERT INTO reconciler_price_history
    VALUES (written, column_name, skill_id, value,
            coalesce(before.value, unset), since, coalesce(since > today, false), clock_timestamp(), nullif(recorded_by, ''), session_user);
    RETURN written;
END
$$;
COMMENT ON FUNCTION reconciler_record_price(text, text, numeric, date, text) IS 'Records a price, unless it is so already: from valid_from (-infinity: for all days) or, where that is null, as the table in 22-price-history.sql has it. Returns its number; null where it is so already.';

-- At the end of the transaction, with what it leaves: what it changed there and back is no change, and whoever is slow to
-- commit keeps no pass waiting.
CREATE OR REPLACE FUNCTION reconciler_price_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    old_row CONSTANT jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{}' END;
    new_row CONSTANT jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{}' END;
    recorded_by CONSTANT text := coalesce(nullif(current_setting('reconciler.by', true), ''), new_row ->> 'updated_by');
    fees jsonb;
    name text;
BEGIN
    IF TG_TABLE_NAME = 'skill_pricing' THEN
        FOR name IN
            SELECT old_row ->> 'skill_id' UNION SELECT new_row ->> 'skill_id'
        LOOP
            CONTINUE WHEN name IS NULL OR (old_row -> 'skill_id', old_row -> 'daily_price_chf')
                IS NOT DISTINCT FROM (new_row -> 'skill_id', new_row -> 'daily_price_chf');
            PERFORM reconciler_record_price('daily_price_chf', name,
                (SELECT s.daily_price_chf FROM skill_pricing s WHERE s.skill_id = name), NULL, recorded_by);
        END LOOP;
        RETURN NULL;
    END IF;
    -- Of several rows, in an adopted database, the first is the platform's.
    fees := (SELECT to_jsonb(p) FROM platform_pricing p ORDER BY p.id LIMIT 1);
    FOREACH name IN ARRAY ARRAY['tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'threema_message_chf', 'vat_rate_chli'] LOOP
        IF old_row -> name IS DISTINCT FROM new_row -> name THEN
            PERFORM reconciler_record_price(name, NULL, (fees ->> name)::numeric, NULL, recorded_by);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION reconciler_price_changed() IS 'Trigger: records what a transaction changed of a price.';

CREATE OR REPLACE FUNCTION reconciler_prices_emptied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    recorded_by CONSTANT text := current_setting('reconciler.by', true);
BEGIN
    IF TG_TABLE_NAME = 'skill_pricing' THEN
        PERFORM reconciler_record_price('daily_price_chf', s.skill_id, NULL, NULL, recorded_by) FROM skill_pricing s;
    ELSE
        PERFORM reconciler_record_price(name, NULL, NULL, NULL, recorded_by)
        FROM unnest(ARRAY['tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'threema_message_chf', 'vat_rate_chli']) AS name;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION reconciler_prices_emptied() IS 'Trigger: records what a TRUNCATE takes away.';

-- What falls due, and what is set from another day on: the two tables are brought to what is valid today.
CREATE OR REPLACE FUNCTION reconciler_show_price(shown_column text, shown_skill text, shown numeric) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF shown_skill IS NULL THEN
        EXECUTE format(
            'UPDATE platform_pricing SET %1$I = $1 WHERE %1$I <> $1 AND id = (SELECT id FROM platform_pricing ORDER BY id LIMIT 1)',
            shown_column) USING shown;
    ELSIF shown IS NULL THEN
        DELETE FROM skill_pricing s WHERE s.skill_id = shown_skill;
    ELSE
        UPDATE skill_pricing s SET daily_price_chf = shown WHERE s.skill_id = shown_skill AND s.daily_price_chf IS DISTINCT FROM shown;
        INSERT INTO skill_pricing (skill_id, daily_price_chf) SELECT shown_skill, shown
        WHERE NOT EXISTS (SELECT FROM skill_pricing s WHERE s.skill_id = shown_skill);
    END IF;
END
$$;
COMMENT ON FUNCTION reconciler_show_price(text, text, numeric) IS 'Brings platform_pricing or skill_pricing to what a price is.';

-- A price that cannot be shown now waits for the next pass, and no pass waits for it: neither for somebody who has it in hand
-- nor for a rule of the portal that refuses it. What a day costs is told by the history, whatever these two tables show.
CREATE OR REPLACE FUNCTION reconciler_prices_fall_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '50ms' AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    today CONSTANT date := (clock_timestamp() AT TIME ZONE 'Europe/Zurich')::date;
    due record;
BEGIN
    IF NOT EXISTS (SELECT FROM reconciler_price_history h WHERE h.is_planned AND h.valid_from <= today) THEN
        RETURN NULL;
    END IF;
    FOR due IN
        SELECT p.column_name, p.skill_id, p.value, p.valid_from
        FROM reconciler_prices(9223372036854775807) p
        LEFT JOIN skill_pricing s ON s.skill_id = p.skill_id
        CROSS JOIN (SELECT to_jsonb(f) AS fees FROM platform_pricing f ORDER BY f.id LIMIT 1) platform
        WHERE p.valid_from <= today AND p.valid_to > today AND EXISTS (
            SELECT FROM reconciler_price_history h
            WHERE h.is_planned AND h.column_name = p.column_name AND h.skill_id IS NOT DISTINCT FROM p.skill_id
              AND h.valid_from = p.valid_from)
          AND CASE WHEN p.skill_id IS NULL THEN (platform.fees ->> p.column_name)::numeric ELSE s.daily_price_chf END IS DISTINCT FROM p.value
    LOOP
        BEGIN
            PERFORM reconciler_show_price(due.column_name, due.skill_id, due.value);
        EXCEPTION
            WHEN lock_not_available THEN
                NULL;
            WHEN OTHERS THEN
                RAISE WARNING 'the table of prices does not take the price of %, % since %: %. Bills use the right price; correct what refuses it',
                    left(coalesce(due.skill_id, due.column_name), 100), coalesce(due.value::text, 'none'), due.valid_from, SQLERRM;
        END;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION reconciler_prices_fall_due() IS 'Trigger: with each pass, prices that were planned take their place in the tables once their day has come.';

CREATE OR REPLACE FUNCTION billing_set_price(
    column_name text, value numeric, valid_from date DEFAULT NULL, skill_id text DEFAULT NULL, recorded_by text DEFAULT NULL)
RETURNS TABLE (number bigint, previous numeric, since date, recorded_at timestamptz, database_user text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    of_skill CONSTANT boolean := column_name IS NOT DISTINCT FROM 'daily_price_chf';
    decimals CONSTANT integer := CASE WHEN column_name IN ('daily_price_chf', 'threema_message_chf') THEN 5 ELSE 2 END;
    written bigint;
    shown numeric;
    is_shown boolean;
BEGIN
    IF column_name IS NULL OR column_name NOT IN (
        'tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'threema_message_chf', 'vat_rate_chli', 'daily_price_chf')
    THEN
        RAISE EXCEPTION 'there is no price %', coalesce(quote_literal(column_name), 'NULL') USING
            ERRCODE = 'invalid_parameter_value',
            HINT = 'Expected tenant_monthly_fee_chf, tenant_setup_fee_chf, threema_message_chf, vat_rate_chli, or daily_price_chf with a skill.';
    ELSIF of_skill <> (coalesce(skill_id, '') <> '') THEN
        RAISE EXCEPTION '%: expected a skill for daily_price_chf, and for nothing else', column_name
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF value IS NULL AND NOT of_skill THEN
        RAISE EXCEPTION '%: expected a value; only the price of a skill can be taken away', column_name
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF value = 'NaN' OR value < 0 OR column_name = 'vat_rate_chli' AND value > 100
        OR value >= (CASE decimals WHEN 5 THEN 1e5 ELSE 1e8 END) OR scale(trim_scale(value)) > decimals
    THEN
        RAISE EXCEPTION '% cannot be %: expected % with at most % decimals, which are not rounded for you', column_name, value,
            CASE WHEN column_name = 'vat_rate_chli' THEN 'percent, from 0 to 100,'
                 WHEN decimals = 5 THEN 'from 0 to below 100000,' ELSE 'from 0 to below 100000000,' END, decimals
            USING ERRCODE = 'check_violation';
    ELSIF valid_from NOT BETWEEN '1970-01-01' AND '9000-12-31' THEN
        RAISE EXCEPTION '% cannot begin on %: expected a day from 1970 to 9000', column_name, valid_from
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Rows before the lock, as a statement on the tables has it: who holds one waits for the other at its commit.
    IF of_skill THEN
        PERFORM FROM skill_pricing s WHERE s.skill_id = billing_set_price.skill_id FOR UPDATE;
    ELSE
        PERFORM FROM platform_pricing p ORDER BY p.id LIMIT 1 FOR UPDATE;
    END IF;
    written := reconciler_record_price(
        column_name, skill_id, round(value, decimals), valid_from, coalesce(recorded_by, current_setting('reconciler.by', true)));
    IF written IS NOT NULL THEN
        SELECT p.value, true INTO shown, is_shown FROM reconciler_prices(9223372036854775807, (clock_timestamp() AT TIME ZONE 'Europe/Zurich')::date) p
        WHERE p.column_name = billing_set_price.column_name AND p.skill_id IS NOT DISTINCT FROM billing_set_price.skill_id;
        -- What the tables would not take on its day is refused today.
        BEGIN
            PERFORM reconciler_show_price(column_name, skill_id, round(value, decimals));
            RAISE EXCEPTION 'tried' USING ERRCODE = 'RC001';
        EXCEPTION
            WHEN SQLSTATE 'RC001' THEN
                NULL;
        END;
        IF is_shown THEN
            PERFORM reconciler_show_price(column_name, skill_id, shown);
        END IF;
        RETURN QUERY SELECT h.id, h.previous, h.valid_from, h.recorded_at, h.database_user
        FROM reconciler_price_history h WHERE h.id = written;
    END IF;
END
$$;
COMMENT ON FUNCTION billing_set_price(text, numeric, date, text, text) IS 'Sets a price from a day on, past or future; without one as a statement on the tables does. Returns what was recorded; nothing where it is so already.';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'platform_pricing'::regclass AND tgname = 'platform_pricing_history') THEN
        CREATE CONSTRAINT TRIGGER platform_pricing_history AFTER INSERT OR UPDATE OR DELETE ON platform_pricing
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reconciler_price_changed();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'skill_pricing'::regclass AND tgname = 'skill_pricing_history') THEN
        CREATE CONSTRAINT TRIGGER skill_pricing_history AFTER INSERT OR UPDATE OR DELETE ON skill_pricing
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reconciler_price_changed();
    END IF;
    ALTER TABLE platform_pricing ENABLE TRIGGER platform_pricing_history;
    ALTER TABLE skill_pricing ENABLE TRIGGER skill_pricing_history;
END
$$;
CREATE OR REPLACE TRIGGER platform_pricing_emptied BEFORE TRUNCATE ON platform_pricing
    FOR EACH STATEMENT EXECUTE FUNCTION reconciler_prices_emptied();
CREATE OR REPLACE TRIGGER skill_pricing_emptied BEFORE TRUNCATE ON skill_pricing
    FOR EACH STATEMENT EXECUTE FUNCTION reconciler_prices_emptied();
CREATE OR REPLACE TRIGGER reconciler_passes_prices AFTER INSERT ON reconciler_passes
    FOR EACH ROW EXECUTE FUNCTION reconciler_prices_fall_due();

-- Prices that were there before their history: what they were before, nobody knows.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT price.key AS column_name, NULL AS skill_id, price.value, first.fees ->> 'updated_by' AS updated_by
        FROM (SELECT to_jsonb(p) AS fees FROM platform_pricing p ORDER BY p.id LIMIT 1) first
        CROSS JOIN LATERAL jsonb_each_text(first.fees) price
        WHERE price.key IN ('tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'threema_message_chf', 'vat_rate_chli')
        UNION ALL
        SELECT 'daily_price_chf', s.skill_id, s.daily_price_chf::text, NULL FROM skill_pricing s
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM reconciler_price_history h
            WHERE h.column_name = found.column_name AND h.skill_id IS NOT DISTINCT FROM found.skill_id);
        BEGIN
            PERFORM reconciler_record_price(found.column_name, found.skill_id, found.value::numeric, '-infinity', found.updated_by);
        EXCEPTION
            WHEN check_violation THEN
                RAISE WARNING '% of % is %, which is no price: nothing is charged until it is set', found.column_name,
                    coalesce(found.skill_id, 'the platform'), found.value;
        END;
    END LOOP;
END
$$;
