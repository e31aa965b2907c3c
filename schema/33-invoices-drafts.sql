-- Drafts made from the ledger.

CREATE OR REPLACE FUNCTION total_invoice(invoice_id bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    net numeric;
    vat numeric;
    rates numeric[];
BEGIN
    SELECT coalesce(sum(of_rate.net), 0), coalesce(sum(round(of_rate.net * of_rate.rate / 100, 2)), 0), array_agg(of_rate.rate)
    INTO net, vat, rates
    FROM (
        SELECT coalesce(l.vat_rate, i.vat_rate) AS rate, sum(l.amount) AS net
        FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
        WHERE l.invoice_id = total_invoice.invoice_id GROUP BY 1
    ) of_rate;
    IF array_position(rates, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'invoice id % has lines of several rates of VAT, and one without', invoice_id
            USING ERRCODE = 'not_null_violation', HINT = 'Give that line its vat_rate.';
    END IF;
    UPDATE invoices i
    SET net_amount = net, vat_amount = vat, gross_amount = net + vat,
        vat_rate = CASE WHEN cardinality(rates) > 1 THEN NULL ELSE coalesce(rates[1], i.vat_rate) END
    WHERE i.id = total_invoice.invoice_id;
END
$$;
COMMENT ON FUNCTION total_invoice(bigint) IS 'Brings net, VAT and gross of a draft to what its lines add up to, after lines were added or changed.';

CREATE OR REPLACE FUNCTION draft_invoice(
    org text, period daterange, time_zone text DEFAULT 'Europe/Zurich', as_of_pass bigint DEFAULT NULL, in_doubt boolean DEFAULT false)
RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    from_day CONSTANT date := lower(period);
    to_day CONSTANT date := upper(period);
    closed reconciler_closes;
    at_pass bigint;
    not_ready text;
    made bigint;
BEGIN
    IF org IS NULL THEN
        RAISE EXCEPTION 'an invoice is of one organisation: expected org' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF as_of_pass IS NULL THEN
        SELECT c.* INTO closed FROM reconciler_closes c
        WHERE (c.period_start, c.period_end, c.time_zone) = (from_day, to_day, draft_invoice.time_zone)
          AND (c.zitadel_org_id = org OR c.zitadel_org_id IS NULL) AND reconciler_voided(NULL, c.as_of_pass) IS NULL
        ORDER BY c.zitadel_org_id NULLS LAST, c.revision DESC LIMIT 1;
    END IF;
    at_pass := reconciler_asked(from_day, to_day, time_zone, org, 'best', NULL, coalesce(as_of_pass, closed.as_of_pass));
    IF closed.id IS NULL THEN
        not_ready := (
            SELECT string_agg(DISTINCT d.kind || coalesce(' ' || d.tenant_name, ''), ', ')
            FROM reconciler_doubts(from_day, to_day, time_zone, at_pass, org, '15 minutes', false) d
            WHERE NOT d.is_ready AND NOT (coalesce(in_doubt, false) AND d.kind <> 'not-over'));
        IF not_ready IS NOT NULL THEN
            RAISE EXCEPTION '% from % to %: not ready to be invoiced: %', quote_literal(org), from_day, to_day, not_ready USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'billing_doubts() has the reasons. With in_doubt what is quarantined or held is invoiced as it counts now.';
        END IF;
    END IF;
    INSERT INTO invoices (zitadel_org_id, period_start, period_end, time_zone, vat_rate, pay_by_invoice, as_of_pass, close_id)
    SELECT org, from_day, to_day, draft_invoice.time_zone, v.value, coalesce(c.pay_by_invoice, false), at_pass, closed.id
    FROM reconciler_prices(at_pass) v LEFT JOIN org_billing_config c ON c.zitadel_org_id = org
    WHERE v.column_name = 'vat_rate_chli' AND v.valid_from < to_day AND v.valid_to >= to_day
    RETURNING id INTO made;
    INSERT INTO invoice_lines (
        invoice_id, position, kind, lifecycle_id, tenant_name, skill_id, description, period_start, period_end,
        quantity, out_of, unit_price, vat_rate, amount)
    SELECT made, l.position, l.kind, l.lifecycle_id, l.tenant_name, l.skill_id, l.description, l.period_start, l.period_end,
           l.quantity, l.out_of, l.unit_price, l.vat_rate, l.amount
    FROM billing_invoice_lines(org, from_day, to_day, time_zone, NULL, at_pass) l;
    PERFORM total_invoice(made);
    RETURN made;
END
$$;
COMMENT ON FUNCTION draft_invoice(text, daterange, text, bigint, boolean) IS 'Makes the draft of an organisation''s invoice for a period, with its lines, and returns its id: at the position of the period''s last close, else of the ledger now, or of as_of_pass. Refuses a period that is not ready.';

CREATE OR REPLACE FUNCTION reconciler_invoice_differences()
RETURNS TABLE (
    invoice_id bigint, number text, zitadel_org_id text, lifecycle_id bigint, tenant_name text, kind text, skill_id text,
    invoiced_quantity numeric, invoiced_chf numeric, reckoned_quantity numeric, reckoned_chf numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    invoice invoices;
BEGIN
    FOR invoice IN
        SELECT i.* FROM invoices i
        WHERE i.status NOT IN ('draft', 'void') AND i.credits_invoice_id IS NULL AND i.as_of_pass IS NOT NULL
          AND reconciler_voided(NULL, i.as_of_pass) IS NULL
        ORDER BY i.id
    LOOP
        RETURN QUERY
        SELECT invoice.id, invoice.number, invoice.zitadel_org_id, lifecycle_id, coalesce(i.tenant_name, r.tenant_name), kind, nullif(skill_id, ''),
               i.quantity, i.amount, r.quantity, r.amount
        FROM (
            SELECT l.lifecycle_id, l.kind, coalesce(l.skill_id, '') AS skill_id, l.period_start, l.period_end, l.unit_price, l.out_of,
                   max(l.tenant_name) AS tenant_name, sum(l.quantity) AS quantity, sum(l.amount) AS amount
            FROM invoice_lines l
            WHERE l.invoice_id = invoice.id AND l.kind IN ('setup_fee', 'monthly_fee', 'skill')
            GROUP BY 1, 2, 3, 4, 5, 6, 7
        ) i
        FULL JOIN (
            SELECT l.lifecycle_id, l.kind, coalesce(l.skill_id, '') AS skill_id, l.period_start, l.period_end, l.unit_price, l.out_of,
                   l.tenant_name, l.quantity, l.amount
            FROM billing_invoice_lines(
                invoice.zitadel_org_id, invoice.period_start, invoice.period_end, invoice.time_zone, NULL, invoice.as_of_pass) l
        ) r USING (lifecycle_id, kind, skill_id, period_start, period_end, unit_price, out_of)
        WHERE (i.quantity, i.amount) IS DISTINCT FROM (r.quantity, r.amount);
    END LOOP;
END
$$;
COMMENT ON FUNCTION reconciler_invoice_differences() IS 'The ledger''s lines of issued invoices that are not what their own position gives, with both figures; null: no such line.';
