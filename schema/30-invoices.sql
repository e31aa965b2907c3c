-- What is sent to whoever pays: the numbers, the invoices, their lines, and the reminders.
--
-- An invoice is a draft until it is issued. A draft may be changed and deleted; an issued invoice and its lines never
-- change again, whoever asks. What goes on is its way from issued to paid, void or written off, and what comes to be
-- known only later: its PDF and its Stripe ids, once each. What was issued in error is voided, or credited by an
-- invoice of its own with negative amounts.
--
-- The PDF is kept in the row and not in an object store: it comes and goes with the invoice's own transaction and
-- backup, the same trigger keeps it from changing, and at some 100 kB each (which Postgres stores out of line, so
-- that reads without it do not pay for it) there is nothing to gain by a second store that can disagree.
--
-- Periods are half-open, in days of the billing zone: October is 2026-10-01 to 2026-11-01.
--
-- Each table is made with its key and then given its columns one by one, so that one made before by an older version
-- of this file is brought up by the same statements. A rule over several columns stands at the last of them.

-- Numbers ---------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS invoice_number_counters (
    series text PRIMARY KEY
);
ALTER TABLE invoice_number_counters
    ADD COLUMN IF NOT EXISTS last_number bigint NOT NULL
        CONSTRAINT invoice_number_counters_last_number_not_negative CHECK (last_number >= 0)
        CONSTRAINT invoice_number_counters_series_named CHECK (series <> '');
COMMENT ON TABLE invoice_number_counters IS 'The last invoice number taken, per series. next_invoice_number() counts.';
COMMENT ON COLUMN invoice_number_counters.series IS 'What the number begins with: the year of the issue date.';
COMMENT ON COLUMN invoice_number_counters.last_number IS 'The last number taken. A series that another system began is continued from what is inserted here.';

-- No gaps and no doubles, because the row stays locked until the transaction that took a number ends: the next caller
-- waits, and a rollback gives the number back. Call it as a statement of its own. In the SET list of an UPDATE that
-- has to wait for a row, Postgres may evaluate it twice, and a number is lost; issuing an invoice does it right.
-- (lpad alone would cut a number of seven digits to six.)
CREATE OR REPLACE FUNCTION next_invoice_number(
    series text DEFAULT to_char(now() AT TIME ZONE 'Europe/Zurich', 'YYYY')
) RETURNS text LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO invoice_number_counters AS counter (series, last_number)
    VALUES (next_invoice_number.series, 1)
    ON CONFLICT (series) DO UPDATE SET last_number = counter.last_number + 1
    RETURNING
        counter.series || '-'
        || lpad(counter.last_number::text, greatest(6, length(counter.last_number::text)), '0');
END;
COMMENT ON FUNCTION next_invoice_number(text) IS 'Takes the next number of a series (by default the year in Zurich), as 2026-000123: gapless, given back on rollback.';

-- Ways to pay -----------------------------------------------------------------------------------------------------

