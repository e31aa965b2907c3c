-- What is sent to whoever pays: the numbers, the invoices, their lines, and the reminders.
--
-- An invoice is a draft until it is issued. A draft may be changed and deleted; an issued invoice and its lines never
-- change again, whoever asks. What goes on is its way from issued to paid, void or written off, the day it is due, which
-- moves on record, and what comes to be known only later: its PDF and its Stripe ids, once each. What was issued in error
-- is voided, or credited by an invoice of its own with negative amounts; once it is credited as a whole, its period is
-- free for another one. Payments, refunds and failed attempts are rows of their own, from which the status follows.
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
) RETURNS text LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    taken text;
BEGIN
    LOOP
        INSERT INTO invoice_number_counters AS counter (series, last_number)
        VALUES (next_invoice_number.series, 1)
        ON CONFLICT (series) DO UPDATE SET last_number = counter.last_number + 1
        RETURNING counter.series || '-' || lpad(counter.last_number::text, greatest(6, length(counter.last_number::text)), '0') INTO taken;
        -- One that was given by hand, ahead of the counter, is passed over: it is in the series already.
        EXIT WHEN NOT EXISTS (SELECT FROM invoices i WHERE i.number = taken);
    END LOOP;
    RETURN taken;
END
$$;
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
-- Looked at when a statement ends: so one statement may move the default from one to another, in any order of rows.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = 'org_payment_methods'::regclass AND conname = 'org_payment_methods_one_default')
    THEN
        DROP INDEX IF EXISTS org_payment_methods_one_default;
        ALTER TABLE org_payment_methods ADD CONSTRAINT org_payment_methods_one_default
            EXCLUDE USING btree (zitadel_org_id WITH =) WHERE (is_default) DEFERRABLE INITIALLY IMMEDIATE;
    END IF;
END
$$;

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
    ADD COLUMN IF NOT EXISTS vat_rate numeric(5,2)
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
        CONSTRAINT invoices_paid_via_named CHECK (paid_via <> '')
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
    ADD COLUMN IF NOT EXISTS credited_at timestamptz
        CONSTRAINT invoices_credited_at_from_issue_on CHECK (credited_at IS NULL OR status <> 'draft'),
    ADD COLUMN IF NOT EXISTS time_zone text NOT NULL DEFAULT 'Europe/Zurich',
    ADD COLUMN IF NOT EXISTS as_of_pass bigint,
    ADD COLUMN IF NOT EXISTS close_id bigint
        CONSTRAINT invoices_close_fkey REFERENCES reconciler_closes (id),
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();
-- Until version 2 an invoice had one rate, and could be paid in three ways.
ALTER TABLE invoices ALTER COLUMN vat_rate DROP NOT NULL;
ALTER TABLE invoices DROP CONSTRAINT IF EXISTS invoices_paid_via_known;
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
COMMENT ON COLUMN invoices.vat_rate IS 'In percent: 8.10 is 8.1 %. Null where the lines have several rates: each has its own.';
COMMENT ON COLUMN invoices.vat_amount IS 'vat_rate of net_amount, rounded half-up to 0.01; with several rates the sum of that for each.';
COMMENT ON COLUMN invoices.gross_amount IS 'net_amount + vat_amount: what is to be paid.';
COMMENT ON COLUMN invoices.issued_at IS 'The instant of issue; null in drafts.';
COMMENT ON COLUMN invoices.issue_date IS 'The date on the document: by default the day of issued_at in Zurich.';
COMMENT ON COLUMN invoices.due_date IS 'Payable until the end of this day: by default 30 days after issue_date. It may move while the invoice is unpaid; invoice_events keeps what it was.';
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
COMMENT ON COLUMN invoices.paid_via IS 'How it was paid: bank_transfer, stripe, twint or what else there is.';
COMMENT ON COLUMN invoices.payment_method_id IS 'The payment method that Stripe charged.';
COMMENT ON COLUMN invoices.voided_at IS 'When it was voided; set exactly while the status is void.';
COMMENT ON COLUMN invoices.written_off_at IS 'When it was given up as bad debt; stays where it is paid after all.';
COMMENT ON COLUMN invoices.stripe_invoice_id IS 'The Stripe invoice (in_…), once there is one.';
COMMENT ON COLUMN invoices.stripe_payment_intent_id IS 'The Stripe payment intent (pi_…), once there is one.';
COMMENT ON COLUMN invoices.pdf IS 'The document as sent; attached once, after issue, because it shows the number.';
COMMENT ON COLUMN invoices.pdf_sha256 IS 'SHA-256 of the PDF, computed by the database.';
COMMENT ON COLUMN invoices.credited_at IS 'When its credits came to the whole of it; set by the database. Then nothing is owed, and its period is free again.';
COMMENT ON COLUMN invoices.time_zone IS 'Whose calendar days are billed.';
COMMENT ON COLUMN invoices.as_of_pass IS 'The position in the ledger that its lines were computed at: given to the functions it gives them again.';
COMMENT ON COLUMN invoices.close_id IS 'The close that it was computed from, if it was.';
COMMENT ON COLUMN invoices.created_at IS 'When the draft was made.';
COMMENT ON COLUMN invoices.updated_at IS 'Last write to the invoice or, while a draft, to its lines.';

