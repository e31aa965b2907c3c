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
-- | set-up fee   | on the day of the creation, once a lifecycle; none where it only changed org           |
-- | end          | nothing is known after the last pass: there the current month ends, and every interval |
-- | order        | of one skill's rows the portal's come before ours, and a row counts until the next one |
-- | lifecycle    | a tenant that was re-created is another one, one that was rebound is the same          |
-- | move         | a day that would count for two organisations counts for the one that it moved to       |
--
-- Ranges are half-open as well: October is from_day 2026-10-01, to_day 2026-11-01.
-- `as_of_pass` is a position: what passes and price changes of higher numbers wrote does not count.
-- `bound` takes each row at its best known time ('best'), or where its interval [not_before, occurred_at]
-- makes the days as few ('least') or as many ('most') as they can have been.
-- `lives` are the lifecycles that are asked for; null: all.
-- Every function reads with the rights of its caller, and writes nothing. What is named billing_… is for other programs
-- and documented in schema/README.md; what is named reconciler_… is not.

-- A month is read without the history before it. The first rows (ordinal 0 or 1) tell which skills a lifecycle has
-- known, and have an index of their own: all that a backfill fills. The later rows of the month are found by their
-- time, or by their lifecycle where one organisation is asked for. The row before these says the opposite of the first of
-- them; it is looked up only where the month has none.
CREATE INDEX IF NOT EXISTS tenant_skill_events_first ON tenant_skill_events (lifecycle_id, skill_key, ordinal, occurred_at)
WHERE ordinal <= 1;
CREATE INDEX IF NOT EXISTS tenant_skill_events_later ON tenant_skill_events (lifecycle_id, skill_key, occurred_at, ordinal)
WHERE ordinal >= 2;
CREATE INDEX IF NOT EXISTS tenant_skill_events_time ON tenant_skill_events (occurred_at) WHERE ordinal >= 2;
CREATE INDEX IF NOT EXISTS tenant_suspension_events_lifecycle
ON tenant_suspension_events (lifecycle_id, occurred_at, ordinal);
CREATE INDEX IF NOT EXISTS tenant_suspension_events_time ON tenant_suspension_events (occurred_at);

-- What these were until version 2; their arguments are others now.
DROP FUNCTION IF EXISTS
    billing_totals(date, date, text, timestamptz), billing_vat(numeric), billing_usage(date, date, text, timestamptz, boolean),
    billing_tenant_days(date, date, text, timestamptz, text), billing_skill_days(date, date, text, timestamptz, text),
    billing_range(date, date, text, timestamptz, text), billing_tenant_spans(timestamptz, timestamptz, timestamptz, text),
    billing_skill_spans(timestamptz, timestamptz, timestamptz, text), billing_lifecycles(timestamptz), billing_last_pass(timestamptz),
    billing_time(boolean, timestamptz, timestamptz, text, timestamptz, text);

-- Positions -----------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION reconciler_await_writer() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    writers CONSTANT text[] := ARRAY(
        SELECT l.virtualtransaction FROM pg_locks l
        WHERE l.relation = 'reconciler_writer'::regclass AND l.granted AND l.mode = 'ShareRowExclusiveLock'
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND l.pid <> pg_backend_pid());
    patience CONSTANT interval := nullif(current_setting('lock_timeout')::interval, '0');
    since CONSTANT timestamptz := clock_timestamp();
BEGIN
    -- Only seen, and never held: nobody who reads keeps a writer waiting.
    WHILE EXISTS (SELECT FROM pg_locks l WHERE l.virtualtransaction = ANY (writers) AND l.locktype = 'virtualxid') LOOP
        IF clock_timestamp() - since > patience THEN
            RAISE EXCEPTION 'a pass or a price has been under way for % and longer', patience USING ERRCODE = 'lock_not_available';
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END
$$;
COMMENT ON FUNCTION reconciler_await_writer() IS 'Waits until whatever is being written now, a pass or a price, is committed or given up.';

