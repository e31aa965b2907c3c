-- What billing charges, and whom: the platform's prices, each skill's price, and how each organisation pays.
--
-- Money is NUMERIC and never a float: 8 digits and 2 decimals for amounts, 5 and 5 for prices per unit. The columns have no
-- precision of their own, because Postgres rounds to it before any rule is asked: here CHECKs refuse what is finer.
-- CHECKs name NaN, because to Postgres it is a NUMERIC, and larger than all others.
--
-- Each table is made with the columns that statements elsewhere already use, and is then brought to its whole shape
-- by statements that do nothing where there is nothing to do: a fresh table, one that the portal's Phase 1 made and
-- filled, and one that this file made before all end up the same.

CREATE TABLE IF NOT EXISTS platform_pricing (
    id integer NOT NULL DEFAULT 1 PRIMARY KEY,
    tenant_monthly_fee_chf numeric NOT NULL DEFAULT 0,
    tenant_setup_fee_chf numeric NOT NULL DEFAULT 0,
    threema_message_chf numeric NOT NULL DEFAULT 0,
    vat_rate_chli numeric NOT NULL DEFAULT 8.10
);
-- Its one id is fixed, so nothing generates it. The default of a time comes after its column: an adopted row keeps null
-- for what was not recorded when it was written.
ALTER TABLE platform_pricing ALTER COLUMN id DROP IDENTITY IF EXISTS;
ALTER TABLE platform_pricing ALTER COLUMN id SET DEFAULT 1;
ALTER TABLE platform_pricing ADD COLUMN IF NOT EXISTS updated_at timestamptz;
ALTER TABLE platform_pricing ALTER COLUMN updated_at SET DEFAULT now();
COMMENT ON TABLE platform_pricing IS 'The prices of the platform itself, in one row. Zero until somebody sets them.';
COMMENT ON COLUMN platform_pricing.id IS 'Always 1: there is one row.';
COMMENT ON COLUMN platform_pricing.tenant_monthly_fee_chf IS 'CHF a tenant and calendar month, without VAT; prorated by billable days.';
COMMENT ON COLUMN platform_pricing.tenant_setup_fee_chf IS 'CHF once a lifecycle, without VAT, in the month of its creation.';
COMMENT ON COLUMN platform_pricing.threema_message_chf IS 'CHF a Threema message, without VAT.';
COMMENT ON COLUMN platform_pricing.vat_rate_chli IS 'VAT for customers in Switzerland and Liechtenstein, in percent: 8.10 is 8.1 %.';
COMMENT ON COLUMN platform_pricing.updated_at IS 'Last write; null in an adopted row not written since.';

CREATE TABLE IF NOT EXISTS skill_pricing (
    skill_id text NOT NULL PRIMARY KEY,
    daily_price_chf numeric NOT NULL DEFAULT 0
);
ALTER TABLE skill_pricing ADD COLUMN IF NOT EXISTS updated_at timestamptz;
ALTER TABLE skill_pricing ALTER COLUMN updated_at SET DEFAULT now();
COMMENT ON TABLE skill_pricing IS 'What a skill costs. A skill without a row has no price, which is not a price of 0.';
COMMENT ON COLUMN skill_pricing.skill_id IS 'The skill: an entry of spec.packages.';
COMMENT ON COLUMN skill_pricing.daily_price_chf IS 'CHF a billable day and tenant, without VAT.';
COMMENT ON COLUMN skill_pricing.updated_at IS 'Last write; null in an adopted row not written since.';

CREATE TABLE IF NOT EXISTS org_billing_config (
    zitadel_org_id text NOT NULL PRIMARY KEY,
    pay_by_invoice boolean NOT NULL DEFAULT false,
    auto_invoice_enabled boolean NOT NULL DEFAULT false,
    auto_reminders_enabled boolean NOT NULL DEFAULT false
);
ALTER TABLE org_billing_config
    ADD COLUMN IF NOT EXISTS stripe_customer_id text,
    ADD COLUMN IF NOT EXISTS display_name text,
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN IF NOT EXISTS updated_at timestamptz;
ALTER TABLE org_billing_config
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET DEFAULT now();
COMMENT ON TABLE org_billing_config IS 'How an organisation is billed. The row is created, with the defaults, when the portal first reads it.';
COMMENT ON COLUMN org_billing_config.zitadel_org_id IS 'The Zitadel organisation that pays.';
COMMENT ON COLUMN org_billing_config.pay_by_invoice IS 'True: pays by bank transfer with the QR-bill. False: Stripe charges its payment method.';
COMMENT ON COLUMN org_billing_config.auto_invoice_enabled IS 'Invoices are issued without a person looking at them.';
COMMENT ON COLUMN org_billing_config.auto_reminders_enabled IS 'Reminders are sent without a person looking at them.';
COMMENT ON COLUMN org_billing_config.stripe_customer_id IS 'The Stripe customer (cus_…), once there is one.';
COMMENT ON COLUMN org_billing_config.display_name IS 'What people call the organisation; null: nobody said. It is shown beside the id, and nothing depends on it.';
COMMENT ON COLUMN org_billing_config.created_at IS 'When the row was created; null in an adopted row.';
COMMENT ON COLUMN org_billing_config.updated_at IS 'Last write; null in an adopted row not written since.';