-- A payment method belongs to the organisation's Stripe customer. It is detached, not deleted: invoices name it.
CREATE TABLE IF NOT EXISTS org_payment_methods (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
ALTER TABLE org_payment_methods
    ADD COLUMN IF NOT EXISTS zitadel_org_id text NOT NULL
        CONSTRAINT org_payment_methods_org_fkey REFERENCES org_billing_config (zitadel_org_id),
    ADD COLUMN IF NOT EXISTS stripe_payment_method_id text NOT NULL
        CONSTRAINT org_payment_methods_stripe_payment_method_id_key UNIQUE
        CONSTRAINT org_payment_methods_stripe_named CHECK (stripe_payment_method_id <> ''),
    ADD COLUMN IF NOT EXISTS type text NOT NULL DEFAULT 'card'
        CONSTRAINT org_payment_methods_type_named CHECK (type <> ''),
    ADD COLUMN IF NOT EXISTS brand text,
    ADD COLUMN IF NOT EXISTS last4 text
        CONSTRAINT org_payment_methods_last4_is_four CHECK (last4 ~ '^[0-9A-Za-z]{4}$'),
    ADD COLUMN IF NOT EXISTS exp_month smallint
        CONSTRAINT org_payment_methods_exp_month_in_year CHECK (exp_month BETWEEN 1 AND 12),
    ADD COLUMN IF NOT EXISTS exp_year smallint
        CONSTRAINT org_payment_methods_exp_year_has_century CHECK (exp_year BETWEEN 2000 AND 2999)
        CONSTRAINT org_payment_methods_exp_whole CHECK ((exp_month IS NULL) = (exp_year IS NULL)),
    ADD COLUMN IF NOT EXISTS is_default boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS detached_at timestamptz
        CONSTRAINT org_payment_methods_detached_after_created CHECK (detached_at >= created_at)
        CONSTRAINT org_payment_methods_default_is_attached CHECK (NOT is_default OR detached_at IS NULL);
COMMENT ON TABLE org_payment_methods IS 'The payment methods that Stripe holds for an organisation. No card data: only what a person tells them apart by.';
COMMENT ON COLUMN org_payment_methods.id IS 'Our key.';
COMMENT ON COLUMN org_payment_methods.zitadel_org_id IS 'The organisation whose Stripe customer it is attached to.';
COMMENT ON COLUMN org_payment_methods.stripe_payment_method_id IS 'The Stripe payment method (pm_…).';
COMMENT ON COLUMN org_payment_methods.type IS 'Stripe''s type: card, twint, sepa_debit and so on.';
COMMENT ON COLUMN org_payment_methods.brand IS 'Of a card: visa, mastercard and so on; else null.';
COMMENT ON COLUMN org_payment_methods.last4 IS 'The last four characters of the card''s or account''s number.';
COMMENT ON COLUMN org_payment_methods.exp_month IS 'Of a card: the month it expires after, 1 to 12.';
COMMENT ON COLUMN org_payment_methods.exp_year IS 'Of a card: the year it expires in, four digits.';
COMMENT ON COLUMN org_payment_methods.is_default IS 'The one that is charged; at most one an organisation.';
COMMENT ON COLUMN org_payment_methods.created_at IS 'When it was attached.';
COMMENT ON COLUMN org_payment_methods.detached_at IS 'When it was taken away; null while it can be charged.';

CREATE INDEX IF NOT EXISTS org_payment_methods_by_org ON org_payment_methods (zitadel_org_id);
CREATE UNIQUE INDEX IF NOT EXISTS org_payment_methods_one_default
ON org_payment_methods (zitadel_org_id) WHERE is_default;

-- Invoices --------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
ALTER TABLE invoices
    ADD COLUMN IF NOT EXISTS zitadel_org_id text NOT NULL
        CONSTRAINT invoices_org_named CHECK (zitadel_org_id <> ''),
    ADD COLUMN IF NOT EXISTS status text NOT NULL DEFAULT 'draft'
        CONSTRAINT invoices_status_known CHECK (status IN ('draft', 'issued', 'paid', 'void', 'written_off')),
    ADD COLUMN IF NOT EXISTS number text
        CONSTRAINT invoices_number_key UNIQUE
        CONSTRAINT invoices_number_from_issue_on CHECK ((number IS NULL) = (status = 'draft')),
    ADD COLUMN IF NOT EXISTS credits_invoice_id bigint
        CONSTRAINT invoices_credits_invoice_fkey REFERENCES invoices (id)
        CONSTRAINT invoices_credits_another CHECK (credits_invoice_id <> id),
    ADD COLUMN IF NOT EXISTS period_start date NOT NULL,
    ADD COLUMN IF NOT EXISTS period_end date NOT NULL
        CONSTRAINT invoices_period_forward CHECK (period_start < period_end),
    ADD COLUMN IF NOT EXISTS currency char(3) NOT NULL DEFAULT 'CHF'
        CONSTRAINT invoices_currency_payable CHECK (currency IN ('CHF', 'EUR')),
    ADD COLUMN IF NOT EXISTS net_amount numeric(10,2) NOT NULL DEFAULT 0
        CONSTRAINT invoices_net_amount_is_a_number CHECK (net_amount <> 'NaN')
        CONSTRAINT invoices_only_credits_are_negative
        CHECK (CASE WHEN credits_invoice_id IS NULL THEN net_amount >= 0 ELSE net_amount <= 0 END),
    ADD COLUMN IF NOT EXISTS vat_rate numeric(5,2) NOT NULL
        CONSTRAINT invoices_vat_rate_in_percent CHECK (vat_rate BETWEEN 0 AND 100),
    ADD COLUMN IF NOT EXISTS vat_amount numeric(10,2) NOT NULL DEFAULT 0
        CONSTRAINT invoices_vat_is_rate_of_net CHECK (vat_amount = round(net_amount * vat_rate / 100, 2)),
    ADD COLUMN IF NOT EXISTS gross_amount numeric(10,2) NOT NULL DEFAULT 0
        CONSTRAINT invoices_gross_is_net_and_vat CHECK (gross_amount = net_amount + vat_amount),
    ADD COLUMN IF NOT EXISTS issued_at timestamptz
        CONSTRAINT invoices_issued_at_from_issue_on CHECK ((issued_at IS NULL) = (status = 'draft')),
    ADD COLUMN IF NOT EXISTS issue_date date
        CONSTRAINT invoices_issue_date_from_issue_on CHECK (issue_date IS NOT NULL OR status = 'draft'),
    ADD COLUMN IF NOT EXISTS due_date date
        CONSTRAINT invoices_due_date_from_issue_on CHECK (due_date IS NOT NULL OR status = 'draft')
        CONSTRAINT invoices_due_after_issue CHECK (issue_date <= due_date),
    ADD COLUMN IF NOT EXISTS pay_by_invoice boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS qr_reference text
        CONSTRAINT invoices_qr_reference_key UNIQUE
        CONSTRAINT invoices_qr_reference_form
        CHECK (qr_reference ~ '^[0-9]{27}$' OR qr_reference ~ '^RF[0-9]{2}[0-9A-Z]{1,21}$'),
    ADD COLUMN IF NOT EXISTS billing_name text
        CONSTRAINT invoices_billing_name_from_issue_on CHECK (coalesce(billing_name, '') <> '' OR status = 'draft'),
    ADD COLUMN IF NOT EXISTS billing_street text,
    ADD COLUMN IF NOT EXISTS billing_building_number text,
    ADD COLUMN IF NOT EXISTS billing_postal_code text,
    ADD COLUMN IF NOT EXISTS billing_town text,
    ADD COLUMN IF NOT EXISTS billing_country char(2) NOT NULL DEFAULT 'CH'
        CONSTRAINT invoices_billing_country_code CHECK (billing_country ~ '^[A-Z]{2}$'),
    ADD COLUMN IF NOT EXISTS billing_email text,
    ADD COLUMN IF NOT EXISTS billing_vat_number text,
    ADD COLUMN IF NOT EXISTS paid_at timestamptz
        CONSTRAINT invoices_paid_at_when_paid CHECK ((paid_at IS NOT NULL) = (status = 'paid')),
    ADD COLUMN IF NOT EXISTS paid_via text
        CONSTRAINT invoices_paid_via_known CHECK (paid_via IN ('bank_transfer', 'stripe', 'other'))
        CONSTRAINT invoices_paid_via_when_paid CHECK (paid_via IS NULL OR status = 'paid'),
    ADD COLUMN IF NOT EXISTS payment_method_id bigint
        CONSTRAINT invoices_payment_method_fkey REFERENCES org_payment_methods (id)
        CONSTRAINT invoices_payment_method_is_of_stripe
        CHECK (payment_method_id IS NULL OR paid_via IS NOT DISTINCT FROM 'stripe'),
    ADD COLUMN IF NOT EXISTS voided_at timestamptz
        CONSTRAINT invoices_voided_at_when_void CHECK ((voided_at IS NOT NULL) = (status = 'void')),
    ADD COLUMN IF NOT EXISTS written_off_at timestamptz
        CONSTRAINT invoices_written_off_at_when_written_off
        CHECK (written_off_at IS NOT NULL OR status <> 'written_off')
        CONSTRAINT invoices_written_off_then_at_most_paid
        CHECK (written_off_at IS NULL OR status IN ('written_off', 'paid')),
    ADD COLUMN IF NOT EXISTS stripe_invoice_id text
        CONSTRAINT invoices_stripe_invoice_id_key UNIQUE,
    ADD COLUMN IF NOT EXISTS stripe_payment_intent_id text
        CONSTRAINT invoices_stripe_payment_intent_id_key UNIQUE,
    ADD COLUMN IF NOT EXISTS pdf bytea
        CONSTRAINT invoices_pdf_size CHECK (octet_length(pdf) BETWEEN 1 AND 20 * 1024 * 1024)
        CONSTRAINT invoices_pdf_shows_a_number CHECK (pdf IS NULL OR status <> 'draft'),
    ADD COLUMN IF NOT EXISTS pdf_sha256 bytea GENERATED ALWAYS AS (sha256(pdf)) STORED,
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();
COMMENT ON TABLE invoices IS 'Invoices and credits. Once issued they do not change; only payment, voiding, the PDF and Stripe ids are added.';
COMMENT ON COLUMN invoices.id IS 'Our key; drafts have no number yet.';
COMMENT ON COLUMN invoices.zitadel_org_id IS 'The organisation that pays. No foreign key: an invoice is kept for ten years, longer than some organisations.';
COMMENT ON COLUMN invoices.status IS 'draft > issued > paid, void or written_off; written_off > paid; paid > issued where a payment came back. Overdue is not a status: it is issued with due_date past.';
COMMENT ON COLUMN invoices.number IS 'As 2026-000123. Given when the status becomes issued, unless it is given then.';
COMMENT ON COLUMN invoices.credits_invoice_id IS 'The invoice that this one credits, with negative amounts; null for an ordinary invoice.';
COMMENT ON COLUMN invoices.period_start IS 'First day of the period that is billed, in the billing zone.';
COMMENT ON COLUMN invoices.period_end IS 'The day after its last.';
COMMENT ON COLUMN invoices.currency IS 'ISO 4217; one that a QR-bill can carry.';
COMMENT ON COLUMN invoices.net_amount IS 'Without VAT: the sum of the lines, which issuing checks.';
COMMENT ON COLUMN invoices.vat_rate IS 'In percent, as it was at the time of issue: 8.10 is 8.1 %.';
COMMENT ON COLUMN invoices.vat_amount IS 'vat_rate of net_amount, rounded half-up to 0.01.';
COMMENT ON COLUMN invoices.gross_amount IS 'net_amount + vat_amount: what is to be paid.';
COMMENT ON COLUMN invoices.issued_at IS 'The instant of issue; null in drafts.';
COMMENT ON COLUMN invoices.issue_date IS 'The date on the document: by default the day of issued_at in Zurich.';
COMMENT ON COLUMN invoices.due_date IS 'Payable until the end of this day: by default 30 days after issue_date.';
COMMENT ON COLUMN invoices.pay_by_invoice IS 'The organisation''s setting at the time: true, the document has a QR-bill; false, Stripe charges.';
COMMENT ON COLUMN invoices.qr_reference IS 'The payment reference of the QR-bill: 27 digits (QR reference) or RF… (ISO 11649). It finds the invoice of a payment.';
COMMENT ON COLUMN invoices.billing_name IS 'Who is billed, as on the document. The billing_ columns are a copy: a later move changes no invoice.';
COMMENT ON COLUMN invoices.billing_street IS 'Street, without the number (QR-bills take addresses in parts only).';
COMMENT ON COLUMN invoices.billing_building_number IS 'Building number.';
COMMENT ON COLUMN invoices.billing_postal_code IS 'Postal code, without country.';
COMMENT ON COLUMN invoices.billing_town IS 'Town.';
COMMENT ON COLUMN invoices.billing_country IS 'ISO 3166-1, two letters.';
COMMENT ON COLUMN invoices.billing_email IS 'Where it was sent.';
COMMENT ON COLUMN invoices.billing_vat_number IS 'The customer''s VAT number, as CHE-123.456.789 MWST; null if none.';
COMMENT ON COLUMN invoices.paid_at IS 'When the payment counts as made; set exactly while the status is paid.';
COMMENT ON COLUMN invoices.paid_via IS 'How it was paid: bank_transfer, stripe or other.';
COMMENT ON COLUMN invoices.payment_method_id IS 'The payment method that Stripe charged.';
COMMENT ON COLUMN invoices.voided_at IS 'When it was voided; set exactly while the status is void.';
COMMENT ON COLUMN invoices.written_off_at IS 'When it was given up as bad debt; stays where it is paid after all.';
COMMENT ON COLUMN invoices.stripe_invoice_id IS 'The Stripe invoice (in_…), once there is one.';
COMMENT ON COLUMN invoices.stripe_payment_intent_id IS 'The Stripe payment intent (pi_…), once there is one.';
COMMENT ON COLUMN invoices.pdf IS 'The document as sent; attached once, after issue, because it shows the number.';
COMMENT ON COLUMN invoices.pdf_sha256 IS 'SHA-256 of the PDF, computed by the database.';
COMMENT ON COLUMN invoices.created_at IS 'When the draft was made.';
COMMENT ON COLUMN invoices.updated_at IS 'Last write to the invoice or, while a draft, to its lines.';

-- The same period is not billed twice, however often billing runs; a void invoice makes room for its replacement.
CREATE UNIQUE INDEX IF NOT EXISTS invoices_one_per_period ON invoices (zitadel_org_id, period_start, period_end)
WHERE status <> 'void' AND credits_invoice_id IS NULL;
CREATE INDEX IF NOT EXISTS invoices_by_org ON invoices (zitadel_org_id, period_start);
CREATE INDEX IF NOT EXISTS invoices_open_by_due_date ON invoices (due_date) WHERE status = 'issued';
CREATE INDEX IF NOT EXISTS invoices_by_credited ON invoices (credits_invoice_id)
WHERE credits_invoice_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS invoices_by_payment_method ON invoices (payment_method_id)
WHERE payment_method_id IS NOT NULL;

-- Lines -----------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS invoice_lines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
ALTER TABLE invoice_lines
    ADD COLUMN IF NOT EXISTS invoice_id bigint NOT NULL
        CONSTRAINT invoice_lines_invoice_fkey REFERENCES invoices (id) ON DELETE CASCADE,
    ADD COLUMN IF NOT EXISTS position integer NOT NULL
        CONSTRAINT invoice_lines_position_counts_from_one CHECK (position >= 1),
    ADD COLUMN IF NOT EXISTS kind text NOT NULL
        CONSTRAINT invoice_lines_kind_known
        CHECK (kind IN ('monthly_fee', 'setup_fee', 'skill', 'threema_message', 'adjustment')),
    ADD COLUMN IF NOT EXISTS lifecycle_id bigint
        CONSTRAINT invoice_lines_lifecycle_fkey REFERENCES tenant_billing_lifecycle (id),
    ADD COLUMN IF NOT EXISTS tenant_name text
        CONSTRAINT invoice_lines_tenant_named
        CHECK (
            kind NOT IN ('monthly_fee', 'setup_fee', 'skill')
            OR (tenant_name IS NOT NULL AND lifecycle_id IS NOT NULL)
        ),
    ADD COLUMN IF NOT EXISTS skill_id text
        CONSTRAINT invoice_lines_skill_named CHECK (kind <> 'skill' OR skill_id IS NOT NULL)
        CONSTRAINT invoice_lines_skill_only_where_sold CHECK (skill_id IS NULL OR kind IN ('skill', 'adjustment')),
    ADD COLUMN IF NOT EXISTS description text NOT NULL
        CONSTRAINT invoice_lines_described CHECK (description <> ''),
    ADD COLUMN IF NOT EXISTS period_start date,
    ADD COLUMN IF NOT EXISTS period_end date
        CONSTRAINT invoice_lines_period_whole CHECK ((period_start IS NULL) = (period_end IS NULL))
        CONSTRAINT invoice_lines_period_forward CHECK (period_start < period_end),
    ADD COLUMN IF NOT EXISTS quantity numeric NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS out_of numeric NOT NULL DEFAULT 1
        CONSTRAINT invoice_lines_out_of_positive CHECK (out_of > 0 AND out_of < 'Infinity'),
    ADD COLUMN IF NOT EXISTS unit_price numeric(10,5) NOT NULL,
    ADD COLUMN IF NOT EXISTS amount numeric(10,2) NOT NULL
        CONSTRAINT invoice_lines_amount_is_a_number CHECK (amount <> 'NaN')
        CONSTRAINT invoice_lines_amount_is_price_of_quantity
        CHECK (amount = round(unit_price * quantity / nullif(out_of, 0), 2)),
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now();
COMMENT ON TABLE invoice_lines IS 'What an invoice adds up. Lines change only while their invoice is a draft.';
COMMENT ON COLUMN invoice_lines.id IS 'Our key.';
COMMENT ON COLUMN invoice_lines.invoice_id IS 'The invoice; a deleted draft takes its lines along.';
COMMENT ON COLUMN invoice_lines.position IS 'The place on the document, from 1.';
COMMENT ON COLUMN invoice_lines.kind IS 'monthly_fee, setup_fee, skill or threema_message as in the price tables; adjustment is anything else, of either sign.';
COMMENT ON COLUMN invoice_lines.lifecycle_id IS 'The billed life of the tenant that this is for; null where it is the organisation''s as a whole.';
COMMENT ON COLUMN invoice_lines.tenant_name IS 'That tenant''s name, as on the document.';
COMMENT ON COLUMN invoice_lines.skill_id IS 'The skill, for kind skill; also of an adjustment to one.';
COMMENT ON COLUMN invoice_lines.description IS 'The text on the document.';
COMMENT ON COLUMN invoice_lines.period_start IS 'First day of what the line is for; null where it has no period.';
COMMENT ON COLUMN invoice_lines.period_end IS 'The day after its last.';
COMMENT ON COLUMN invoice_lines.quantity IS 'Months, days, messages or pieces, after the kind; negative in a credit.';
COMMENT ON COLUMN invoice_lines.out_of IS 'For proration: 17 of 31 days of a monthly fee are quantity 17, out_of 31, which is exact. Else 1.';
COMMENT ON COLUMN invoice_lines.unit_price IS 'Price of one, without VAT, as it was at the time of issue.';
COMMENT ON COLUMN invoice_lines.amount IS 'unit_price * quantity / out_of, without VAT, rounded half-up (away from zero) to 0.01.';
COMMENT ON COLUMN invoice_lines.created_at IS 'When the line was made.';

CREATE UNIQUE INDEX IF NOT EXISTS invoice_lines_by_invoice ON invoice_lines (invoice_id, position);
CREATE INDEX IF NOT EXISTS invoice_lines_by_lifecycle ON invoice_lines (lifecycle_id)
WHERE lifecycle_id IS NOT NULL;

-- Reminders -------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS invoice_reminders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
ALTER TABLE invoice_reminders
    ADD COLUMN IF NOT EXISTS invoice_id bigint NOT NULL
        CONSTRAINT invoice_reminders_invoice_fkey REFERENCES invoices (id),
    ADD COLUMN IF NOT EXISTS level smallint NOT NULL
        CONSTRAINT invoice_reminders_level_known CHECK (level BETWEEN 1 AND 3),
    ADD COLUMN IF NOT EXISTS sent_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS sent_to text,
    ADD COLUMN IF NOT EXISTS fee numeric(10,2) NOT NULL DEFAULT 0
        CONSTRAINT invoice_reminders_fee_not_negative CHECK (fee >= 0 AND fee <> 'NaN'),
    ADD COLUMN IF NOT EXISTS due_date date NOT NULL,
    ADD COLUMN IF NOT EXISTS pdf bytea
        CONSTRAINT invoice_reminders_pdf_size CHECK (octet_length(pdf) BETWEEN 1 AND 20 * 1024 * 1024),
    ADD COLUMN IF NOT EXISTS pdf_sha256 bytea GENERATED ALWAYS AS (sha256(pdf)) STORED;
COMMENT ON TABLE invoice_reminders IS 'Reminders sent for unpaid invoices. What was sent does not change.';
COMMENT ON COLUMN invoice_reminders.id IS 'Our key.';
COMMENT ON COLUMN invoice_reminders.invoice_id IS 'The invoice that it reminds of: issued and not paid when it was sent.';
COMMENT ON COLUMN invoice_reminders.level IS '1 is friendly, 3 the last before debt collection; each once an invoice.';
COMMENT ON COLUMN invoice_reminders.sent_at IS 'When it was sent.';
COMMENT ON COLUMN invoice_reminders.sent_to IS 'Where it was sent.';
COMMENT ON COLUMN invoice_reminders.fee IS 'What it adds to the debt, in the invoice''s currency, without VAT; no part of its gross amount.';
COMMENT ON COLUMN invoice_reminders.due_date IS 'The new date to pay by.';
COMMENT ON COLUMN invoice_reminders.pdf IS 'The document as sent; attached once.';
COMMENT ON COLUMN invoice_reminders.pdf_sha256 IS 'SHA-256 of the PDF, computed by the database.';

CREATE UNIQUE INDEX IF NOT EXISTS invoice_reminders_by_invoice ON invoice_reminders (invoice_id, level);

-- What the triggers do --------------------------------------------------------------------------------------------
-- They find the other tables in the schema of their own, so that neither the caller's search_path nor a temporary
-- table of the same name leads them astray. What they refuse is SQLSTATE 23001 with the trigger as constraint name.

CREATE OR REPLACE FUNCTION billing_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING
        ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$;
COMMENT ON FUNCTION billing_refuse() IS 'Trigger: refuses, for the reason that is its argument.';

CREATE OR REPLACE FUNCTION billing_freeze() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    once CONSTANT text[] := TG_ARGV[0];
    free CONSTANT text[] := TG_ARGV[1];
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
COMMENT ON FUNCTION billing_freeze() IS 'Trigger: no column changes, but those of the first argument once, from null, and those of the second.';

CREATE OR REPLACE FUNCTION billing_issue_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines record;
BEGIN
    EXECUTE format(
        'SELECT count(*), coalesce(sum(amount), 0) AS net FROM %I.invoice_lines WHERE invoice_id = $1', TG_TABLE_SCHEMA
    ) INTO lines USING NEW.id;
    IF lines.count = 0 OR lines.net <> NEW.net_amount THEN
        RAISE EXCEPTION 'invoices: id % cannot be issued: its net amount is % and its % lines add up to %',
            NEW.id, NEW.net_amount, lines.count, lines.net USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    NEW.issued_at := coalesce(NEW.issued_at, now());
    NEW.issue_date := coalesce(NEW.issue_date, (NEW.issued_at AT TIME ZONE 'Europe/Zurich')::date);
    NEW.due_date := coalesce(NEW.due_date, NEW.issue_date + 30);
    IF NEW.number IS NULL THEN
        EXECUTE format('SELECT %I.next_invoice_number($1)', TG_TABLE_SCHEMA)
        INTO NEW.number USING to_char(NEW.issue_date, 'YYYY');
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_issue_invoice() IS 'Trigger: checks the net amount against the lines; gives number, issue date and due date where they are not given.';

-- Writing to the invoice, and not just reading it, makes one that issues it at the same time wait or fail, at every
-- isolation level. The invoice is gone already where its deletion takes the lines along.
CREATE OR REPLACE FUNCTION billing_guard_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids CONSTANT bigint[] := ARRAY[OLD.invoice_id, NEW.invoice_id];
    issued text;
BEGIN
    EXECUTE format(
        'UPDATE %I.invoices SET updated_at = now() WHERE id = ANY ($1) AND status = ''draft''', TG_TABLE_SCHEMA
    ) USING ids;
    EXECUTE format(
        'SELECT min(number) FROM %I.invoices WHERE id = ANY ($1) AND status <> ''draft''', TG_TABLE_SCHEMA
    ) INTO issued USING ids;
    IF issued IS NOT NULL THEN
        RAISE EXCEPTION 'invoice_lines: invoice % is issued: its lines do not change', issued USING
            ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
COMMENT ON FUNCTION billing_guard_lines() IS 'Trigger: lines change only while their invoice is a draft.';

CREATE OR REPLACE FUNCTION billing_guard_reminders() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    invoice_status text;
BEGIN
    -- The lock makes a payment at the same time wait; of an invoice that is not there the foreign key tells.
    EXECUTE format('SELECT status FROM %I.invoices WHERE id = $1 FOR SHARE', TG_TABLE_SCHEMA)
    INTO invoice_status USING NEW.invoice_id;
    IF invoice_status <> 'issued' THEN
        RAISE EXCEPTION 'invoice_reminders: nothing to remind of: invoice id % is %', NEW.invoice_id, invoice_status
            USING
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
)
EXECUTE FUNCTION billing_refuse('no such change of status; see the comment on the column');
CREATE OR REPLACE TRIGGER invoices_b_issue BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status = 'draft' AND NEW.status <> 'draft')
EXECUTE FUNCTION billing_issue_invoice();
CREATE OR REPLACE TRIGGER invoices_c_frozen BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status <> 'draft' AND NEW.status = OLD.status)
EXECUTE FUNCTION billing_freeze('{pdf, stripe_invoice_id, stripe_payment_intent_id}', '{}');
CREATE OR REPLACE TRIGGER invoices_c_frozen_but_status BEFORE UPDATE ON invoices
FOR EACH ROW WHEN (OLD.status <> 'draft' AND NEW.status <> OLD.status)
EXECUTE FUNCTION billing_freeze(
    '{pdf, stripe_invoice_id, stripe_payment_intent_id}',
    '{status, paid_at, paid_via, payment_method_id, voided_at, written_off_at}'
);
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
CREATE OR REPLACE TRIGGER invoice_reminders_frozen BEFORE UPDATE ON invoice_reminders
FOR EACH ROW EXECUTE FUNCTION billing_freeze('{pdf}', '{}');
CREATE OR REPLACE TRIGGER invoice_reminders_kept BEFORE DELETE OR TRUNCATE ON invoice_reminders
FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('a reminder that was sent is never deleted');