-- No day is billed twice, however often billing runs; what is void or credited as a whole makes room for its replacement.
-- The organisation is compared by a hash, as a range of one number: text in such a constraint would need an extension.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'invoices'::regclass AND conname = 'invoices_one_per_period') THEN
        DROP INDEX IF EXISTS invoices_one_per_period;
        ALTER TABLE invoices ADD CONSTRAINT invoices_one_per_period EXCLUDE USING gist (
            numrange(hashtextextended(zitadel_org_id, 0), hashtextextended(zitadel_org_id, 0), '[]') WITH &&,
            daterange(period_start, period_end) WITH &&
        ) WHERE (status <> 'void' AND credits_invoice_id IS NULL AND credited_at IS NULL);
    END IF;
END
$$;
CREATE INDEX IF NOT EXISTS invoices_by_org ON invoices (zitadel_org_id, period_start);
CREATE INDEX IF NOT EXISTS invoices_open_by_due_date ON invoices (due_date) WHERE status = 'issued';
CREATE INDEX IF NOT EXISTS invoices_by_credited ON invoices (credits_invoice_id)
WHERE credits_invoice_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS invoices_by_close ON invoices (close_id)
WHERE close_id IS NOT NULL;
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
        CHECK (kind IN ('monthly_fee', 'setup_fee', 'skill', 'threema_message', 'llm_spend', 'adjustment')),
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
    ADD COLUMN IF NOT EXISTS unit_price numeric NOT NULL,
    ADD COLUMN IF NOT EXISTS vat_rate numeric(5,2)
        CONSTRAINT invoice_lines_vat_rate_in_percent CHECK (vat_rate BETWEEN 0 AND 100),
    ADD COLUMN IF NOT EXISTS amount numeric(10,2) NOT NULL
        CONSTRAINT invoice_lines_amount_is_a_number CHECK (amount <> 'NaN')
        CONSTRAINT invoice_lines_amount_is_price_of_quantity
        CHECK (amount = round(unit_price * quantity / nullif(out_of, 0), 2)),
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now();
-- Until version 2 a unit price had five decimals, and there were fewer kinds.
DO $$
BEGIN
    IF (SELECT atttypmod FROM pg_attribute WHERE attrelid = 'invoice_lines'::regclass AND attname = 'unit_price') <> -1 THEN
        ALTER TABLE invoice_lines ALTER COLUMN unit_price TYPE numeric;
    END IF;
    IF NOT (SELECT pg_get_constraintdef(oid) LIKE '%llm_spend%' FROM pg_constraint
            WHERE conrelid = 'invoice_lines'::regclass AND conname = 'invoice_lines_kind_known')
    THEN
        ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_kind_known, ADD CONSTRAINT invoice_lines_kind_known
            CHECK (kind IN ('monthly_fee', 'setup_fee', 'skill', 'threema_message', 'llm_spend', 'adjustment'));
    END IF;