CREATE OR REPLACE FUNCTION reconciler_position_at(as_of timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT greatest(
        (SELECT max(p.id) FROM reconciler_passes p WHERE p.id < later.id),
        (SELECT max(h.id) FROM reconciler_price_history h WHERE h.id < later.id),
        (SELECT max(v.id) FROM reconciler_voids v WHERE v.id < later.id))
    FROM (SELECT least(
        coalesce((SELECT min(p.id) FROM reconciler_passes p WHERE as_of IS NOT NULL AND p.written_at > as_of), 9223372036854775807),
        coalesce((SELECT min(h.id) FROM reconciler_price_history h WHERE as_of IS NOT NULL AND h.recorded_at > as_of), 9223372036854775807),
        coalesce((SELECT min(v.id) FROM reconciler_voids v WHERE as_of IS NOT NULL AND v.decided_at > as_of), 9223372036854775807)) AS id) later
$$;
COMMENT ON FUNCTION reconciler_position_at(timestamptz) IS 'The last pass, price change or void before the first that was written after as_of; null: of all.';

CREATE OR REPLACE FUNCTION reconciler_voided(as_of timestamptz, as_of_pass bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT format('what the ledger said then was voided at %s by %s: %s',
                  to_char(v.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), v.decided_by, v.because)
    FROM reconciler_voids v
    WHERE as_of >= v.voided_from AND as_of < v.decided_at OR as_of_pass >= v.first_pass_id AND as_of_pass < v.id
    ORDER BY v.id DESC LIMIT 1
$$;
COMMENT ON FUNCTION reconciler_voided(timestamptz, bigint) IS 'If passes up to that time or position were voided: when, by whom and why. Otherwise null.';

CREATE OR REPLACE FUNCTION reconciler_written_until() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT greatest(
        (SELECT p.written_at FROM reconciler_passes p ORDER BY p.id DESC LIMIT 1),
        (SELECT h.recorded_at FROM reconciler_price_history h ORDER BY h.id DESC LIMIT 1),
        (SELECT v.decided_at FROM reconciler_voids v ORDER BY v.id DESC LIMIT 1))
$$;
COMMENT ON FUNCTION reconciler_written_until() IS 'When the last pass, price change or void was written. Nothing that is written later has an earlier time.';

CREATE OR REPLACE FUNCTION billing_position(as_of timestamptz DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
    known timestamptz;
BEGIN
    IF as_of > clock_timestamp() THEN
        RAISE EXCEPTION 'as of %: that lies ahead, and what will be written until then is not known', as_of
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF as_of IS NOT NULL THEN
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            RAISE EXCEPTION 'as of %: a transaction that is % cannot see what is being written', as_of, current_setting('transaction_isolation')
                USING ERRCODE = 'invalid_transaction_state',
                HINT = 'Take the position first, in a transaction of its own: SELECT billing_position(…), and give it as as_of_pass.';
        END IF;
        IF pg_is_in_recovery() THEN
            -- What is being written on the primary does not show here. It comes after all that is written.
            known := reconciler_written_until();
            IF as_of > coalesce(known, '-infinity') THEN
                RAISE EXCEPTION 'as of %: this standby knows what was written %', as_of, coalesce('up to ' || known, 'so far: nothing')
                    USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask the primary, or as of an earlier time, or give as_of_pass.';
            END IF;
        END IF;
        PERFORM reconciler_await_writer();
    END IF;
    found := reconciler_position_at(as_of);
    IF NOT EXISTS (SELECT FROM reconciler_passes p WHERE p.id <= found) THEN
        RAISE EXCEPTION 'the ledger has no pass%, so there is nothing to count',
            coalesce(' that was written by ' || as_of, '')
            USING ERRCODE = 'no_data_found', HINT = 'A first `reconciler run` makes one.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION billing_position(timestamptz) IS 'The position of the ledger, now or at a time: what as_of_pass takes. Given once to all functions it gives figures of one state, whatever is written meanwhile.';

CREATE OR REPLACE FUNCTION reconciler_asked(
    from_day date, to_day date, time_zone text, org text, bound text, as_of timestamptz, as_of_pass bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    IF from_day IS NULL OR to_day IS NULL OR to_day <= from_day OR NOT isfinite(from_day) OR NOT isfinite(to_day) THEN
        RAISE EXCEPTION 'from % to %: expected a later day to end before', from_day, to_day USING ERRCODE = 'invalid_parameter_value';
    ELSIF to_day - from_day > 36600 THEN
        RAISE EXCEPTION 'from % to %: expected no more than a hundred years', from_day, to_day USING ERRCODE = 'invalid_parameter_value';
    ELSIF bound IS NULL OR bound NOT IN ('best', 'least', 'most') THEN
        RAISE EXCEPTION 'bound %: expected best, least or most', bound USING ERRCODE = 'invalid_parameter_value';
    ELSIF (now() AT TIME ZONE time_zone) IS NULL THEN
        RAISE EXCEPTION 'time zone NULL: expected one like Europe/Zurich' USING ERRCODE = 'invalid_parameter_value';
    ELSIF as_of IS NOT NULL AND as_of_pass IS NOT NULL THEN
        RAISE EXCEPTION 'as_of and as_of_pass: expected one of the two' USING ERRCODE = 'invalid_parameter_value';
    ELSIF org IS NOT NULL AND NOT EXISTS (SELECT FROM tenant_billing_lifecycle l WHERE l.zitadel_org_id = org) THEN
        IF NOT EXISTS (SELECT FROM org_billing_config c WHERE c.zitadel_org_id = org) THEN
            RAISE EXCEPTION 'the ledger knows no organisation %', quote_literal(org) USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RAISE NOTICE 'organisation % has no tenant: nothing counts', quote_literal(org);
    END IF;
    last := billing_position(as_of);
    IF reconciler_voided(as_of, as_of_pass) IS NOT NULL THEN
        RAISE EXCEPTION 'as of %: %', coalesce(as_of::text, 'pass ' || as_of_pass), reconciler_voided(as_of, as_of_pass)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF as_of_pass > last THEN
        RAISE EXCEPTION 'as of pass %: the last is %', as_of_pass, last USING ERRCODE = 'invalid_parameter_value';
    ELSIF as_of_pass IS NOT NULL AND NOT EXISTS (SELECT FROM reconciler_passes p WHERE p.id <= as_of_pass) THEN
        RAISE EXCEPTION 'as of pass %: the first is %', as_of_pass, (SELECT min(p.id) FROM reconciler_passes p)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN coalesce(as_of_pass, last);
END
$$;
COMMENT ON FUNCTION reconciler_asked(date, date, text, text, text, timestamptz, bigint) IS 'The position that is meant. Raises where the range, the zone, the bound, the organisation or the position makes no sense.';

-- Days ----------------------------------------------------------------------------------------------------------------
-- Those in SQL set no search_path: they would no longer be planned with the statement that calls them, which has one.

CREATE OR REPLACE FUNCTION billing_midnight(day date, time_zone text DEFAULT 'Europe/Zurich') RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
-- Where clocks go back over midnight it comes twice: the first one begins the day.
RETURN CASE WHEN ((day::timestamp AT TIME ZONE time_zone - interval '1 hour') AT TIME ZONE time_zone)::date = day
            THEN day::timestamp AT TIME ZONE time_zone - interval '1 hour'
            ELSE day::timestamp AT TIME ZONE time_zone END;
COMMENT ON FUNCTION billing_midnight(date, text) IS 'The first instant of a calendar day of the time zone.';

CREATE OR REPLACE FUNCTION reconciler_lives(org text) RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN org IS NOT NULL THEN ARRAY(SELECT l.id FROM tenant_billing_lifecycle l WHERE l.zitadel_org_id = org) END
$$;
COMMENT ON FUNCTION reconciler_lives(text) IS 'The lifecycles of an organisation; null where none is given, which stands for every lifecycle.';

CREATE OR REPLACE FUNCTION reconciler_lifecycles(as_of_pass bigint, lives bigint[])
RETURNS TABLE (
    lifecycle_id bigint, zitadel_org_id text, tenant_name text, by_portal boolean, created_at timestamptz,
    created_not_before timestamptz, deleted_at timestamptz, deleted_not_before timestamptz, moved boolean)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT l.id, l.zitadel_org_id, l.tenant_name, l.created_pass_id IS NULL, l.created_at,
           coalesce(l.created_not_before, l.created_at), deletion.deleted_at, deletion.not_before,
           EXISTS (SELECT FROM reconciler_moves m WHERE m.lifecycle_id = l.id)
    FROM tenant_billing_lifecycle l
    -- The deletion on record, or one that a later pass withdrew.
    LEFT JOIN LATERAL (
        SELECT l.deleted_at, coalesce(l.deleted_not_before, l.deleted_at) AS not_before
        WHERE l.deleted_at IS NOT NULL AND (l.deleted_pass_id IS NULL OR l.deleted_pass_id <= as_of_pass)
        UNION ALL
        SELECT r.deleted_at, coalesce(r.deleted_not_before, r.deleted_at)
        FROM reconciler_reopenings r
        WHERE r.lifecycle_id = l.id AND r.pass_id > as_of_pass
          AND (r.deleted_pass_id IS NULL OR r.deleted_pass_id <= as_of_pass)
    ) deletion ON true
    WHERE (lives IS NULL OR l.id = ANY (lives)) AND (l.created_pass_id IS NULL OR l.created_pass_id <= as_of_pass)
$$;
COMMENT ON FUNCTION reconciler_lifecycles(bigint, bigint[]) IS 'The lifecycles as the ledger had them: by_portal where the portal wrote it, moved where it goes on from another org''s.';

CREATE OR REPLACE FUNCTION reconciler_time(
    counts boolean, occurred_at timestamptz, not_before timestamptz, time_source text, observed_at timestamptz, bound text)
RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN bound = 'least' AND counts THEN CASE WHEN time_source = 'creation' THEN observed_at ELSE occurred_at END
    WHEN bound = 'least' AND NOT counts OR bound = 'most' AND counts THEN coalesce(not_before, occurred_at)
    ELSE occurred_at END;
COMMENT ON FUNCTION reconciler_time(boolean, timestamptz, timestamptz, text, timestamptz, text) IS 'When a row counts from: at its best known time, or where its interval makes the days the least or the most. counts: days count from this row on.';

CREATE OR REPLACE FUNCTION reconciler_skill_spans(
    starts_at timestamptz, ends_at timestamptz, as_of_pass bigint, bound text, lives bigint[])
RETURNS TABLE (lifecycle_id bigint, skill_key text, span_start timestamptz, span_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH alive AS MATERIALIZED (
    SELECT l.lifecycle_id, l.tenant_name, l.by_portal FROM reconciler_lifecycles(as_of_pass, lives) l
    WHERE l.created_not_before < ends_at AND (l.deleted_at IS NULL OR l.deleted_at >= starts_at)
), event AS (
    -- The first rows of all skills, the later ones within the range, and all of the portal's; each with its place among
    -- the rows of its skill, odd where it switches on. Ours have it as their ordinal; the portal's come before, below 0.
    SELECT e.lifecycle_id, e.skill_key, e.ordinal AS place,
           reconciler_time(e.ordinal = 1, e.occurred_at, e.not_before, e.time_source, e.observed_at, bound) AS at
    FROM tenant_skill_events e
    WHERE e.ordinal <= 1
      AND e.lifecycle_id IN (SELECT alive.lifecycle_id FROM alive)
      AND CASE WHEN bound = 'best' THEN e.occurred_at ELSE e.not_before END < ends_at
      AND e.pass_id <= as_of_pass
    UNION ALL
    SELECT e.lifecycle_id, e.skill_key, e.ordinal,
           reconciler_time(e.ordinal % 2 = 1, e.occurred_at, e.not_before, e.time_source, e.observed_at, bound)
    FROM tenant_skill_events e
    WHERE e.ordinal >= 2 AND e.occurred_at >= starts_at
      AND (lives IS NULL OR e.lifecycle_id IN (SELECT alive.lifecycle_id FROM alive))
      AND CASE WHEN bound = 'best' THEN e.occurred_at ELSE e.not_before END < ends_at
      AND e.pass_id <= as_of_pass
    UNION ALL
    SELECT alive.lifecycle_id, e.skill_key,
           (2 * row_number() OVER (ORDER BY e.occurred_at, e.id) - 2000000000)::integer
               + (e.event_kind = 'enabled')::integer,
           e.occurred_at
    FROM alive
    JOIN reconciler_portal_lives() p ON p.lifecycle_id = alive.lifecycle_id
    JOIN tenant_skill_events e ON e.lifecycle_id IS NULL AND e.tenant_name = p.tenant_name AND e.occurred_at > p.after AND e.occurred_at <= p.until
    WHERE alive.by_portal AND e.occurred_at < ends_at
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
          AND e.pass_id <= as_of_pass
        ORDER BY e.occurred_at DESC, e.ordinal DESC LIMIT 1), true)
    END
$$;
COMMENT ON FUNCTION reconciler_skill_spans(timestamptz, timestamptz, bigint, text, bigint[]) IS 'When each skill was enabled within a range: [span_start, span_end); void where the end lies before the start. May overlap, and reach beyond the range.';

CREATE OR REPLACE FUNCTION reconciler_tenant_spans(
    starts_at timestamptz, ends_at timestamptz, as_of_pass bigint, bound text, lives bigint[])
RETURNS TABLE (lifecycle_id bigint, span_start timestamptz, span_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH alive AS MATERIALIZED (
    SELECT l.lifecycle_id, l.tenant_name, l.by_portal,
           greatest(CASE WHEN bound = 'most' THEN l.created_not_before ELSE l.created_at END, starts_at) AS since,
           -- A life of no length holds its instant.
           least(CASE WHEN l.deleted_at IS NOT NULL THEN greatest(
               CASE WHEN bound = 'least' THEN l.deleted_not_before ELSE l.deleted_at END,
               l.created_at + interval '1 microsecond') END, ends_at) AS until
    FROM reconciler_lifecycles(as_of_pass, lives) l
    WHERE l.created_not_before < ends_at AND (l.deleted_at IS NULL OR l.deleted_at >= starts_at)
), event AS (
    SELECT e.lifecycle_id, e.ordinal, e.id, e.event_kind = 'resumed' AS is_awake, e.occurred_at,
           reconciler_time(e.event_kind = 'resumed', e.occurred_at, e.not_before, e.time_source, e.observed_at, bound) AS at
    FROM tenant_suspension_events e
    WHERE e.lifecycle_id IS NOT NULL AND e.occurred_at > starts_at
      AND (lives IS NULL OR e.lifecycle_id IN (SELECT alive.lifecycle_id FROM alive))
      AND CASE WHEN bound = 'best' THEN e.occurred_at ELSE e.not_before END < ends_at
      AND e.pass_id <= as_of_pass
    UNION ALL
    SELECT alive.lifecycle_id, last.ordinal, last.id, last.is_awake, last.occurred_at, last.at
    FROM alive CROSS JOIN LATERAL (
        SELECT e.ordinal, e.id, e.event_kind = 'resumed' AS is_awake, e.occurred_at, e.occurred_at AS at
        FROM tenant_suspension_events e
        WHERE e.lifecycle_id = alive.lifecycle_id AND e.occurred_at <= starts_at
          AND e.pass_id <= as_of_pass
        ORDER BY e.occurred_at DESC, e.ordinal DESC LIMIT 1) last
    UNION ALL
    SELECT alive.lifecycle_id, NULL, e.id, e.event_kind = 'resumed', e.occurred_at, e.occurred_at
    FROM alive
    JOIN reconciler_portal_lives() p ON p.lifecycle_id = alive.lifecycle_id
    JOIN tenant_suspension_events e ON e.lifecycle_id IS NULL AND e.tenant_name = p.tenant_name AND e.occurred_at > p.after AND e.occurred_at <= p.until
    WHERE alive.by_portal AND e.occurred_at < ends_at
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
COMMENT ON FUNCTION reconciler_tenant_spans(timestamptz, timestamptz, bigint, text, bigint[]) IS 'When each tenant lived and was not suspended within a range: [span_start, span_end).';

CREATE OR REPLACE FUNCTION reconciler_moved(as_of_pass bigint, lives bigint[], starts_at timestamptz, ends_at timestamptz)
RETURNS TABLE (lifecycle_id bigint, later_id bigint) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE move AS MATERIALIZED (
        SELECT m.previous_lifecycle_id AS lifecycle_id, m.lifecycle_id AS later_id
        FROM reconciler_moves m JOIN tenant_billing_lifecycle l ON l.id = m.lifecycle_id
        WHERE m.pass_id <= as_of_pass
          AND l.created_at >= starts_at AND coalesce(l.created_not_before, l.created_at) < ends_at
    ), moved AS (
        SELECT move.* FROM move WHERE lives IS NULL OR move.lifecycle_id = ANY (lives)
        UNION ALL
        SELECT moved.lifecycle_id, move.later_id FROM moved JOIN move ON move.lifecycle_id = moved.later_id
    )
    SELECT moved.lifecycle_id, moved.later_id FROM moved
$$;
COMMENT ON FUNCTION reconciler_moved(bigint, bigint[], timestamptz, timestamptz) IS 'The lifecycles that ended in a move within a range, each with every lifecycle that its tenant moved to within it.';

CREATE OR REPLACE FUNCTION reconciler_days_of_lives(
    first_day date, to_day date, time_zone text, as_of_pass bigint, bound text, lives bigint[])
RETURNS TABLE (lifecycle_id bigint, item text, skill_id text, days varbit)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    length CONSTANT integer := to_day - first_day;
    midnights CONSTANT timestamptz[] := ARRAY(SELECT billing_midnight(first_day + n, time_zone) FROM generate_series(0, length) AS n);
    starts_at CONSTANT timestamptz := midnights[1];
    ends_at CONSTANT timestamptz := least(midnights[length + 1], (
        SELECT p.observed_at FROM reconciler_passes p WHERE p.id <= as_of_pass ORDER BY p.id DESC LIMIT 1));
    every_day CONSTANT varbit := repeat('1', length)::varbit;
BEGIN
    RETURN QUERY
    WITH tenant AS MATERIALIZED (
        SELECT t.lifecycle_id, t.span_start, t.span_end
        FROM reconciler_tenant_spans(starts_at, ends_at, as_of_pass, bound, lives) t
    ), span AS (
        SELECT t.lifecycle_id, NULL AS skill_key,
               width_bucket(t.span_start, midnights) AS first,
               width_bucket(t.span_end - interval '1 microsecond', midnights) AS last
        FROM tenant t
        UNION ALL
        SELECT s.lifecycle_id, s.skill_key,
               width_bucket(greatest(s.span_start, t.span_start), midnights),
               width_bucket(least(greatest(s.span_end, s.span_start + interval '1 microsecond'), t.span_end)
                            - interval '1 microsecond', midnights)
        FROM reconciler_skill_spans(starts_at, ends_at, as_of_pass, bound, lives) s
        JOIN tenant t ON t.lifecycle_id = s.lifecycle_id
         AND s.span_start <= s.span_end AND s.span_start < t.span_end
         AND greatest(s.span_end, s.span_start + interval '1 microsecond') > t.span_start
    ), counted AS (
        -- The days that a span touches, one bit each; those of several spans are these, or'ed.
        SELECT span.lifecycle_id, span.skill_key,
               bit_or(every_day << (length - 1 - span.last + span.first) >> (span.first - 1)) AS days
        FROM span GROUP BY span.lifecycle_id, span.skill_key
    )
    SELECT counted.lifecycle_id, CASE WHEN counted.skill_key IS NULL THEN 'monthly_fee' ELSE 'skill' END,
           CASE WHEN starts_with(counted.skill_key, 'sha256:') THEN (
               SELECT e.skill_id FROM tenant_skill_events e
               WHERE (e.lifecycle_id = counted.lifecycle_id OR e.lifecycle_id IS NULL)
                 AND e.skill_key = counted.skill_key LIMIT 1)
           ELSE counted.skill_key END,
           counted.days::varbit
    FROM counted
    UNION ALL
    SELECT l.lifecycle_id, 'setup_fee', NULL,
           (every_day << (length - 1) >> (width_bucket(l.created_at, midnights) - 1))::varbit
    FROM reconciler_lifecycles(as_of_pass, lives) l
    WHERE l.created_at >= starts_at AND l.created_at < ends_at AND NOT l.moved;
END
$$;
COMMENT ON FUNCTION reconciler_days_of_lives(date, date, text, bigint, text, bigint[]) IS 'The days that count in each lifecycle, whatever the tenant moved to: as reconciler_days, but for the day of a move.';

CREATE OR REPLACE FUNCTION reconciler_days(
    first_day date, to_day date, time_zone text, as_of_pass bigint, bound text, lives bigint[])
RETURNS TABLE (lifecycle_id bigint, item text, skill_id text, days varbit)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    starts_at CONSTANT timestamptz := billing_midnight(first_day, time_zone);
    ends_at CONSTANT timestamptz := billing_midnight(to_day, time_zone);
    moved_to CONSTANT bigint[] := ARRAY(SELECT m.later_id FROM reconciler_moved(as_of_pass, lives, starts_at, ends_at) m);
BEGIN
    IF moved_to = '{}' THEN
        RETURN QUERY SELECT * FROM reconciler_days_of_lives(first_day, to_day, time_zone, as_of_pass, bound, lives);
        RETURN;
    END IF;
    -- What counts for the organisations that a tenant moved to: the least of theirs where the most is asked for.
    RETURN QUERY
    WITH later AS (
        SELECT m.lifecycle_id, d.item, d.skill_id, bit_or(d.days)::varbit AS days
        FROM reconciler_moved(as_of_pass, lives, starts_at, ends_at) m
        JOIN reconciler_days_of_lives(
            first_day, to_day, time_zone, as_of_pass,
            CASE bound WHEN 'least' THEN 'most' WHEN 'most' THEN 'least' ELSE bound END, moved_to) d
          ON d.lifecycle_id = m.later_id AND d.item <> 'setup_fee'
        GROUP BY m.lifecycle_id, d.item, d.skill_id
    )
    SELECT d.lifecycle_id, d.item, d.skill_id, coalesce((d.days & ~ later.days)::varbit, d.days)
    FROM reconciler_days_of_lives(first_day, to_day, time_zone, as_of_pass, bound, lives) d
    LEFT JOIN later ON later.lifecycle_id = d.lifecycle_id AND later.item = d.item
                   AND later.skill_id IS NOT DISTINCT FROM d.skill_id
    WHERE later.days IS NULL OR bit_count(d.days & ~ later.days) > 0;
END
$$;
COMMENT ON FUNCTION reconciler_days(date, date, text, bigint, text, bigint[]) IS 'The days that count, one bit each, for each lifecycle and item that has any: monthly_fee (the tenant itself), skill, and setup_fee on the day of the creation.';
