-- portal: what the reader may (granted with this), and to write prices, how an organisation is billed and, where they are
-- ours, invoices and payment methods, by their rules. No pass and no event.
GRANT UPDATE ON platform_pricing TO {role};
GRANT INSERT, UPDATE, DELETE ON skill_pricing TO {role};
GRANT INSERT, UPDATE ON org_billing_config TO {role};
GRANT EXECUTE ON FUNCTION billing_set_price, billing_close TO {role};
DO $$
BEGIN
    IF to_regprocedure('billing_refuse()') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON org_payment_methods, invoices, invoice_lines, invoice_reminders TO {role};
        GRANT SELECT, INSERT, UPDATE ON invoice_number_counters TO {role};
        GRANT SELECT, INSERT ON invoice_payments, invoice_events TO {role};
        GRANT EXECUTE ON FUNCTION next_invoice_number, draft_invoice, total_invoice, reconciler_settle_invoice TO {role};
    END IF;
END
$$;
