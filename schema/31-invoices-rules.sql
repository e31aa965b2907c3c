-- What holds against every writer of the invoice tables: who may change what, and when.
--
-- What the triggers refuse is SQLSTATE 23001 with the trigger as constraint name.

CREATE OR REPLACE FUNCTION billing_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING
        ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$;
COMMENT ON FUNCTION billing_refuse() IS 'Trigger: refuses, for the reason that is its argument.';

CREATE OR REPLACE FUNCTION billing_freeze() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    once CONSTANT text[] := TG_ARGV[0];
    free CONSTANT text[] := TG_ARGV[1]::text[] || CASE WHEN to_jsonb(OLD) ->> 'status' = 'issued' THEN TG_ARGV[2]::text[] END;
    changed text;
BEGIN
    SELECT string_agg(old_row.key, ', ' ORDER BY old_row.key) INTO changed
    FROM jsonb_each(to_jsonb(OLD)) AS old_row
    INNER JOIN jsonb_each(to_jsonb(NEW)) AS new_row ON new_row.key = old_row.key
    WHERE
        new_row.value <> old_row.value
        AND old_row.key <> ALL (free)
        AND NOT (old_row.key = ANY (once) AND old_row.value = 'null')
        -- These follow the others: one is set by a trigger, the other not yet computed here.
        AND old_row.key NOT IN ('updated_at', 'pdf_sha256');
    IF changed IS NOT NULL THEN
        RAISE EXCEPTION '%: what was issued does not change: % of id %', TG_TABLE_NAME, changed, OLD.id USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_freeze() IS 'Trigger: no column changes, but those of the first argument once, from null, those of the second, and those of the third while the status is issued.';

CREATE OR REPLACE FUNCTION billing_issue_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    lines record;
    vat numeric;
BEGIN
    SELECT count(*), coalesce(sum(l.amount), 0) AS net,
           bool_and(CASE WHEN NEW.vat_rate IS NULL THEN l.vat_rate IS NOT NULL ELSE l.vat_rate IS NOT DISTINCT FROM NEW.vat_rate OR l.vat_rate IS NULL END) AS fits
    INTO lines FROM invoice_lines l WHERE l.invoice_id = NEW.id;
    IF lines.count = 0 OR lines.net <> NEW.net_amount THEN
        RAISE EXCEPTION 'invoices: id % cannot be issued: its net amount is % and its % lines add up to %',
            NEW.id, NEW.net_amount, lines.count, lines.net USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    vat := (SELECT sum(of_rate.vat) FROM (
        SELECT round(sum(l.amount) * coalesce(l.vat_rate, NEW.vat_rate) / 100, 2) AS vat
        FROM invoice_lines l WHERE l.invoice_id = NEW.id GROUP BY coalesce(l.vat_rate, NEW.vat_rate)) of_rate);
    IF NOT lines.fits OR vat <> NEW.vat_amount THEN
        RAISE EXCEPTION 'invoices: id % cannot be issued: its VAT is % at % percent, and that of its lines %', NEW.id, NEW.vat_amount,
            coalesce(NEW.vat_rate::text, 'several'), CASE WHEN lines.fits THEN vat::text ELSE 'has other rates' END USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    IF NEW.credits_invoice_id IS NULL AND reconciler_voided(NULL, NEW.as_of_pass) IS NOT NULL THEN
        RAISE EXCEPTION 'invoices: id % cannot be issued: as of pass %, %', NEW.id, NEW.as_of_pass, reconciler_voided(NULL, NEW.as_of_pass) USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME, HINT = 'Draft it again.';
    END IF;
    NEW.issued_at := coalesce(NEW.issued_at, now());
    NEW.issue_date := coalesce(NEW.issue_date, (NEW.issued_at AT TIME ZONE 'Europe/Zurich')::date);
    NEW.due_date := coalesce(NEW.due_date, NEW.issue_date + 30);
    NEW.number := coalesce(NEW.number, next_invoice_number(to_char(NEW.issue_date, 'YYYY')));
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_issue_invoice() IS 'Trigger: checks net amount and VAT against the lines; gives number, issue date and due date where they are not given.';

-- Writing to an invoice, and not just reading it, makes whoever does the same at the same time wait or fail, at every
-- isolation level. The invoice is gone already where its deletion takes the lines along.
CREATE OR REPLACE FUNCTION billing_guard_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids CONSTANT bigint[] := ARRAY[OLD.invoice_id, NEW.invoice_id];
    issued text;