-- The adopted columns: type, default and NOT NULL as above. A default that is there stays. A column whose rows would
-- have to change stays as it is, with a warning: what to do about them is for a person to say.
DO $$
DECLARE
    col record;
    unchanged boolean;
BEGIN
    FOR col IN
        SELECT
            wanted.*,
            format_type(present.atttypid, present.atttypmod) AS present_type,
            present.attnotnull,
            present.atthasdef
        FROM (VALUES
            ('platform_pricing', 'id', 'integer', '1'),
            ('platform_pricing', 'tenant_monthly_fee_chf', 'numeric', '0'),
            ('platform_pricing', 'tenant_setup_fee_chf', 'numeric', '0'),
            ('platform_pricing', 'threema_message_chf', 'numeric', '0'),
            ('platform_pricing', 'vat_rate_chli', 'numeric', '8.10'),
            ('skill_pricing', 'skill_id', 'text', NULL),
            ('skill_pricing', 'daily_price_chf', 'numeric', '0'),
            ('org_billing_config', 'zitadel_org_id', 'text', NULL),
            ('org_billing_config', 'pay_by_invoice', 'boolean', 'false'),
            ('org_billing_config', 'auto_invoice_enabled', 'boolean', 'false'),
            ('org_billing_config', 'auto_reminders_enabled', 'boolean', 'false')
        ) AS wanted (table_name, name, type, default_value)
        INNER JOIN pg_attribute AS present
            ON present.attrelid = wanted.table_name::regclass AND present.attname = wanted.name
    LOOP
        IF NOT col.atthasdef AND col.default_value IS NOT NULL THEN
            EXECUTE format(
                'ALTER TABLE %I ALTER COLUMN %I SET DEFAULT %s', col.table_name, col.name, col.default_value
            );
        END IF;
        BEGIN
            IF col.present_type <> col.type THEN
                EXECUTE format(
                    'SELECT coalesce(bool_and(%1$I::%2$s::%3$s = %1$I), true) FROM %4$I',
                    col.name, col.type, col.present_type, col.table_name
                ) INTO unchanged;
                IF unchanged THEN
                    EXECUTE format(
                        'ALTER TABLE %I ALTER COLUMN %I TYPE %s', col.table_name, col.name, col.type
                    );
                ELSE
                    RAISE WARNING '%.% stays %: as % its values would change',
                        col.table_name, col.name, col.present_type, col.type;
                END IF;
            END IF;
            IF NOT col.attnotnull THEN
                EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET NOT NULL', col.table_name, col.name);
            END IF;
        EXCEPTION
            WHEN not_null_violation OR numeric_value_out_of_range OR feature_not_supported THEN
                RAISE WARNING '%.% stays as it is: %', col.table_name, col.name, SQLERRM;
        END;
    END LOOP;
END
$$;

-- The constraints: keys first. An adopted row that breaks a CHECK is kept, with a warning; rows written from now on
-- have to meet it. An adopted row that breaks a key is an error: its prices cannot be told apart.
DO $$
DECLARE
    rule record;
    statement text;
