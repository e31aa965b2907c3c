-- Months that were closed: what was known, at which prices, and what it came to. Closed again, a month has a new revision.

CREATE TABLE IF NOT EXISTS reconciler_closes (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    period_start   date NOT NULL,
    period_end     date NOT NULL,
    time_zone      text NOT NULL,
    zitadel_org_id text,
    revision       integer NOT NULL CHECK (revision >= 1),
    as_of_pass     bigint NOT NULL,
    observed_until timestamptz NOT NULL,
    ledger_digest  bytea,
    prices         jsonb NOT NULL,
    doubts         jsonb NOT NULL,
    closed_at      timestamptz NOT NULL,
    closed_by      text,
    database_user  text NOT NULL,
    CHECK (period_start < period_end),
    CONSTRAINT reconciler_closes_revision_key
        UNIQUE NULLS NOT DISTINCT (period_start, period_end, time_zone, zitadel_org_id, revision)
);
COMMENT ON TABLE reconciler_closes IS 'Months that were closed, a row a revision: the position in the ledger that all figures follow from. Append-only; written by billing_close().';
COMMENT ON COLUMN reconciler_closes.id IS 'Number of the close; invoices name it.';
COMMENT ON COLUMN reconciler_closes.period_start IS 'First day, in time_zone.';
COMMENT ON COLUMN reconciler_closes.period_end IS 'The day after the last.';
COMMENT ON COLUMN reconciler_closes.time_zone IS 'Whose calendar days are billed.';
COMMENT ON COLUMN reconciler_closes.zitadel_org_id IS 'The organisation that was closed alone; null: all.';
COMMENT ON COLUMN reconciler_closes.revision IS '1 for the first close of the period, one more for each later one.';
COMMENT ON COLUMN reconciler_closes.as_of_pass IS 'The position: all passes and prices up to this number count. Given to the functions it gives the same figures at any time.';
COMMENT ON COLUMN reconciler_closes.observed_until IS 'The instant that its last pass looked at.';
COMMENT ON COLUMN reconciler_closes.ledger_digest IS 'The digest of that pass (reconciler_digests); null where passes were not sealed yet.';
COMMENT ON COLUMN reconciler_closes.prices IS 'The prices that were valid in the period: [{"column", "skillId", "value", "validFrom", "validTo"}]; amounts are strings, as they are exact.';
COMMENT ON COLUMN reconciler_closes.doubts IS 'What was in doubt: the rows of billing_doubts().';
COMMENT ON COLUMN reconciler_closes.closed_at IS 'When, on the database''s clock.';
COMMENT ON COLUMN reconciler_closes.closed_by IS 'Who, where that was said.';
COMMENT ON COLUMN reconciler_closes.database_user IS 'The role that they connected as.';

CREATE TABLE IF NOT EXISTS reconciler_close_totals (
    close_id       bigint NOT NULL REFERENCES reconciler_closes (id),
    zitadel_org_id text NOT NULL,
    month          date NOT NULL,
    vat_rate_chli  numeric NOT NULL,
    net_chf        numeric NOT NULL,
    vat_chf        numeric NOT NULL,
    gross_chf      numeric NOT NULL,
    net_before_chf numeric,
    PRIMARY KEY (close_id, zitadel_org_id, month, vat_rate_chli)
);
COMMENT ON TABLE reconciler_close_totals IS 'What a close came to: a row for each organisation, month and rate of VAT. Append-only.';
COMMENT ON COLUMN reconciler_close_totals.close_id IS 'The close.';
COMMENT ON COLUMN reconciler_close_totals.zitadel_org_id IS 'The organisation.';
COMMENT ON COLUMN reconciler_close_totals.month IS 'First day of the calendar month.';
COMMENT ON COLUMN reconciler_close_totals.vat_rate_chli IS 'The rate, in percent.';
COMMENT ON COLUMN reconciler_close_totals.net_chf IS 'The sum of the lines at that rate, without VAT.';
COMMENT ON COLUMN reconciler_close_totals.vat_chf IS 'VAT on it, rounded half-up to 0.01.';
COMMENT ON COLUMN reconciler_close_totals.gross_chf IS 'The sum of the two.';
COMMENT ON COLUMN reconciler_close_totals.net_before_chf IS 'net_chf of the revision before; null in the first one.';

CREATE OR REPLACE TRIGGER reconciler_closes_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_closes EXECUTE FUNCTION reconciler_append_only();
CREATE OR REPLACE TRIGGER reconciler_close_totals_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler_close_totals EXECUTE FUNCTION reconciler_append_only();

CREATE OR REPLACE FUNCTION reconciler_billed_until() RETURNS date LANGUAGE plpgsql STABLE AS $$
DECLARE
    closed date := (SELECT max(c.period_end) FROM reconciler_closes c WHERE reconciler_voided(NULL, c.as_of_pass) IS NULL);
BEGIN
    -- The portal may have invoices of its own, in another shape; only ours are asked.
    IF EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('invoices') AND a.attname = 'credits_invoice_id' AND NOT a.attisdropped)
    THEN
        closed := greatest(closed, (SELECT max(i.period_end) FROM invoices i WHERE i.status NOT IN ('draft', 'void')));
    END IF;
    RETURN closed;
END
$$;
COMMENT ON FUNCTION reconciler_billed_until() IS 'The day after the last that was closed or invoiced, of any organisation; null: nothing was.';