BEGIN
    UPDATE invoices i SET updated_at = now() WHERE i.id = ANY (ids) AND i.status = 'draft';
    issued := (SELECT min(i.number) FROM invoices i WHERE i.id = ANY (ids) AND i.status <> 'draft');
    IF issued IS NOT NULL THEN
        RAISE EXCEPTION 'invoice_lines: invoice % is issued: its lines do not change', issued USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
COMMENT ON FUNCTION billing_guard_lines() IS 'Trigger: lines change only while their invoice is a draft.';

CREATE OR REPLACE FUNCTION billing_guard_credits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_safe CONSTANT boolean := reconciler_trust_names();
    credited invoices;
    net numeric;
    gross numeric;
    told text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status <> 'draft' THEN
            RETURN NEW;
        END IF;
    END IF;
    UPDATE invoices i SET updated_at = now() WHERE i.id = NEW.credits_invoice_id AND i.id <> NEW.id RETURNING i.* INTO credited;
    SELECT credited.net_amount + coalesce(sum(c.net_amount), 0), credited.gross_amount + coalesce(sum(c.gross_amount), 0)
    INTO net, gross
    FROM invoices c WHERE c.credits_invoice_id = credited.id AND c.id <> NEW.id AND c.status NOT IN ('draft', 'void');
    told := CASE
        -- Of an invoice that is not there the foreign key tells.
        WHEN credited.id IS NULL THEN NULL
        WHEN credited.credits_invoice_id IS NOT NULL THEN 'is a credit itself'
        WHEN credited.status IN ('draft', 'void') THEN 'is ' || credited.status
        WHEN credited.zitadel_org_id <> NEW.zitadel_org_id THEN 'is of another organisation'
        WHEN credited.currency <> NEW.currency THEN 'is in ' || credited.currency
        WHEN net + NEW.net_amount < 0 OR gross + NEW.gross_amount < 0
            THEN format('has %s left to credit, gross %s', net, gross)
        END;
    IF told IS NOT NULL THEN
        RAISE EXCEPTION 'invoices: id % cannot credit invoice id %, which %', NEW.id, credited.id, told USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_guard_credits() IS 'Trigger: a credit is of an issued invoice of the same organisation that is none itself, and of no more than is left of it.';

CREATE OR REPLACE FUNCTION billing_credited_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.credited_at := CASE
        WHEN NEW.credits_invoice_id IS NULL AND NEW.gross_amount > 0 AND NEW.gross_amount + (
            SELECT coalesce(sum(c.gross_amount), 0) FROM invoices c
            WHERE c.credits_invoice_id = NEW.id AND c.status NOT IN ('draft', 'void')) = 0
        THEN coalesce(OLD.credited_at, now()) END;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_credited_at() IS 'Trigger: credited_at is set exactly while the credits of an invoice come to the whole of it.';

