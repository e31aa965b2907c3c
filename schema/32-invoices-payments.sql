-- What was paid, and what happened to an issued invoice besides: rows that stay.

CREATE TABLE IF NOT EXISTS invoice_payments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL
        CONSTRAINT invoice_payments_invoice_fkey REFERENCES invoices (id),
    kind text NOT NULL DEFAULT 'payment'
        CONSTRAINT invoice_payments_kind_known CHECK (kind IN ('payment', 'refund', 'failed')),
    amount numeric(10,2) NOT NULL
        CONSTRAINT invoice_payments_amount_positive CHECK (amount > 0 AND amount <> 'NaN'),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    via text NOT NULL
        CONSTRAINT invoice_payments_via_named CHECK (via <> ''),
    payment_method_id bigint
        CONSTRAINT invoice_payments_method_fkey REFERENCES org_payment_methods (id),
    stripe_payment_intent_id text,
    reference text,
    note text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    database_user text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE invoice_payments IS 'Payments, refunds and failed attempts, a row each. The status of the invoice follows from them. Append-only.';
COMMENT ON COLUMN invoice_payments.id IS 'Our key.';
COMMENT ON COLUMN invoice_payments.invoice_id IS 'The invoice; of a credit, a refund is what settles it.';
COMMENT ON COLUMN invoice_payments.kind IS 'payment: money came. refund: it went back, by us or by the payer''s bank, or was booked here by mistake. failed: an attempt.';
COMMENT ON COLUMN invoice_payments.amount IS 'In the invoice''s currency; a part, the whole, or more.';
COMMENT ON COLUMN invoice_payments.occurred_at IS 'When it counts as made.';
COMMENT ON COLUMN invoice_payments.via IS 'bank_transfer, stripe, twint or what else there is.';
COMMENT ON COLUMN invoice_payments.payment_method_id IS 'The payment method that was charged.';
COMMENT ON COLUMN invoice_payments.stripe_payment_intent_id IS 'The Stripe payment intent (pi_…); of one payment, and of any number of attempts.';
COMMENT ON COLUMN invoice_payments.reference IS 'What the bank says of it.';
COMMENT ON COLUMN invoice_payments.note IS 'For people.';
COMMENT ON COLUMN invoice_payments.recorded_at IS 'When the row was made.';
COMMENT ON COLUMN invoice_payments.database_user IS 'The role that made it.';

CREATE INDEX IF NOT EXISTS invoice_payments_by_invoice ON invoice_payments (invoice_id);
CREATE INDEX IF NOT EXISTS invoice_payments_by_method ON invoice_payments (payment_method_id)
WHERE payment_method_id IS NOT NULL;
-- Stripe tells of a payment as often as it likes.
CREATE UNIQUE INDEX IF NOT EXISTS invoice_payments_intent_pays_once ON invoice_payments (stripe_payment_intent_id)
WHERE kind = 'payment';

CREATE TABLE IF NOT EXISTS invoice_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL
        CONSTRAINT invoice_events_invoice_fkey REFERENCES invoices (id),
    kind text NOT NULL
        CONSTRAINT invoice_events_kind_known CHECK (kind IN ('sent', 'due_date')),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    sent_to text
        CONSTRAINT invoice_events_sent_to_somebody CHECK (kind <> 'sent' OR coalesce(sent_to, '') <> ''),
    due_date_before date,
    due_date date,
    recorded_by text,
    database_user text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE invoice_events IS 'Each time that an invoice was sent, and each move of its due date. Append-only.';
COMMENT ON COLUMN invoice_events.id IS 'Our key.';
COMMENT ON COLUMN invoice_events.invoice_id IS 'The issued invoice.';
COMMENT ON COLUMN invoice_events.kind IS 'sent, written by whoever sent it; due_date, written by the database.';
COMMENT ON COLUMN invoice_events.occurred_at IS 'When.';
COMMENT ON COLUMN invoice_events.sent_to IS 'Where it was sent.';
COMMENT ON COLUMN invoice_events.due_date_before IS 'Of a moved due date: what it was.';
COMMENT ON COLUMN invoice_events.due_date IS 'And what it is since.';
COMMENT ON COLUMN invoice_events.recorded_by IS 'Who, where that was said: the setting reconciler.by of the transaction.';
COMMENT ON COLUMN invoice_events.database_user IS 'The role that did it.';

CREATE INDEX IF NOT EXISTS invoice_events_by_invoice ON invoice_events (invoice_id);

