-- midnights --
-- The first instant of each day, as billing_midnight() has it: where clocks go back over midnight, the
-- first of the two begins the day.
SELECT CASE WHEN ((day::timestamp AT TIME ZONE zone - interval '1 hour') AT TIME ZONE zone)::date = day
            THEN day::timestamp AT TIME ZONE zone - interval '1 hour'
            ELSE day::timestamp AT TIME ZONE zone END
FROM (SELECT %s::text AS zone) AS asked, unnest(%s::date[]) WITH ORDINALITY AS days (day, place)
ORDER BY place

-- date_at --
-- The calendar day at an instant.
SELECT (%s::timestamptz AT TIME ZONE %s::text)::date

-- zone --
-- A row if the time zone is known.
SELECT FROM pg_timezone_names WHERE name = %s
