-- What the events add up to: the days that count for billing, in calendar days of a time zone.
--
-- | what         | rule                                                                                   |
-- |--------------|----------------------------------------------------------------------------------------|
-- | day          | a calendar day of the time zone, whether it has 23, 24 or 25 hours                     |
-- | interval     | half-open: [a, b) holds a and not b; a life or a skill of no length holds its instant  |
-- | skill-day    | a day at some instant of which the skill was enabled, its tenant lived and was not     |
-- |              | suspended; once for a lifecycle, however often it was switched                         |
-- | billable day | a day at some instant of which the tenant lived and was not suspended                  |
-- | monthly fee  | times the billable days of the month, divided by the days of the month                 |
-- | set-up fee   | in the month of the creation, once a lifecycle; none where it only changed org         |
-- | end          | nothing is known after the last pass: there the current month ends, and every interval |
-- | order        | of one skill's rows the portal's come before ours, and a row counts until the next one |
-- | lifecycle    | a tenant that was re-created is another one, one that was rebound is the same          |
--
-- Ranges are half-open as well: October is from_day 2026-10-01, to_day 2026-11-01.
-- `as_of` leaves out what later passes wrote: null counts all of them.
-- `bound` takes each row at its best known time ('best'), or where its interval [not_before, occurred_at]
-- makes the days as few ('least') or as many ('most') as they can have been.
-- Every function reads with the rights of its caller, and writes nothing.

-- A month is read without the history before it. The first rows (ordinal 0 or 1) tell which skills a lifecycle has
-- known, and have an index of their own: all that a backfill fills. The later rows of the month are found by their
-- time. The row before these says the opposite of the first of them; it is looked up only where the month has none.
CREATE INDEX IF NOT EXISTS tenant_skill_events_first ON tenant_skill_events (lifecycle_id, skill_key, ordinal, occurred_at)
WHERE ordinal <= 1;
CREATE INDEX IF NOT EXISTS tenant_skill_events_later ON tenant_skill_events (lifecycle_id, skill_key, occurred_at, ordinal)
WHERE ordinal >= 2;
CREATE INDEX IF NOT EXISTS tenant_skill_events_time ON tenant_skill_events (occurred_at) WHERE ordinal >= 2;
CREATE INDEX IF NOT EXISTS tenant_suspension_events_lifecycle
ON tenant_suspension_events (lifecycle_id, occurred_at, ordinal);
CREATE INDEX IF NOT EXISTS tenant_suspension_events_time ON tenant_suspension_events (occurred_at);

CREATE OR REPLACE FUNCTION billing_midnight(day date, time_zone text DEFAULT 'Europe/Zurich') RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- Where clocks go back over midnight it comes twice: the first one begins the day.
    SELECT CASE WHEN ((day::timestamp AT TIME ZONE time_zone - interval '1 hour') AT TIME ZONE time_zone)::date = day
                THEN day::timestamp AT TIME ZONE time_zone - interval '1 hour'
                ELSE day::timestamp AT TIME ZONE time_zone END
$$;
COMMENT ON FUNCTION billing_midnight(date, text) IS 'The first instant of a calendar day of the time zone.';