END
$$;
COMMENT ON TABLE invoice_lines IS 'What an invoice adds up. Lines change only while their invoice is a draft.';
COMMENT ON COLUMN invoice_lines.id IS 'Our key.';
COMMENT ON COLUMN invoice_lines.invoice_id IS 'The invoice; a deleted draft takes its lines along.';
COMMENT ON COLUMN invoice_lines.position IS 'The place on the document, from 1.';
COMMENT ON COLUMN invoice_lines.kind IS 'monthly_fee, setup_fee and skill as billing_usage() has them; threema_message; llm_spend, of LiteLLM; adjustment is anything else, of either sign.';
COMMENT ON COLUMN invoice_lines.lifecycle_id IS 'The billed life of the tenant that this is for; null where it is the organisation''s as a whole.';
COMMENT ON COLUMN invoice_lines.tenant_name IS 'That tenant''s name, as on the document.';
COMMENT ON COLUMN invoice_lines.skill_id IS 'The skill, for kind skill; also of an adjustment to one.';
COMMENT ON COLUMN invoice_lines.description IS 'The text on the document.';
COMMENT ON COLUMN invoice_lines.period_start IS 'First day of what the line is for; null where it has no period.';
COMMENT ON COLUMN invoice_lines.period_end IS 'The day after its last.';
COMMENT ON COLUMN invoice_lines.quantity IS 'Months, days, messages, tokens or pieces, after the kind; negative in a credit.';
COMMENT ON COLUMN invoice_lines.out_of IS 'For proration: 17 of 31 days of a monthly fee are quantity 17, out_of 31, which is exact. Else 1.';
COMMENT ON COLUMN invoice_lines.unit_price IS 'Price of one, without VAT, as fine as it is.';
COMMENT ON COLUMN invoice_lines.vat_rate IS 'In percent; null: the invoice''s.';
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
        CONSTRAINT invoice_reminders_level_counts_from_one CHECK (level >= 1),
    ADD COLUMN IF NOT EXISTS sent_at timestamptz DEFAULT now(),
    ADD COLUMN IF NOT EXISTS sent_to text,
    ADD COLUMN IF NOT EXISTS fee numeric(10,2) NOT NULL DEFAULT 0
        CONSTRAINT invoice_reminders_fee_not_negative CHECK (fee >= 0 AND fee <> 'NaN'),
    ADD COLUMN IF NOT EXISTS due_date date NOT NULL,
    ADD COLUMN IF NOT EXISTS pdf bytea
        CONSTRAINT invoice_reminders_pdf_size CHECK (octet_length(pdf) BETWEEN 1 AND 20 * 1024 * 1024),
    ADD COLUMN IF NOT EXISTS pdf_sha256 bytea GENERATED ALWAYS AS (sha256(pdf)) STORED,
    ADD COLUMN IF NOT EXISTS planned_for date
        CONSTRAINT invoice_reminders_planned_or_sent CHECK (sent_at IS NOT NULL OR planned_for IS NOT NULL);
-- Until version 2 there were three levels, and a reminder was on record once it was sent.
ALTER TABLE invoice_reminders DROP CONSTRAINT IF EXISTS invoice_reminders_level_known;
ALTER TABLE invoice_reminders ALTER COLUMN sent_at DROP NOT NULL;
COMMENT ON TABLE invoice_reminders IS 'Reminders of unpaid invoices, planned and sent. What was sent does not change.';
COMMENT ON COLUMN invoice_reminders.id IS 'Our key.';
COMMENT ON COLUMN invoice_reminders.invoice_id IS 'The invoice that it reminds of: issued and unpaid when it is planned, and when it is sent.';
COMMENT ON COLUMN invoice_reminders.level IS 'Of dunning, from 1; each once an invoice.';
COMMENT ON COLUMN invoice_reminders.sent_at IS 'When it was sent; null while it is planned, and may be changed or deleted.';
COMMENT ON COLUMN invoice_reminders.planned_for IS 'The day it is to be sent on, where it was planned.';
COMMENT ON COLUMN invoice_reminders.sent_to IS 'Where it was sent.';
COMMENT ON COLUMN invoice_reminders.fee IS 'What it adds to the debt, in the invoice''s currency, without VAT; no part of its gross amount.';
COMMENT ON COLUMN invoice_reminders.due_date IS 'The new date to pay by.';
COMMENT ON COLUMN invoice_reminders.pdf IS 'The document as sent; attached once.';
COMMENT ON COLUMN invoice_reminders.pdf_sha256 IS 'SHA-256 of the PDF, computed by the database.';

CREATE UNIQUE INDEX IF NOT EXISTS invoice_reminders_by_invoice ON invoice_reminders (invoice_id, level);
