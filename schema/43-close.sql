-- Closing a period: its position, digest, prices and totals go on record.

CREATE OR REPLACE FUNCTION billing_close(
    from_day date, to_day date, org text DEFAULT NULL, time_zone text DEFAULT 'Europe/Zurich',
    closed_by text DEFAULT NULL, in_doubt boolean DEFAULT false, longest_gap interval DEFAULT '15 minutes')
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    at_pass bigint;
    number integer;
    written bigint;
    doubts jsonb;
    not_ready text;
BEGIN
    LOCK TABLE reconciler_closes IN SHARE ROW EXCLUSIVE MODE;
    at_pass := reconciler_asked(from_day, to_day, time_zone, org, 'best', NULL, NULL);
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(to_jsonb(d)) ORDER BY d.is_ready, d.kind, d.tenant_name, d.skill_id, d.since), '[]'),
           string_agg(DISTINCT d.kind || coalesce(' ' || d.tenant_name, ''), ', ')
               FILTER (WHERE NOT d.is_ready AND (d.kind = 'not-over' OR NOT coalesce(in_doubt, false)))
    INTO doubts, not_ready
    FROM reconciler_doubts(from_day, to_day, time_zone, at_pass, org, longest_gap) d;
    IF not_ready IS NOT NULL THEN
        RAISE EXCEPTION 'from % to %: not ready to be closed: %', from_day, to_day, not_ready USING
            ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'billing_doubts() has the reasons. With in_doubt what is quarantined or held goes on record as it counts now.';
    END IF;
    number := 1 + coalesce((
        SELECT max(c.revision) FROM reconciler_closes c
        WHERE (c.period_start, c.period_end, c.time_zone) = (from_day, to_day, billing_close.time_zone)
          AND c.zitadel_org_id IS NOT DISTINCT FROM org), 0);
    INSERT INTO reconciler_closes (
        period_start, period_end, time_zone, zitadel_org_id, revision, as_of_pass, observed_until, ledger_digest, prices, doubts,
        closed_at, closed_by, database_user)
    SELECT from_day, to_day, billing_close.time_zone, org, number, at_pass, p.observed_at,
           (SELECT d.digest FROM reconciler_digests d WHERE d.pass_id = p.id),
           (SELECT jsonb_agg(jsonb_build_object(
                       'column', v.column_name, 'skillId', v.skill_id, 'value', v.value::text,
                       'validFrom', nullif(v.valid_from, '-infinity'), 'validTo', nullif(v.valid_to, 'infinity'))
                       ORDER BY v.skill_id NULLS FIRST, v.column_name, v.valid_from)
            FROM reconciler_prices(at_pass) v WHERE v.valid_from < to_day AND v.valid_to > from_day AND v.value IS NOT NULL),
           doubts, clock_timestamp(), nullif(closed_by, ''), session_user
    FROM reconciler_passes p WHERE p.id <= at_pass ORDER BY p.id DESC LIMIT 1
    RETURNING id INTO written;
    INSERT INTO reconciler_close_totals (
        close_id, zitadel_org_id, month, vat_rate_chli, net_chf, vat_chf, gross_chf, net_before_chf)
    SELECT written, zitadel_org_id, month, vat_rate_chli, net.chf, vat.chf, net.chf + vat.chf,
           CASE WHEN number > 1 THEN coalesce(earlier.net_chf, 0.00) END
    FROM (
        SELECT l.zitadel_org_id, l.month, l.vat_rate_chli, sum(l.amount_chf) AS net_chf
        FROM reconciler_lines(from_day, to_day, billing_close.time_zone, at_pass, reconciler_lives(org), false, NULL, true) l GROUP BY 1, 2, 3
    ) now
    FULL JOIN (
        SELECT t.zitadel_org_id, t.month, t.vat_rate_chli, t.net_chf
        FROM reconciler_close_totals t JOIN reconciler_closes c ON c.id = t.close_id
        WHERE (c.period_start, c.period_end, c.time_zone, c.revision) = (from_day, to_day, billing_close.time_zone, number - 1)
          AND c.zitadel_org_id IS NOT DISTINCT FROM org
    ) earlier USING (zitadel_org_id, month, vat_rate_chli)
    CROSS JOIN LATERAL (SELECT coalesce(now.net_chf, 0.00) AS chf) net
    CROSS JOIN LATERAL (SELECT round(net.chf * vat_rate_chli / 100, 2) AS chf) vat;
    RETURN written;
END
$$;
COMMENT ON FUNCTION billing_close(date, date, text, text, text, boolean, interval) IS 'Closes a period, of one organisation or of all: records the position, the digest, the prices and the totals. Again: a new revision. Refuses a period that is not over and, unless in_doubt, one with quarantined or held tenants. Returns the number of the close.';
