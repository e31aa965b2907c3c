-- Whether the figures of a period are ready to be billed, and what is in doubt in them.
--
-- | kind        | what is in doubt                                                                          | not ready |
-- |-------------|-------------------------------------------------------------------------------------------|-----------|
-- | not-over    | no pass has looked at all tenants since the period ended: days are missing                | yes       |
-- | quarantined | no pass since the period ended could read the tenant, or its org is not settled           | yes       |
-- | held        | the deletion of the tenant is held back: it counts as if it lived                         | yes       |
-- | unpriced    | a skill counts that has no price on some of its days: they are charged with 0             | no        |
-- | gap         | a change may have been made and undone unseen in it: see reconciler_gaps()                | no        |
-- | days        | the rows' intervals cross a day: least to most days are possible                          | no        |
--
-- What is not ready changes with the next passes or an operator's decision. The rest stays as it is, however long one waits.

CREATE OR REPLACE FUNCTION reconciler_doubts(
    from_day date, to_day date, time_zone text, as_of_pass bigint, org text, longest_gap interval, of_lines boolean DEFAULT true)
RETURNS TABLE (
    kind text, is_ready boolean, zitadel_org_id text, tenant_name text, lifecycle_id bigint, skill_id text,
    since timestamptz, until timestamptz, least_days integer, most_days integer)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    starts_at CONSTANT timestamptz := billing_midnight(from_day, time_zone);
    ends_at CONSTANT timestamptz := billing_midnight(to_day, time_zone);
    -- The first pass after the period that looked at all tenants, and the last one.
    closing reconciler_passes;
    last reconciler_passes;
BEGIN
    SELECT p.* INTO last FROM reconciler_passes p WHERE p.complete AND p.id <= as_of_pass ORDER BY p.id DESC LIMIT 1;
    SELECT p.* INTO closing FROM reconciler_passes p
    WHERE p.complete AND p.id <= as_of_pass AND p.observed_at >= ends_at ORDER BY p.id LIMIT 1;
    IF closing.id IS NULL THEN
        RETURN QUERY SELECT 'not-over', false, NULL, NULL, NULL::bigint, NULL, last.observed_at, ends_at, NULL::integer, NULL::integer;
    END IF;
    RETURN QUERY
    -- Those that no pass since could read: in the last one, and in every one since the period's end. Which org one without a
    -- lifecycle is of, nobody knows.
    SELECT listed.kind, false, l.zitadel_org_id, listed.name, l.id, NULL, coalesce(closing.observed_at, last.observed_at), NULL::timestamptz,
           NULL::integer, NULL::integer
    FROM (
        SELECT 'quarantined' AS kind, q ->> 'tenantName' AS name FROM jsonb_array_elements(last.quarantined) q
        UNION SELECT 'held', h ->> 'tenantName' FROM jsonb_array_elements(last.held_back) h
    ) listed
    LEFT JOIN LATERAL (
        SELECT l.id, l.zitadel_org_id, l.created_at, l.deleted_at FROM tenant_billing_lifecycle l
        WHERE l.tenant_name = listed.name AND (l.created_pass_id IS NULL OR l.created_pass_id <= as_of_pass)
        ORDER BY l.created_at DESC, l.id DESC LIMIT 1) l ON true
    WHERE (org IS NULL OR l.id IS NULL OR l.zitadel_org_id = org)
      AND (l.id IS NULL OR l.created_at < ends_at)
      AND NOT EXISTS (
          SELECT FROM reconciler_passes p
          WHERE p.complete AND p.id >= closing.id AND p.id < last.id
            AND NOT p.quarantined @> jsonb_build_array(jsonb_build_object('tenantName', listed.name))
            AND NOT p.held_back @> jsonb_build_array(jsonb_build_object('tenantName', listed.name)));
    RETURN QUERY
    SELECT 'gap', true, NULL, NULL, NULL::bigint, NULL, g.since, g.until, NULL::integer, NULL::integer
    FROM reconciler_gaps(coalesce(closing.id, last.id), starts_at, ends_at, longest_gap) g;
    IF NOT of_lines THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH line AS (
        SELECT u.* FROM reconciler_lines(from_day, to_day, time_zone, as_of_pass, reconciler_lives(org), true, NULL, true) u
    )
    SELECT 'unpriced', true, line.zitadel_org_id, line.tenant_name, line.lifecycle_id, line.skill_id,
           NULL::timestamptz, NULL::timestamptz, NULL::integer, NULL::integer
    FROM line WHERE NOT line.priced
    GROUP BY line.zitadel_org_id, line.tenant_name, line.lifecycle_id, line.skill_id
    UNION ALL
    SELECT 'days', true, line.zitadel_org_id, line.tenant_name, line.lifecycle_id, line.skill_id, NULL, NULL,
           sum(line.least_days)::integer, sum(line.most_days)::integer
    FROM line
    GROUP BY line.zitadel_org_id, line.tenant_name, line.lifecycle_id, line.item, line.skill_id
    HAVING sum(line.least_days) < sum(line.most_days);
END
$$;
COMMENT ON FUNCTION reconciler_doubts(date, date, text, bigint, text, interval, boolean) IS 'billing_doubts() at a position; without of_lines but for unpriced and days, which the lines tell as well.';

CREATE OR REPLACE FUNCTION billing_doubts(
    from_day date, to_day date, org text DEFAULT NULL, time_zone text DEFAULT 'Europe/Zurich',
    as_of timestamptz DEFAULT NULL, as_of_pass bigint DEFAULT NULL, longest_gap interval DEFAULT '15 minutes')
RETURNS TABLE (
    kind text, is_ready boolean, zitadel_org_id text, tenant_name text, lifecycle_id bigint, skill_id text,
    since timestamptz, until timestamptz, least_days integer, most_days integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_pass CONSTANT bigint := reconciler_asked(from_day, to_day, time_zone, org, 'best', as_of, as_of_pass);
BEGIN
    RETURN QUERY SELECT * FROM reconciler_doubts(from_day, to_day, time_zone, at_pass, org, longest_gap);
END
$$;
COMMENT ON FUNCTION billing_doubts(date, date, text, text, timestamptz, bigint, interval) IS 'What is in doubt in the figures of a period, a row each: not-over, quarantined and held with is_ready false, unpriced, gap and days with is_ready true. No row: nothing.';

CREATE OR REPLACE FUNCTION billing_ready(
    from_day date, to_day date, org text DEFAULT NULL, time_zone text DEFAULT 'Europe/Zurich',
    as_of timestamptz DEFAULT NULL, as_of_pass bigint DEFAULT NULL, longest_gap interval DEFAULT '15 minutes')
RETURNS TABLE (is_ready boolean, observed_until timestamptz, at_pass bigint, doubts bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_number CONSTANT bigint := reconciler_asked(from_day, to_day, time_zone, org, 'best', as_of, as_of_pass);
BEGIN
    RETURN QUERY
    SELECT coalesce(bool_and(d.is_ready), true),
           (SELECT p.observed_at FROM reconciler_passes p WHERE p.id <= at_number ORDER BY p.id DESC LIMIT 1),
           at_number, count(d.kind)
    FROM reconciler_doubts(from_day, to_day, time_zone, at_number, org, longest_gap) d;
END
$$;
COMMENT ON FUNCTION billing_ready(date, date, text, text, timestamptz, bigint, interval) IS 'Whether a period can be billed: it is fully observed, and no tenant is quarantined or held; how far it is observed, at which position, and how many things are in doubt all the same.';
