-- The days at the prices of their days: lines, totals, and the same day by day.
--
-- | amount      | rule                                                                                               |
-- |-------------|----------------------------------------------------------------------------------------------------|
-- | skill       | days × the price of each day                                                                       |
-- | monthly fee | the fee of each day × days / days of the calendar month                                            |
-- | set-up fee  | the fee of the day of the creation                                                                 |
-- | line        | one for each run of days with one price and one rate of VAT; rounded half-up to 0.01, once         |
-- | VAT         | at the rate of the day, on the sum of an organisation's lines of a month at that rate; rounded alike |
-- | no price    | a skill without a price counts with 0, and its line says so                                        |

CREATE OR REPLACE FUNCTION reconciler_lines(
    from_day date, to_day date, time_zone text, as_of_pass bigint, lives bigint[], bounds boolean, prices_of date, by_price boolean)
RETURNS TABLE (
    month date, zitadel_org_id text, tenant_name text, lifecycle_id bigint, item text, skill_id text,
    days integer, least_days integer, most_days integer, month_days integer,
    price_chf numeric, amount_chf numeric, least_amount_chf numeric, most_amount_chf numeric, priced boolean,
    period_start date, period_end date, vat_rate_chli numeric)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    first date;
    last date;
    length integer;
    wanted CONSTANT text[] := CASE WHEN bounds THEN '{best,least,most}' ELSE '{best}' END;
    -- What a month would have cost at a day's prices is asked of the prices as they are on record now.
    prices_at CONSTANT bigint := CASE WHEN prices_of IS NULL THEN as_of_pass ELSE 9223372036854775807 END;
BEGIN
    FOR month IN SELECT generate_series(
        date_trunc('month', from_day::timestamp), to_day::timestamp - interval '1 day', interval '1 month')::date LOOP
        first := greatest(month, from_day);
        last := least((month + interval '1 month')::date, to_day);
        length := (month + interval '1 month')::date - month;
        RETURN QUERY
        WITH line AS (
            SELECT d.lifecycle_id, d.item, d.skill_id,
                   bit_or(d.days) FILTER (WHERE bound = 'best') AS best,
                   bit_or(d.days) FILTER (WHERE bound = 'least' OR d.item = 'setup_fee') AS least,
                   bit_or(d.days) FILTER (WHERE bound = 'most' OR d.item = 'setup_fee') AS most
            FROM unnest(wanted) AS bound
            CROSS JOIN LATERAL reconciler_days(first, last, time_zone, as_of_pass, bound, lives) d
            GROUP BY d.lifecycle_id, d.item, d.skill_id
        ), price AS MATERIALIZED (
            SELECT p.* FROM reconciler_prices(prices_at, prices_of) p
            WHERE by_price AND p.valid_from < last AND p.valid_to > first
        ), vat AS (
            SELECT p.value, p.valid_from, p.valid_to FROM price p WHERE p.column_name = 'vat_rate_chli'
            UNION ALL SELECT NULL, '-infinity', 'infinity' WHERE NOT by_price
        ), sold AS (
            SELECT CASE p.column_name WHEN 'tenant_monthly_fee_chf' THEN 'monthly_fee'
                                      WHEN 'tenant_setup_fee_chf' THEN 'setup_fee' ELSE 'skill' END AS item,
                   coalesce(p.skill_id, '') AS subject, p.value, p.valid_from, p.valid_to
            FROM price p WHERE p.column_name IN ('tenant_monthly_fee_chf', 'tenant_setup_fee_chf', 'daily_price_chf')
            UNION ALL
            -- A skill that never had a price.
            SELECT item, '', NULL, '-infinity', 'infinity' FROM unnest(ARRAY['skill', 'monthly_fee', 'setup_fee']) AS item
            WHERE item = 'skill' OR NOT by_price
        ), run AS (
            SELECT s.item, s.subject, s.value AS price, v.value AS vat_rate,
                   greatest(s.valid_from, v.valid_from, first) AS since, least(s.valid_to, v.valid_to, last) AS until
            FROM sold s JOIN vat v ON greatest(s.valid_from, v.valid_from, first) < least(s.valid_to, v.valid_to, last)
        ), part AS (
            SELECT run.*, repeat('1', last - first)::varbit << (last - first - (until - since)) >> (since - first) AS days
            FROM run
        ), counted AS (
            SELECT line.lifecycle_id, line.item, line.skill_id, part.since, part.until, part.price, part.vat_rate,
                   coalesce(bit_count(line.best & part.days), 0)::integer AS days,
                   coalesce(bit_count(line.least & part.days), 0)::integer AS least_days,
                   coalesce(bit_count(line.most & part.days), 0)::integer AS most_days
            FROM line
            LEFT JOIN (SELECT DISTINCT sold.subject FROM sold) known ON known.subject = line.skill_id
            JOIN part ON part.item = line.item AND part.subject = coalesce(known.subject, '')
        )
        SELECT month, l.zitadel_org_id, l.tenant_name, c.lifecycle_id, c.item, c.skill_id,
               c.days, bound.least_days, bound.most_days, length, price.chf,
               round(price.chf * c.days / price.per, 2),
               round(price.chf * bound.least_days / price.per, 2),
               round(price.chf * bound.most_days / price.per, 2),
               c.price IS NOT NULL, c.since, c.until, c.vat_rate
        FROM counted c
        JOIN tenant_billing_lifecycle l ON l.id = c.lifecycle_id
        CROSS JOIN LATERAL (
            SELECT coalesce(c.price, 0) AS chf, CASE WHEN c.item = 'monthly_fee' THEN length ELSE 1 END AS per) price
        -- Two rows of one instant may leave a day to the one bound that it has in the other: the best lies between.
        CROSS JOIN LATERAL (
            SELECT CASE WHEN bounds THEN least(c.least_days, c.days) END AS least_days,
                   CASE WHEN bounds THEN greatest(c.most_days, c.days) END AS most_days) bound
        WHERE c.days > 0 OR bound.most_days > 0;
    END LOOP;