CREATE OR REPLACE FUNCTION billing_last_pass(as_of timestamptz DEFAULT NULL)
RETURNS TABLE (pass_id bigint, observed_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT p.id, p.observed_at FROM reconciler_passes p
    WHERE as_of IS NULL
       OR p.id < coalesce((SELECT min(later.id) FROM reconciler_passes later WHERE later.written_at > as_of), p.id + 1)
    ORDER BY p.id DESC LIMIT 1
$$;
COMMENT ON FUNCTION billing_last_pass(timestamptz) IS 'The last pass that counts, and the instant it looked at: the one before the first that was written after as_of.';

CREATE OR REPLACE FUNCTION billing_lifecycles(as_of timestamptz DEFAULT NULL)
RETURNS TABLE (
    lifecycle_id bigint, zitadel_org_id text, tenant_name text, by_portal boolean, created_at timestamptz,
    created_not_before timestamptz, deleted_at timestamptz, deleted_not_before timestamptz, moved boolean)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT l.id, l.zitadel_org_id, l.tenant_name, l.created_pass_id IS NULL, l.created_at,
           coalesce(l.created_not_before, l.created_at), deletion.deleted_at, deletion.not_before,
           EXISTS (SELECT FROM reconciler_moves m WHERE m.lifecycle_id = l.id)
    FROM tenant_billing_lifecycle l
    -- The deletion on record, or one that a pass after as_of withdrew.
    LEFT JOIN LATERAL (
        SELECT l.deleted_at, coalesce(l.deleted_not_before, l.deleted_at) AS not_before
        WHERE l.deleted_at IS NOT NULL AND (
            as_of IS NULL OR l.deleted_pass_id IS NULL
            OR l.deleted_pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
        UNION ALL
        SELECT r.deleted_at, coalesce(r.deleted_not_before, r.deleted_at)
        FROM reconciler_reopenings r
        WHERE as_of IS NOT NULL AND r.lifecycle_id = l.id
          AND r.pass_id > (SELECT pass_id FROM billing_last_pass(as_of))
          AND (r.deleted_pass_id IS NULL OR r.deleted_pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
    ) deletion ON true
    WHERE as_of IS NULL OR l.created_pass_id IS NULL
       OR l.created_pass_id <= (SELECT pass_id FROM billing_last_pass(as_of))
$$;
COMMENT ON FUNCTION billing_lifecycles(timestamptz) IS 'The lifecycles as the ledger had them: by_portal where the portal wrote it, moved where it goes on from another org''s.';

CREATE OR REPLACE FUNCTION billing_time(
    counts boolean, occurred_at timestamptz, not_before timestamptz, time_source text, observed_at timestamptz, bound text)
RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN bound = 'least' AND counts THEN CASE WHEN time_source = 'creation' THEN observed_at ELSE occurred_at END
        WHEN bound = 'least' AND NOT counts OR bound = 'most' AND counts THEN coalesce(not_before, occurred_at)
        ELSE occurred_at END
$$;
COMMENT ON FUNCTION billing_time(boolean, timestamptz, timestamptz, text, timestamptz, text) IS 'When a row counts from: at its best known time, or where its interval makes the days the least or the most. counts: days count from this row on.';

CREATE OR REPLACE FUNCTION billing_skill_spans(
    starts_at timestamptz, ends_at timestamptz, as_of timestamptz DEFAULT NULL, bound text DEFAULT 'best')
RETURNS TABLE (lifecycle_id bigint, skill_key text, span_start timestamptz, span_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH alive AS MATERIALIZED (
    SELECT l.lifecycle_id, l.tenant_name, l.by_portal FROM billing_lifecycles(as_of) l
    WHERE l.created_not_before < ends_at AND (l.deleted_at IS NULL OR l.deleted_at >= starts_at)
), event AS (
    -- The first rows of all skills, the later ones within the range, and all of the portal's; each with its place among
    -- the rows of its skill, odd where it switches on. Ours have it as their ordinal; the portal's come before, below 0.
    SELECT e.lifecycle_id, e.skill_key, e.ordinal AS place,
           billing_time(e.ordinal = 1, e.occurred_at, e.not_before, e.time_source, e.observed_at, bound) AS at
    FROM tenant_skill_events e
    WHERE e.ordinal <= 1
      AND e.lifecycle_id IN (SELECT alive.lifecycle_id FROM alive)
      AND CASE WHEN bound = 'best' THEN e.occurred_at ELSE e.not_before END < ends_at
      AND (as_of IS NULL OR e.pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
    UNION ALL
    SELECT e.lifecycle_id, e.skill_key, e.ordinal,
           billing_time(e.ordinal % 2 = 1, e.occurred_at, e.not_before, e.time_source, e.observed_at, bound)
    FROM tenant_skill_events e
    WHERE e.ordinal >= 2 AND e.occurred_at >= starts_at
      AND CASE WHEN bound = 'best' THEN e.occurred_at ELSE e.not_before END < ends_at
      AND (as_of IS NULL OR e.pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
    UNION ALL
    SELECT alive.lifecycle_id, e.skill_key,
           (2 * row_number() OVER (ORDER BY e.occurred_at, e.id) - 2000000000)::integer
               + (e.event_kind = 'enabled')::integer,
           e.occurred_at
    FROM tenant_skill_events e JOIN alive ON alive.by_portal AND alive.tenant_name = e.tenant_name
    WHERE e.lifecycle_id IS NULL AND e.occurred_at < ends_at
), ordered AS (
    -- From the last row to the first: the place of the next one, and when the next ones take over.
    SELECT event.*, lag(event.place) OVER latest_first AS next, min(event.at) OVER latest_first AS until
    FROM event
    WINDOW latest_first AS (
        PARTITION BY event.lifecycle_id, event.skill_key ORDER BY event.place DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT o.lifecycle_id, o.skill_key, o.at,
       CASE WHEN o.until IS NULL THEN 'infinity'
            -- A skill that was switched on was on, however close the intervals of the two rows.
            WHEN o.place >= 0 THEN greatest(o.until, o.at)
            ELSE o.until END
FROM ordered o
WHERE o.place & 1 = 1 AND CASE
    WHEN o.place <> 1 THEN true
    -- Where rows before the range are left out, the next one tells what they came to: it says the opposite.
    WHEN o.next IS NOT NULL THEN o.next % 2 = 0
    WHEN o.at >= starts_at THEN true
    -- Nothing happened within the range: it is as the last row before it left it.
    ELSE coalesce((
        SELECT e.ordinal % 2 = 1 FROM tenant_skill_events e
        WHERE e.lifecycle_id = o.lifecycle_id AND e.skill_key = o.skill_key AND e.ordinal >= 2
          AND e.occurred_at < starts_at
          AND (as_of IS NULL OR e.pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
        ORDER BY e.occurred_at DESC, e.ordinal DESC LIMIT 1), true)
    END
$$;
COMMENT ON FUNCTION billing_skill_spans(timestamptz, timestamptz, timestamptz, text) IS 'When each skill was enabled within a range: [span_start, span_end); void where the end lies before the start. May overlap, and reach beyond the range.';

CREATE OR REPLACE FUNCTION billing_tenant_spans(
    starts_at timestamptz, ends_at timestamptz, as_of timestamptz DEFAULT NULL, bound text DEFAULT 'best')
RETURNS TABLE (lifecycle_id bigint, span_start timestamptz, span_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH alive AS MATERIALIZED (
    SELECT l.lifecycle_id, l.tenant_name, l.by_portal,
           greatest(CASE WHEN bound = 'most' THEN l.created_not_before ELSE l.created_at END, starts_at) AS since,
           -- A life of no length holds its instant.
           least(CASE WHEN l.deleted_at IS NOT NULL THEN greatest(
               CASE WHEN bound = 'least' THEN l.deleted_not_before ELSE l.deleted_at END,
               l.created_at + interval '1 microsecond') END, ends_at) AS until
    FROM billing_lifecycles(as_of) l
    WHERE l.created_not_before < ends_at AND (l.deleted_at IS NULL OR l.deleted_at >= starts_at)
), event AS (
    SELECT e.lifecycle_id, e.ordinal, e.id, e.event_kind = 'resumed' AS is_awake, e.occurred_at,
           billing_time(e.event_kind = 'resumed', e.occurred_at, e.not_before, e.time_source, e.observed_at, bound) AS at
    FROM tenant_suspension_events e
    WHERE e.lifecycle_id IS NOT NULL AND e.occurred_at > starts_at
      AND CASE WHEN bound = 'best' THEN e.occurred_at ELSE e.not_before END < ends_at
      AND (as_of IS NULL OR e.pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
    UNION ALL
    SELECT alive.lifecycle_id, last.ordinal, last.id, last.is_awake, last.occurred_at, last.at
    FROM alive CROSS JOIN LATERAL (
        SELECT e.ordinal, e.id, e.event_kind = 'resumed' AS is_awake, e.occurred_at, e.occurred_at AS at
        FROM tenant_suspension_events e
        WHERE e.lifecycle_id = alive.lifecycle_id AND e.occurred_at <= starts_at
          AND (as_of IS NULL OR e.pass_id <= (SELECT pass_id FROM billing_last_pass(as_of)))
        ORDER BY e.occurred_at DESC, e.ordinal DESC LIMIT 1) last
    UNION ALL
    SELECT alive.lifecycle_id, NULL, e.id, e.event_kind = 'resumed', e.occurred_at, e.occurred_at
    FROM tenant_suspension_events e JOIN alive ON alive.by_portal AND alive.tenant_name = e.tenant_name
    WHERE e.lifecycle_id IS NULL AND e.occurred_at < ends_at
    UNION ALL
    -- Without any row it is not suspended.
    SELECT alive.lifecycle_id, NULL, NULL, true, '-infinity', '-infinity' FROM alive
), ordered AS (
    SELECT event.lifecycle_id, event.is_awake, event.at,
           min(event.at) OVER (
               PARTITION BY event.lifecycle_id
               ORDER BY event.ordinal DESC NULLS LAST, event.occurred_at DESC, event.id DESC NULLS LAST
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS until
    FROM event
)
SELECT alive.lifecycle_id, greatest(o.at, alive.since), least(o.until, alive.until)
FROM ordered o JOIN alive ON alive.lifecycle_id = o.lifecycle_id
WHERE o.is_awake AND greatest(o.at, alive.since) < least(o.until, alive.until)
$$;
COMMENT ON FUNCTION billing_tenant_spans(timestamptz, timestamptz, timestamptz, text) IS 'When each tenant lived and was not suspended within a range: [span_start, span_end).';

CREATE OR REPLACE FUNCTION billing_range(
    from_day date, to_day date, time_zone text, as_of timestamptz, bound text,
    OUT starts_at timestamptz, OUT ends_at timestamptz, OUT midnights timestamptz[], OUT every_day varbit)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF to_day <= from_day OR bound NOT IN ('best', 'least', 'most') THEN
        RAISE EXCEPTION 'from % to %, bound %: expected a later day to end before, and best, least or most',
            from_day, to_day, bound USING ERRCODE = 'invalid_parameter_value';
    END IF;
    midnights := ARRAY(SELECT billing_midnight(from_day + n, time_zone) FROM generate_series(0, to_day - from_day) AS n);
    starts_at := midnights[1];
    ends_at := least(midnights[to_day - from_day + 1],
                     coalesce((SELECT observed_at FROM billing_last_pass(as_of)), '-infinity'));
    every_day := repeat('1', to_day - from_day)::varbit;
END
$$;
COMMENT ON FUNCTION billing_range(date, date, text, timestamptz, text) IS 'The range as instants, no later than the last pass; when each of its days begins, and the end; and one bit a day.';

CREATE OR REPLACE FUNCTION billing_skill_days(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    bound text DEFAULT 'best')
RETURNS TABLE (zitadel_org_id text, tenant_name text, lifecycle_id bigint, skill_id text, days integer)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    range CONSTANT record := billing_range(from_day, to_day, time_zone, as_of, bound);
BEGIN
    RETURN QUERY
    WITH span AS (
        SELECT s.lifecycle_id, s.skill_key,
               width_bucket(greatest(s.span_start, t.span_start), range.midnights) AS first,
               width_bucket(least(greatest(s.span_end, s.span_start + interval '1 microsecond'), t.span_end)
                            - interval '1 microsecond', range.midnights) AS last
        FROM billing_skill_spans(range.starts_at, range.ends_at, as_of, bound) s
        JOIN billing_tenant_spans(range.starts_at, range.ends_at, as_of, bound) t
          ON t.lifecycle_id = s.lifecycle_id
         AND s.span_start <= s.span_end AND s.span_start < t.span_end
         AND greatest(s.span_end, s.span_start + interval '1 microsecond') > t.span_start
    ), counted AS (
        -- The days that a span touches, one bit each; those of several spans are these, or'ed.
        SELECT span.lifecycle_id, span.skill_key,
               bit_count(bit_or(range.every_day << (to_day - from_day - 1 - span.last + span.first) >> (span.first - 1)))::integer AS days
        FROM span GROUP BY span.lifecycle_id, span.skill_key
    )
    SELECT l.zitadel_org_id, l.tenant_name, counted.lifecycle_id,
           CASE WHEN starts_with(counted.skill_key, 'sha256:') THEN (
               SELECT e.skill_id FROM tenant_skill_events e
               WHERE (e.lifecycle_id = counted.lifecycle_id OR e.lifecycle_id IS NULL)
                 AND e.skill_key = counted.skill_key LIMIT 1)
           ELSE counted.skill_key END,
           counted.days
    FROM counted JOIN tenant_billing_lifecycle l ON l.id = counted.lifecycle_id;
END
$$;
COMMENT ON FUNCTION billing_skill_days(date, date, text, timestamptz, text) IS 'The days on which a skill counts, for each lifecycle and skill that has any, from from_day to before to_day.';

CREATE OR REPLACE FUNCTION billing_tenant_days(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    bound text DEFAULT 'best')
RETURNS TABLE (zitadel_org_id text, tenant_name text, lifecycle_id bigint, days integer, set_up boolean)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    range CONSTANT record := billing_range(from_day, to_day, time_zone, as_of, bound);
BEGIN
    RETURN QUERY
    WITH span AS (
        SELECT t.lifecycle_id, width_bucket(t.span_start, range.midnights) AS first,
               width_bucket(t.span_end - interval '1 microsecond', range.midnights) AS last
        FROM billing_tenant_spans(range.starts_at, range.ends_at, as_of, bound) t
    ), counted AS (
        SELECT span.lifecycle_id,
               bit_count(bit_or(range.every_day << (to_day - from_day - 1 - span.last + span.first) >> (span.first - 1)))::integer AS days
        FROM span GROUP BY span.lifecycle_id
    ), begun AS (
        SELECT l.lifecycle_id FROM billing_lifecycles(as_of) l
        WHERE l.created_at >= range.starts_at AND l.created_at < range.ends_at AND NOT l.moved
    )
    SELECT l.zitadel_org_id, l.tenant_name, l.id, coalesce(counted.days, 0), begun.lifecycle_id IS NOT NULL
    FROM counted FULL JOIN begun ON begun.lifecycle_id = counted.lifecycle_id
    JOIN tenant_billing_lifecycle l ON l.id = coalesce(counted.lifecycle_id, begun.lifecycle_id);
END
$$;
COMMENT ON FUNCTION billing_tenant_days(date, date, text, timestamptz, text) IS 'The billable days of each lifecycle that has any, and whether its set-up fee falls between from_day and before to_day.';

CREATE OR REPLACE FUNCTION billing_usage(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL,
    bounds boolean DEFAULT false)
RETURNS TABLE (
    month date, zitadel_org_id text, tenant_name text, lifecycle_id bigint, item text, skill_id text,
    days integer, least_days integer, most_days integer, month_days integer,
    price_chf numeric, amount_chf numeric, least_amount_chf numeric, most_amount_chf numeric, priced boolean)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    first date;
    last date;
    -- Of several rows, in an adopted database, the first is the platform's.
    fees CONSTANT platform_pricing := (SELECT p FROM platform_pricing p ORDER BY p.id LIMIT 1);
    wanted CONSTANT text[] := CASE WHEN bounds THEN '{best,least,most}' ELSE '{best}' END;
    length integer;
BEGIN
    FOR month IN SELECT generate_series(
        date_trunc('month', from_day::timestamp), to_day::timestamp - interval '1 day', interval '1 month')::date LOOP
        first := greatest(month, from_day);
        last := least((month + interval '1 month')::date, to_day);
        length := (month + interval '1 month')::date - month;
        RETURN QUERY
        WITH found AS (
            SELECT d.lifecycle_id, i.item, NULL AS skill_id, i.days, bound
            FROM unnest(wanted) AS bound
            CROSS JOIN LATERAL billing_tenant_days(first, last, time_zone, as_of, bound) d
            CROSS JOIN LATERAL (
                SELECT 'set-up-fee' AS item, 1 AS days WHERE d.set_up
                UNION ALL SELECT 'monthly-fee', d.days WHERE d.days > 0) i
            UNION ALL
            SELECT d.lifecycle_id, 'skill', d.skill_id, d.days, bound
            FROM unnest(wanted) AS bound
            CROSS JOIN LATERAL billing_skill_days(first, last, time_zone, as_of, bound) d
        ), line AS (
            SELECT f.lifecycle_id, f.item, f.skill_id,
                   coalesce(max(f.days) FILTER (WHERE f.bound = 'best'), 0) AS days,
                   coalesce(max(f.days) FILTER (WHERE f.bound = 'least'), 0) AS least_days,
                   coalesce(max(f.days) FILTER (WHERE f.bound = 'most'), 0) AS most_days
            FROM found f GROUP BY f.lifecycle_id, f.item, f.skill_id
        )
        SELECT month, l.zitadel_org_id, l.tenant_name, line.lifecycle_id, line.item, line.skill_id,
               line.days, bound.least_days, bound.most_days, length, price.chf,
               round(price.chf * line.days / price.per, 2),
               round(price.chf * bound.least_days / price.per, 2),
               round(price.chf * bound.most_days / price.per, 2),
               line.item <> 'skill' OR s.skill_id IS NOT NULL
        FROM line
        JOIN tenant_billing_lifecycle l ON l.id = line.lifecycle_id
        LEFT JOIN skill_pricing s ON line.item = 'skill' AND s.skill_id = line.skill_id
        CROSS JOIN LATERAL (
            SELECT CASE line.item WHEN 'set-up-fee' THEN fees.tenant_setup_fee_chf
                                  WHEN 'monthly-fee' THEN fees.tenant_monthly_fee_chf
                                  ELSE coalesce(s.daily_price_chf, 0) END AS chf,
                   CASE WHEN line.item = 'monthly-fee' THEN length ELSE 1 END AS per) price
        -- Two rows of one instant may leave a day to the one bound that it has in the other: the best lies between.
        CROSS JOIN LATERAL (
            SELECT CASE WHEN bounds THEN least(line.least_days, line.days) END AS least_days,
                   CASE WHEN bounds THEN greatest(line.most_days, line.days) END AS most_days) bound;
    END LOOP;
END
$$;
COMMENT ON FUNCTION billing_usage(date, date, text, timestamptz, boolean) IS 'What the events add up to at today''s prices, a line for each month, lifecycle and item (set-up-fee, monthly-fee or skill), each rounded half-up to 0.01; priced is false for a skill without a price. With bounds also the least and the most it can have been. Nothing is invoiced.';

CREATE OR REPLACE FUNCTION billing_vat(net_chf numeric)
RETURNS TABLE (vat_rate_chli numeric, vat_chf numeric, gross_chf numeric)
LANGUAGE sql STABLE AS $$
    SELECT p.vat_rate_chli, vat.chf, net_chf + vat.chf
    FROM (SELECT f.vat_rate_chli FROM platform_pricing f ORDER BY f.id LIMIT 1) p
    CROSS JOIN LATERAL (SELECT round(net_chf * p.vat_rate_chli / 100, 2) AS chf) vat
$$;
COMMENT ON FUNCTION billing_vat(numeric) IS 'VAT on an organisation''s net amount, rounded half-up to 0.01, and the sum of the two.';

CREATE OR REPLACE FUNCTION billing_totals(
    from_day date, to_day date, time_zone text DEFAULT 'Europe/Zurich', as_of timestamptz DEFAULT NULL)
RETURNS TABLE (
    month date, zitadel_org_id text, net_chf numeric, vat_rate_chli numeric, vat_chf numeric, gross_chf numeric)
LANGUAGE sql STABLE AS $$
    SELECT net.month, net.zitadel_org_id, net.chf, vat.vat_rate_chli, vat.vat_chf, vat.gross_chf
    FROM (
        SELECT u.month, u.zitadel_org_id, sum(u.amount_chf) AS chf
        FROM billing_usage(from_day, to_day, time_zone, as_of) u GROUP BY u.month, u.zitadel_org_id
    ) net
    CROSS JOIN LATERAL billing_vat(net.chf) vat
$$;
COMMENT ON FUNCTION billing_totals(date, date, text, timestamptz) IS 'The same, for each month and organisation: the sum of its lines, VAT on it, and the sum of the two.';