CREATE OR REPLACE FUNCTION reconciler_settle_invoice(settled_id bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    invoice invoices;
    last invoice_payments;
    paid numeric;
    owed numeric;
    is_settled boolean;
BEGIN
    SELECT i.* INTO invoice FROM invoices i WHERE i.id = settled_id;
    SELECT p.* INTO last FROM invoice_payments p WHERE p.invoice_id = invoice.id AND p.kind <> 'failed' ORDER BY p.id DESC LIMIT 1;
    IF last.id IS NULL THEN
        -- Who keeps no payments here sets the status alone.
        RETURN;
    END IF;
    paid := (SELECT sum(CASE p.kind WHEN 'payment' THEN p.amount ELSE -p.amount END)
             FROM invoice_payments p WHERE p.invoice_id = invoice.id AND p.kind <> 'failed');
    owed := invoice.gross_amount + (
        SELECT coalesce(sum(c.gross_amount), 0) FROM invoices c
        WHERE c.credits_invoice_id = invoice.id AND c.status NOT IN ('draft', 'void'));
    is_settled := CASE WHEN invoice.credits_invoice_id IS NULL THEN paid > 0 AND paid >= owed ELSE paid < 0 AND paid <= owed END;
    IF is_settled AND invoice.status IN ('issued', 'written_off') THEN
        UPDATE invoices i
        SET status = 'paid', paid_at = last.occurred_at, paid_via = last.via,
            payment_method_id = CASE WHEN last.via = 'stripe' THEN last.payment_method_id END
        WHERE i.id = invoice.id;
    ELSIF NOT is_settled AND invoice.status = 'paid' THEN
        UPDATE invoices i
        SET status = CASE WHEN i.written_off_at IS NULL THEN 'issued' ELSE 'written_off' END,
            paid_at = NULL, paid_via = NULL, payment_method_id = NULL
        WHERE i.id = invoice.id;
    END IF;
END
$$;
COMMENT ON FUNCTION reconciler_settle_invoice(bigint) IS 'Brings the status of an invoice to what its payments and credits say: paid once the payments, less refunds, come to what is owed.';

CREATE OR REPLACE FUNCTION billing_payment_counts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    invoice invoices;
    paid numeric;
    told text;
BEGIN
    -- Whoever pays the same invoice at the same time waits, or fails and tries again.
    UPDATE invoices i SET updated_at = now() WHERE i.id = NEW.invoice_id RETURNING i.* INTO invoice;
    paid := (SELECT coalesce(sum(CASE p.kind WHEN 'payment' THEN p.amount ELSE -p.amount END), 0)
             FROM invoice_payments p WHERE p.invoice_id = invoice.id AND p.kind <> 'failed');
    told := CASE
        WHEN invoice.status IN ('draft', 'void') THEN 'is ' || invoice.status
        WHEN NEW.kind = 'refund' AND invoice.credits_invoice_id IS NULL AND paid < 0 THEN format('was paid only %s', paid + NEW.amount)
        END;
    IF told IS NOT NULL THEN
        RAISE EXCEPTION 'invoice_payments: no % of %: invoice id % %', NEW.kind, NEW.amount, invoice.id, told USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    PERFORM reconciler_settle_invoice(invoice.id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION billing_payment_counts() IS 'Trigger: a payment is of an issued invoice, a refund of what was paid; the status follows.';

CREATE OR REPLACE FUNCTION billing_record_due_date() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM reconciler_trust_names();
    INSERT INTO invoice_events (invoice_id, kind, due_date_before, due_date, recorded_by)
    VALUES (NEW.id, 'due_date', OLD.due_date, NEW.due_date, nullif(current_setting('reconciler.by', true), ''));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION billing_record_due_date() IS 'Trigger: records a due date that moves.';

CREATE OR REPLACE FUNCTION billing_stamp_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.database_user := session_user;
    IF TG_TABLE_NAME = 'invoice_payments' THEN
        NEW.recorded_at := now();
    ELSIF NOT EXISTS (SELECT FROM invoices i WHERE i.id = NEW.invoice_id AND i.status <> 'draft') THEN
        RAISE EXCEPTION 'invoice_events: invoice id % is a draft, or none', NEW.invoice_id USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_stamp_event() IS 'Trigger: who and when are the database''s to say.';

CREATE OR REPLACE TRIGGER invoice_payments_stamp BEFORE INSERT ON invoice_payments
FOR EACH ROW EXECUTE FUNCTION billing_stamp_event();
CREATE OR REPLACE TRIGGER invoice_payments_settle AFTER INSERT ON invoice_payments
FOR EACH ROW EXECUTE FUNCTION billing_payment_counts();
CREATE OR REPLACE TRIGGER invoice_payments_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_payments
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('a payment stays on record: a refund takes it back');
CREATE OR REPLACE TRIGGER invoice_events_stamp BEFORE INSERT ON invoice_events
FOR EACH ROW EXECUTE FUNCTION billing_stamp_event();
CREATE OR REPLACE TRIGGER invoice_events_due_date_is_moved BEFORE INSERT ON invoice_events
FOR EACH ROW WHEN (NEW.kind = 'due_date' AND pg_trigger_depth() = 0)
EXECUTE FUNCTION billing_refuse('the database records a due date that moves: change invoices.due_date');
CREATE OR REPLACE TRIGGER invoice_events_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_events
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('what happened stays on record');
CREATE OR REPLACE TRIGGER invoices_due_date_moves AFTER UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status = 'issued' AND NEW.due_date IS DISTINCT FROM OLD.due_date)
EXECUTE FUNCTION billing_record_due_date();
