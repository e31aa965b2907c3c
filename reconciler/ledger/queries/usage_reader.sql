-- The queries of usage_reader.py; see __init__.py. The reckoning itself is in schema/40-days.sql and 41-usage.sql.

-- lines --
-- The lines at a position, of these lifecycles, or of all: from day, to day, time zone, position, lifecycles, bounds, prices
-- of a day, by price.
SELECT to_char(u.month, 'YYYY-MM'), u.zitadel_org_id, u.tenant_name, u.lifecycle_id, u.item, u.skill_id,
       u.days, u.least_days, u.most_days, u.month_days,
       u.price_chf, u.amount_chf, u.least_amount_chf, u.most_amount_chf, u.priced,
       u.period_start, u.period_end, u.vat_rate_chli
FROM reconciler_lines(%s, %s, %s, %s, %s, %s, %s, %s) AS u

-- by_day --
-- For each day from one on, so many: the tenants that were billable on it, and their skills; of these lifecycles, or of
-- all.
SELECT %s::date + n, count(d.*) FILTER (WHERE d.item = 'monthly_fee'), count(d.*) FILTER (WHERE d.item = 'skill')
FROM generate_series(0, %s::integer - 1) AS n
LEFT JOIN reconciler_days(%s, %s, %s, %s, 'best', %s) d ON get_bit(d.days, n) = 1 AND d.item <> 'setup_fee'
GROUP BY n ORDER BY n

-- doubts --
-- What is in doubt at a position, but for what the lines tell: of a tenant by its name and its lifecycles, or of all.
SELECT d.kind, d.is_ready, d.zitadel_org_id, d.tenant_name, d.lifecycle_id, d.since, d.until
FROM reconciler_doubts(%s, %s, %s, %s, %s, %s, false) AS d
WHERE %s::text IS NULL OR d.tenant_name IS NULL OR d.tenant_name = %s OR d.lifecycle_id = ANY (%s)
ORDER BY d.is_ready, d.kind, d.since, d.tenant_name

-- last_look --
-- The last pass at a position, and the instant that it looked at.
SELECT id, observed_at FROM reconciler_passes WHERE id <= %s ORDER BY id DESC LIMIT 1

-- is_uncounted --
-- Whether Postgres has not counted the events yet, as for a while after a backfill: it takes the table for empty.
SELECT reltuples < 0 FROM pg_class WHERE oid = 'tenant_skill_events'::regclass

-- position --
-- The last pass or price change that was written by a time; null: of all.
SELECT reconciler_position_at(%s)

-- voided --
-- If passes up to a time or a position were voided: when, by whom and why.
SELECT reconciler_voided(%s, %s)

-- wait --
-- Waits for what is being written: it has its time already, and cannot be seen yet.
SELECT reconciler_await_writer()

-- written_until --
-- Whether this is a standby, and when the last pass or price was written that it knows of. What is being written on the
-- primary does not show on a standby, and comes after that.
SELECT pg_is_in_recovery(), reconciler_written_until()

-- org --
-- A row where the ledger knows the org: whether it has had a tenant.
SELECT EXISTS (SELECT FROM tenant_billing_lifecycle l WHERE l.zitadel_org_id = org.id)
FROM (SELECT %s::text AS id) org
WHERE EXISTS (SELECT FROM tenant_billing_lifecycle l WHERE l.zitadel_org_id = org.id)
   OR EXISTS (SELECT FROM org_billing_config c WHERE c.zitadel_org_id = org.id)

-- lives --
-- The lifecycles of an org, or null: of all.
SELECT reconciler_lives(%s)

-- tenant --
-- The lifecycles of a tenant, by its name or by a uid that it has or had, and the org of each.
SELECT id, zitadel_org_id FROM tenant_billing_lifecycle
WHERE tenant_name = %s OR tenant_uid = %s
   OR id IN (SELECT lifecycle_id FROM reconciler_rebindings WHERE old_uid = %s)
