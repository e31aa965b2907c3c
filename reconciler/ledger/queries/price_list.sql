-- The queries of price_list.py; see __init__.py. The rules are in schema/22-price-history.sql.

-- prices --
-- The prices of a day.
SELECT column_name, skill_id, value FROM billing_prices(%s)

-- day_of --
-- The day of an instant, by default of now, in the billing zone of the database.
SELECT (coalesce(%s::timestamptz, clock_timestamp()) AT TIME ZONE 'Europe/Zurich')::date

-- unpriced --
-- The skills that some tenant has now and that have no price on a day.
SELECT DISTINCT skill_id COLLATE "C" FROM reconciler_state, unnest(skills) AS skill_id
WHERE skill_id NOT IN (SELECT p.skill_id FROM billing_prices(%s) p WHERE p.skill_id IS NOT NULL) ORDER BY 1

-- set --
-- Sets a price, and returns what was recorded; no row where it is so already.
SELECT number, previous, since, recorded_at, database_user FROM billing_set_price(%s, %s::numeric, %s::date, %s, %s)

-- until --
-- The day on which what was recorded for a day gives way to a later value; null: none is on record.
SELECT min(h.valid_from) FROM reconciler_price_history h
WHERE h.column_name = %s AND h.skill_id IS NOT DISTINCT FROM %s AND h.valid_from > coalesce(%s::date, '-infinity')

-- closed --
-- The closed months with days from a day on.
SELECT DISTINCT to_char(c.period_start, 'YYYY-MM') FROM reconciler_closes c
WHERE c.period_end > coalesce(%s::date, '-infinity') ORDER BY 1

-- history --
-- All that was recorded, of one skill or column or of all.
SELECT id, column_name, skill_id, previous, value, valid_from, recorded_at, recorded_by, database_user
FROM reconciler_price_history
WHERE %s::text IS NULL OR skill_id = %s OR column_name = %s
ORDER BY id

-- known_skill --
-- One row where a tenant ever had the skill.
SELECT FROM tenant_skill_events WHERE skill_id = %s::text LIMIT 1
