-- The queries of report_reader.py; see __init__.py. The reckoning itself is in schema/40-days.sql.

-- days --
-- The days that count at a position, one bit each, for each lifecycle, item and skill that has any: from day, to day, time
-- zone, position, bound, org.
SELECT d.lifecycle_id, d.item, d.skill_id, d.days::text FROM reconciler_days(%s, %s, %s, %s, %s, reconciler_lives(%s)) d

-- midnights --
-- The first instant of each day from one to the other, both included.
SELECT billing_midnight(d::date, %s) FROM generate_series(%s::date, %s::date, interval '1 day') AS d ORDER BY d

-- fleet --
-- For each day between these midnights: how many tenants lived at its end, or at the last look, how many of them were
-- suspended then, and how many were created and deleted on it. Position (twice), first and last midnight, position,
-- midnights (twice).
WITH seen AS (
    SELECT p.observed_at AS until FROM reconciler_passes p WHERE p.id <= %s ORDER BY p.id DESC LIMIT 1
), lived AS MATERIALIZED (
    SELECT l.created_at, l.deleted_at FROM reconciler_lifecycles(%s, NULL) l
), span AS MATERIALIZED (
    SELECT s.span_start, s.span_end FROM seen, reconciler_tenant_spans(%s, least(%s, seen.until), %s, 'best', NULL) s
), day AS (
    SELECT n, least(next_day, seen.until) AS ends_at, starts_at
    FROM seen, unnest(%s::timestamptz[], (%s::timestamptz[])[2:]) WITH ORDINALITY AS of (starts_at, next_day, n)
    WHERE next_day IS NOT NULL AND starts_at <= seen.until
)
SELECT count(l.*) FILTER (WHERE l.deleted_at IS NULL OR l.deleted_at >= day.ends_at),
       count(l.*) FILTER (WHERE l.deleted_at IS NULL OR l.deleted_at >= day.ends_at)
           - (SELECT count(*) FROM span s WHERE s.span_start < min(day.ends_at) AND s.span_end >= min(day.ends_at)),
       count(l.*) FILTER (WHERE l.created_at >= day.starts_at),
       count(l.*) FILTER (WHERE l.deleted_at >= day.starts_at AND l.deleted_at < day.ends_at)
FROM day LEFT JOIN lived l ON l.created_at < day.ends_at
GROUP BY day.n ORDER BY day.n

-- active --
-- For each day of a period (length, from day, to day, time zone, position): how many tenants were billable on it.
SELECT count(d.*) FROM generate_series(0, %s::integer - 1) AS n
LEFT JOIN reconciler_days(%s, %s, %s, %s, 'best', NULL) d ON d.item = 'monthly_fee' AND get_bit(d.days, n) = 1
GROUP BY n ORDER BY n

-- digest --
-- The digest of the last pass at a position.
SELECT encode(d.digest, 'hex') FROM reconciler_digests d WHERE d.pass_id <= %s ORDER BY d.pass_id DESC LIMIT 1