BEGIN
    FOR rule IN
        SELECT wanted.*
        FROM (VALUES
            ('platform_pricing', 'platform_pricing_pkey', 'PRIMARY KEY (id)'),
            ('skill_pricing', 'skill_pricing_pkey', 'PRIMARY KEY (skill_id)'),
            ('org_billing_config', 'org_billing_config_pkey', 'PRIMARY KEY (zitadel_org_id)'),
            ('org_billing_config', 'org_billing_config_stripe_customer_id_key', 'UNIQUE (stripe_customer_id)'),
            ('platform_pricing', 'platform_pricing_single_row', 'CHECK (id = 1)'),
            ('platform_pricing', 'platform_pricing_monthly_fee_not_negative',
                'CHECK (tenant_monthly_fee_chf >= 0 AND tenant_monthly_fee_chf <> ''NaN'')'),
            ('platform_pricing', 'platform_pricing_setup_fee_not_negative',
                'CHECK (tenant_setup_fee_chf >= 0 AND tenant_setup_fee_chf <> ''NaN'')'),
            ('platform_pricing', 'platform_pricing_threema_message_not_negative',
                'CHECK (threema_message_chf >= 0 AND threema_message_chf <> ''NaN'')'),
            ('platform_pricing', 'platform_pricing_vat_rate_in_percent',
                'CHECK (vat_rate_chli BETWEEN 0 AND 100)'),
            ('platform_pricing', 'platform_pricing_monthly_fee_fits',
                'CHECK (tenant_monthly_fee_chf = ''NaN'' OR (tenant_monthly_fee_chf < 1e8 AND scale(trim_scale(tenant_monthly_fee_chf)) <= 2))'),
            ('platform_pricing', 'platform_pricing_setup_fee_fits',
                'CHECK (tenant_setup_fee_chf = ''NaN'' OR (tenant_setup_fee_chf < 1e8 AND scale(trim_scale(tenant_setup_fee_chf)) <= 2))'),
            ('platform_pricing', 'platform_pricing_threema_message_fits',
                'CHECK (threema_message_chf = ''NaN'' OR (threema_message_chf < 1e5 AND scale(trim_scale(threema_message_chf)) <= 5))'),
            ('platform_pricing', 'platform_pricing_vat_rate_fits',
                'CHECK (vat_rate_chli = ''NaN'' OR scale(trim_scale(vat_rate_chli)) <= 2)'),
            ('skill_pricing', 'skill_pricing_daily_price_fits',
                'CHECK (daily_price_chf = ''NaN'' OR (daily_price_chf < 1e5 AND scale(trim_scale(daily_price_chf)) <= 5))'),
            ('skill_pricing', 'skill_pricing_skill_named', 'CHECK (skill_id <> '''')'),
            ('skill_pricing', 'skill_pricing_daily_price_not_negative',
                'CHECK (daily_price_chf >= 0 AND daily_price_chf <> ''NaN'')'),
            ('org_billing_config', 'org_billing_config_org_named', 'CHECK (zitadel_org_id <> '''')'),
            ('org_billing_config', 'org_billing_config_stripe_customer_named',
                'CHECK (stripe_customer_id <> '''')'),
            ('org_billing_config', 'org_billing_config_display_named', 'CHECK (display_name <> '''')')
        ) AS wanted (table_name, name, definition)
        WHERE NOT EXISTS (
            SELECT FROM pg_constraint AS present
            WHERE
                present.conrelid = wanted.table_name::regclass
                AND (
                    present.conname = wanted.name
                    OR (present.contype = 'p' AND wanted.definition LIKE 'PRIMARY KEY%')
                )
        )
    LOOP
        statement := format('ALTER TABLE %I ADD CONSTRAINT %I %s', rule.table_name, rule.name, rule.definition);
        BEGIN
            EXECUTE statement;
        EXCEPTION
            WHEN check_violation THEN
                EXECUTE statement || ' NOT VALID';
                RAISE WARNING 'rows that were there before break the rule % and are kept: %', rule.name, SQLERRM;
        END;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION billing_set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_set_updated_at() IS 'Trigger: updated_at is the time of the last write.';

CREATE OR REPLACE TRIGGER platform_pricing_updated_at BEFORE UPDATE ON platform_pricing
FOR EACH ROW EXECUTE FUNCTION billing_set_updated_at();
CREATE OR REPLACE TRIGGER skill_pricing_updated_at BEFORE UPDATE ON skill_pricing
FOR EACH ROW EXECUTE FUNCTION billing_set_updated_at();
CREATE OR REPLACE TRIGGER org_billing_config_updated_at BEFORE UPDATE ON org_billing_config
FOR EACH ROW EXECUTE FUNCTION billing_set_updated_at();

-- 49 is kept as 49.00, as a column of that precision would keep it. What is finer comes to the CHECKs as it is.
CREATE OR REPLACE FUNCTION billing_price_scale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'skill_pricing' THEN
        NEW.daily_price_chf := round(NEW.daily_price_chf::numeric, greatest(5, scale(trim_scale(NEW.daily_price_chf::numeric))));
    ELSE
        NEW.tenant_monthly_fee_chf := round(NEW.tenant_monthly_fee_chf::numeric, greatest(2, scale(trim_scale(NEW.tenant_monthly_fee_chf::numeric))));
        NEW.tenant_setup_fee_chf := round(NEW.tenant_setup_fee_chf::numeric, greatest(2, scale(trim_scale(NEW.tenant_setup_fee_chf::numeric))));
        NEW.threema_message_chf := round(NEW.threema_message_chf::numeric, greatest(5, scale(trim_scale(NEW.threema_message_chf::numeric))));
        NEW.vat_rate_chli := round(NEW.vat_rate_chli::numeric, greatest(2, scale(trim_scale(NEW.vat_rate_chli::numeric))));
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION billing_price_scale() IS 'Trigger: gives an amount the decimals of its column; what has more keeps them, for a CHECK to refuse.';

CREATE OR REPLACE TRIGGER platform_pricing_scale BEFORE INSERT OR UPDATE ON platform_pricing
FOR EACH ROW EXECUTE FUNCTION billing_price_scale();
CREATE OR REPLACE TRIGGER skill_pricing_scale BEFORE INSERT OR UPDATE ON skill_pricing
FOR EACH ROW EXECUTE FUNCTION billing_price_scale();

-- Prices once set, and an adopted row with another id, are not added to.
INSERT INTO platform_pricing (id, tenant_monthly_fee_chf, tenant_setup_fee_chf, threema_message_chf, vat_rate_chli)
SELECT 1, 0, 0, 0, 8.10
WHERE NOT EXISTS (SELECT FROM platform_pricing)
ON CONFLICT DO NOTHING;