CREATE OR REPLACE FUNCTION billing_credit_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE invoices i SET updated_at = now() WHERE i.id = NEW.credits_invoice_id;
    PERFORM reconciler_settle_invoice(NEW.credits_invoice_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION billing_credit_counts() IS 'Trigger: where a credit is issued or voided, its invoice has more or less left.';

CREATE OR REPLACE FUNCTION billing_guard_reminders() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    invoice invoices;
BEGIN
    -- The lock makes a payment at the same time wait; of an invoice that is not there the foreign key tells.
    SELECT i.* INTO invoice FROM invoices i WHERE i.id = NEW.invoice_id FOR SHARE;
    IF invoice.status <> 'issued' OR invoice.credited_at IS NOT NULL THEN
        RAISE EXCEPTION 'invoice_reminders: nothing to remind of: invoice id % is %', NEW.invoice_id,
            CASE WHEN invoice.credited_at IS NULL THEN invoice.status ELSE 'credited' END USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_guard_reminders() IS 'Trigger: reminders are for invoices that are issued and not paid.';

-- When they do it -------------------------------------------------------------------------------------------------
-- Triggers of one table and event run in the order of their names.

CREATE OR REPLACE TRIGGER invoice_number_counters_one_at_a_time BEFORE UPDATE ON invoice_number_counters
FOR EACH ROW WHEN (NEW.series <> OLD.series OR NEW.last_number <> OLD.last_number + 1)
EXECUTE FUNCTION billing_refuse('a counter goes up by one, and nowhere else');
CREATE OR REPLACE TRIGGER invoice_number_counters_kept BEFORE DELETE OR TRUNCATE ON invoice_number_counters
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('a counter is never deleted: its numbers would be given again');

CREATE OR REPLACE TRIGGER invoices_begin_as_draft BEFORE INSERT ON invoices
FOR EACH ROW WHEN (NEW.status <> 'draft')
EXECUTE FUNCTION billing_refuse('an invoice begins as a draft');
CREATE OR REPLACE TRIGGER invoices_a_status_follows BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (
    NEW.status <> OLD.status
    AND (OLD.status, NEW.status) NOT IN (
        ('draft', 'issued'),
        ('issued', 'paid'),
        ('issued', 'void'),
        ('issued', 'written_off'),
        ('written_off', 'paid'),
        -- A payment that was returned, or booked to the wrong invoice.
        ('paid', 'issued')
    )
    AND NOT (OLD.status = 'paid' AND NEW.status = 'written_off' AND OLD.written_off_at IS NOT NULL)
)
EXECUTE FUNCTION billing_refuse('no such change of status; see the comment on the column');
CREATE OR REPLACE TRIGGER invoices_b_issue BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status = 'draft' AND NEW.status <> 'draft')
EXECUTE FUNCTION billing_issue_invoice();
CREATE OR REPLACE TRIGGER invoices_b_credits BEFORE INSERT OR UPDATE ON invoices
FOR EACH ROW WHEN (NEW.credits_invoice_id IS NOT NULL)
EXECUTE FUNCTION billing_guard_credits();
CREATE OR REPLACE TRIGGER invoices_c_frozen BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status <> 'draft' AND NEW.status = OLD.status)
EXECUTE FUNCTION billing_freeze('{pdf, stripe_invoice_id, stripe_payment_intent_id}', '{}', '{due_date}');
CREATE OR REPLACE TRIGGER invoices_c_frozen_but_status BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status <> 'draft' AND NEW.status <> OLD.status)
EXECUTE FUNCTION billing_freeze(
    '{pdf, stripe_invoice_id, stripe_payment_intent_id}',
    '{status, paid_at, paid_via, payment_method_id, voided_at, written_off_at}'
);
CREATE OR REPLACE TRIGGER invoices_d_credited_at BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status <> 'draft')
EXECUTE FUNCTION billing_credited_at();
CREATE OR REPLACE TRIGGER invoices_credit_counts AFTER UPDATE ON invoices
FOR EACH ROW WHEN (NEW.credits_invoice_id IS NOT NULL AND NEW.status <> OLD.status)
EXECUTE FUNCTION billing_credit_counts();
CREATE OR REPLACE TRIGGER invoices_updated_at BEFORE UPDATE ON invoices
FOR EACH ROW EXECUTE FUNCTION billing_set_updated_at();
CREATE OR REPLACE TRIGGER invoices_kept BEFORE DELETE ON invoices
FOR EACH ROW WHEN (OLD.status <> 'draft')
EXECUTE FUNCTION billing_refuse('an issued invoice is never deleted');
CREATE OR REPLACE TRIGGER invoices_not_truncated BEFORE TRUNCATE ON invoices
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('an issued invoice is never deleted');

CREATE OR REPLACE TRIGGER invoice_lines_of_drafts BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines
FOR EACH ROW EXECUTE FUNCTION billing_guard_lines();
CREATE OR REPLACE TRIGGER invoice_lines_not_truncated BEFORE TRUNCATE ON invoice_lines
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('the lines of an issued invoice are never deleted');

CREATE OR REPLACE TRIGGER invoice_reminders_of_unpaid BEFORE INSERT ON invoice_reminders
FOR EACH ROW EXECUTE FUNCTION billing_guard_reminders();
CREATE OR REPLACE TRIGGER invoice_reminders_of_unpaid_when_sent BEFORE UPDATE ON invoice_reminders
FOR EACH ROW WHEN (OLD.sent_at IS NULL)
EXECUTE FUNCTION billing_guard_reminders();
CREATE OR REPLACE TRIGGER invoice_reminders_frozen BEFORE UPDATE ON invoice_reminders
FOR EACH ROW WHEN (OLD.sent_at IS NOT NULL)
EXECUTE FUNCTION billing_freeze('{pdf}', '{}');
DROP TRIGGER IF EXISTS invoice_reminders_kept ON invoice_reminders;
CREATE OR REPLACE TRIGGER invoice_reminders_sent_are_kept BEFORE DELETE ON invoice_reminders
FOR EACH ROW WHEN (OLD.sent_at IS NOT NULL)
EXECUTE FUNCTION billing_refuse('a reminder that was sent is never deleted');
CREATE OR REPLACE TRIGGER invoice_reminders_not_truncated BEFORE TRUNCATE ON invoice_reminders
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('a reminder that was sent is never deleted');