END
$$;
COMMENT ON FUNCTION reconciler_lines(date, date, text, bigint, bigint[], boolean, date, boolean) IS 'billing_usage() at a position; without by_price a line for each month, lifecycle and item, and no amounts.';

CREATE OR REPLACE FUNCTION billing_skill_days(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    bound text DEFAULT 'best', org text DEFAULT NULL, as_of_pass bigint DEFAULT NULL)
RETURNS TABLE (zitadel_org_id text, tenant_name text, lifecycle_id bigint, skill_id text, days integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_pass CONSTANT bigint := reconciler_asked(from_day, to_day, time_zone, org, bound, as_of, as_of_pass);
BEGIN
    RETURN QUERY
    SELECT l.zitadel_org_id, l.tenant_name, d.lifecycle_id, d.skill_id, bit_count(d.days)::integer
    FROM reconciler_days(from_day, to_day, time_zone, at_pass, bound, reconciler_lives(org)) d
    JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id
    WHERE d.item = 'skill';
END
$$;
COMMENT ON FUNCTION billing_skill_days(date, date, text, timestamptz, text, text, bigint) IS 'The days on which a skill counts, for each lifecycle and skill that has any, from from_day to before to_day.';

CREATE OR REPLACE FUNCTION billing_tenant_days(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    bound text DEFAULT 'best', org text DEFAULT NULL, as_of_pass bigint DEFAULT NULL)
RETURNS TABLE (zitadel_org_id text, tenant_name text, lifecycle_id bigint, days integer, set_up boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_pass CONSTANT bigint := reconciler_asked(from_day, to_day, time_zone, org, bound, as_of, as_of_pass);
BEGIN
    RETURN QUERY
    SELECT l.zitadel_org_id, l.tenant_name, l.id, found.days, found.set_up
    FROM (
        SELECT d.lifecycle_id, coalesce(max(bit_count(d.days)) FILTER (WHERE d.item = 'monthly_fee'), 0)::integer AS days,
               bool_or(d.item = 'setup_fee') AS set_up
        FROM reconciler_days(from_day, to_day, time_zone, at_pass, bound, reconciler_lives(org)) d
        WHERE d.item <> 'skill' GROUP BY d.lifecycle_id
    ) found
    JOIN tenant_billing_lifecycle l ON l.id = found.lifecycle_id;
END
$$;
COMMENT ON FUNCTION billing_tenant_days(date, date, text, timestamptz, text, text, bigint) IS 'The billable days of each lifecycle that has any, and whether its set-up fee falls between from_day and before to_day.';

CREATE OR REPLACE FUNCTION billing_days(
    from_day date, to_day date, org text DEFAULT NULL, time_zone text DEFAULT 'Europe/Zurich',
    as_of timestamptz DEFAULT NULL, as_of_pass bigint DEFAULT NULL)
RETURNS TABLE (
    day date, zitadel_org_id text, tenant_name text, lifecycle_id bigint, item text, skill_id text,
    price_chf numeric, vat_rate_chli numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_pass CONSTANT bigint := reconciler_asked(from_day, to_day, time_zone, org, 'best', as_of, as_of_pass);
BEGIN
    RETURN QUERY
    WITH price AS MATERIALIZED (SELECT p.* FROM reconciler_prices(at_pass) p)
    SELECT of_day.day, l.zitadel_org_id, l.tenant_name, d.lifecycle_id, d.item, d.skill_id, p.value, v.value
    FROM reconciler_days(from_day, to_day, time_zone, at_pass, 'best', reconciler_lives(org)) d
    JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id
    CROSS JOIN LATERAL (
        SELECT from_day + n AS day FROM generate_series(0, to_day - from_day - 1) AS n WHERE get_bit(d.days, n) = 1) of_day
    JOIN price v ON v.column_name = 'vat_rate_chli' AND v.valid_from <= of_day.day AND v.valid_to > of_day.day
    LEFT JOIN price p
      ON p.column_name = CASE d.item WHEN 'monthly_fee' THEN 'tenant_monthly_fee_chf'
                                     WHEN 'setup_fee' THEN 'tenant_setup_fee_chf' ELSE 'daily_price_chf' END
     AND p.skill_id IS NOT DISTINCT FROM d.skill_id AND p.valid_from <= of_day.day AND p.valid_to > of_day.day
    ORDER BY 1, 2, 3, 4, 5, 6;
END
$$;
COMMENT ON FUNCTION billing_days(date, date, text, text, timestamptz, bigint) IS 'Each day that counts: monthly_fee for a billable day of a tenant, skill for a skill-day, setup_fee for the day of a creation; with the price that is valid on it (of a whole month for monthly_fee, null without one).';

CREATE OR REPLACE FUNCTION billing_usage(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    bounds boolean DEFAULT false, org text DEFAULT NULL, as_of_pass bigint DEFAULT NULL, prices_of date DEFAULT NULL)
RETURNS TABLE (
    month date, zitadel_org_id text, tenant_name text, lifecycle_id bigint, item text, skill_id text,
    days integer, least_days integer, most_days integer, month_days integer,
    price_chf numeric, amount_chf numeric, least_amount_chf numeric, most_amount_chf numeric, priced boolean,
    period_start date, period_end date, vat_rate_chli numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_pass CONSTANT bigint := reconciler_asked(from_day, to_day, time_zone, org, 'best', as_of, as_of_pass);
BEGIN
    RETURN QUERY SELECT * FROM reconciler_lines(
        from_day, to_day, time_zone, at_pass, reconciler_lives(org), coalesce(bounds, false), prices_of, true);
END
$$;
COMMENT ON FUNCTION billing_usage(date, date, text, timestamptz, boolean, text, bigint, date) IS 'What the events add up to at the prices of their days: a line for each month, lifecycle, item (setup_fee, monthly_fee or skill) and price, each rounded half-up to 0.01; priced is false for a skill without a price. With bounds also the least and the most it can have been; with prices_of at the prices of that day instead. Nothing is invoiced.';

CREATE OR REPLACE FUNCTION billing_vat(net_chf numeric, day date DEFAULT NULL, as_of_pass bigint DEFAULT NULL)
RETURNS TABLE (vat_rate_chli numeric, vat_chf numeric, gross_chf numeric)
LANGUAGE sql STABLE AS $$
    SELECT p.value, vat.chf, net_chf + vat.chf
    FROM reconciler_prices(coalesce(as_of_pass, 9223372036854775807), coalesce(day, (now() AT TIME ZONE 'Europe/Zurich')::date)) p
    CROSS JOIN LATERAL (SELECT round(net_chf * p.value / 100, 2) AS chf) vat
    WHERE p.column_name = 'vat_rate_chli'
$$;
COMMENT ON FUNCTION billing_vat(numeric, date, bigint) IS 'VAT on a net amount at the rate of a day (by default today), rounded half-up to 0.01, and the sum of the two.';

CREATE OR REPLACE FUNCTION billing_totals(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    org text DEFAULT NULL, as_of_pass bigint DEFAULT NULL, prices_of date DEFAULT NULL)
RETURNS TABLE (
    month date, zitadel_org_id text, net_chf numeric, vat_rate_chli numeric, vat_chf numeric, gross_chf numeric)
LANGUAGE sql AS $$
    SELECT net.month, net.zitadel_org_id, net.chf, net.vat_rate_chli, vat.chf, net.chf + vat.chf
    FROM (
        SELECT u.month, u.zitadel_org_id, u.vat_rate_chli, sum(u.amount_chf) AS chf
        FROM billing_usage(from_day, to_day, time_zone, as_of, false, org, as_of_pass, prices_of) u
        GROUP BY u.month, u.zitadel_org_id, u.vat_rate_chli
    ) net
    CROSS JOIN LATERAL (SELECT round(net.chf * net.vat_rate_chli / 100, 2) AS chf) vat
$$;
COMMENT ON FUNCTION billing_totals(date, date, text, timestamptz, text, bigint, date) IS 'The same, for each month, organisation and rate of VAT: the sum of its lines, VAT on it, and the sum of the two.';

CREATE OR REPLACE FUNCTION billing_invoice_lines(
    org text, from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich',
    as_of timestamptz DEFAULT NULL, as_of_pass bigint DEFAULT NULL)
RETURNS TABLE (
    "position" integer, kind text, lifecycle_id bigint, tenant_name text, skill_id text, description text,
    period_start date, period_end date, quantity numeric, out_of numeric, unit_price numeric, vat_rate numeric, amount numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF org IS NULL THEN
        RAISE EXCEPTION 'an invoice is of one organisation: expected org' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT (row_number() OVER in_order)::integer, u.item, u.lifecycle_id, u.tenant_name, u.skill_id,
           CASE u.item WHEN 'setup_fee' THEN 'Set-up of ' || u.tenant_name
                       WHEN 'monthly_fee' THEN format('Monthly fee of %s, %s of %s days', u.tenant_name, u.days, u.month_days)
                       ELSE format('%s of %s, %s %s', u.skill_id, u.tenant_name, u.days, CASE u.days WHEN 1 THEN 'day' ELSE 'days' END) END,
           u.period_start, u.period_end, u.days::numeric, (CASE u.item WHEN 'monthly_fee' THEN u.month_days ELSE 1 END)::numeric,
           u.price_chf, u.vat_rate_chli, u.amount_chf
    FROM billing_usage(from_day, to_day, time_zone, as_of, false, org, as_of_pass) u
    WINDOW in_order AS (
        ORDER BY u.month, u.tenant_name COLLATE "C", u.lifecycle_id,
                 array_position(ARRAY['setup_fee', 'monthly_fee', 'skill'], u.item), u.skill_id COLLATE "C", u.period_start)
    ORDER BY 1;
END
$$;
COMMENT ON FUNCTION billing_invoice_lines(text, date, date, text, timestamptz, bigint) IS 'The lines of an organisation''s invoice, with the columns of invoice_lines. Ready to insert: amount is unit_price * quantity / out_of, rounded.';

CREATE OR REPLACE FUNCTION billing_prices(
    day date DEFAULT NULL, as_of timestamptz DEFAULT NULL, as_of_pass bigint DEFAULT NULL)
RETURNS TABLE (column_name text, skill_id text, value numeric, valid_from date, valid_to date)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    of_day CONSTANT date := coalesce(day, (now() AT TIME ZONE 'Europe/Zurich')::date);
    at_pass CONSTANT bigint := CASE
        WHEN as_of IS NULL AND as_of_pass IS NULL THEN 9223372036854775807
        ELSE reconciler_asked(of_day, of_day + 1, 'Europe/Zurich', NULL, 'best', as_of, as_of_pass) END;
BEGIN
    RETURN QUERY
    SELECT p.column_name, p.skill_id, p.value, nullif(p.valid_from, '-infinity'), nullif(p.valid_to, 'infinity')
    FROM reconciler_prices(at_pass) p
    WHERE p.valid_from <= of_day AND p.valid_to > of_day AND p.value IS NOT NULL
    ORDER BY p.skill_id NULLS FIRST, p.column_name;
END
$$;
COMMENT ON FUNCTION billing_prices(date, timestamptz, bigint) IS 'The prices of a day (by default today, in Europe/Zurich), and from when to before when each is valid; null: without a beginning or an end on record.';

CREATE OR REPLACE FUNCTION billing_enabled_now(org text DEFAULT NULL)
RETURNS TABLE (
    zitadel_org_id text, tenant_name text, tenant_uid text, lifecycle_id bigint, suspended boolean, skills text[], changed_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT l.zitadel_org_id, l.tenant_name, l.tenant_uid, l.id, s.suspended, s.skills, s.changed_at
    FROM tenant_billing_lifecycle l JOIN reconciler_state s ON s.lifecycle_id = l.id
    WHERE l.deleted_at IS NULL AND (org IS NULL OR l.zitadel_org_id = org)
    ORDER BY l.zitadel_org_id, l.tenant_name
$$;
COMMENT ON FUNCTION billing_enabled_now(text) IS 'The tenants that live, with the skills that are enabled and whether they are suspended, as the last pass left them.';
