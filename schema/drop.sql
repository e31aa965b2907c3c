-- The rollback: removes everything that the other files of this folder make, with all rows in it.
DROP FUNCTION IF EXISTS next_invoice_number(text);
DROP FUNCTION IF EXISTS
    billing_totals(date, date, text, timestamptz), billing_vat(numeric), billing_usage(date, date, text, timestamptz, boolean),
    billing_tenant_days(date, date, text, timestamptz, text), billing_skill_days(date, date, text, timestamptz, text),
    billing_range(date, date, text, timestamptz, text),
    billing_tenant_spans(timestamptz, timestamptz, timestamptz, text),
    billing_skill_spans(timestamptz, timestamptz, timestamptz, text),
    billing_time(boolean, timestamptz, timestamptz, text, timestamptz, text),
    billing_lifecycles(timestamptz), billing_last_pass(timestamptz), billing_midnight(date, text);
DROP TABLE IF EXISTS
    invoice_reminders, invoice_lines, invoices, invoice_number_counters, org_payment_methods, org_billing_config,
    skill_pricing, platform_pricing,
    reconciler_digests, reconciler_state, reconciler_rebindings, reconciler_reopenings, reconciler_moves, reconciler_decisions,
    tenant_suspension_events, tenant_skill_events, tenant_billing_lifecycle, reconciler_passes, reconciler_schema;
DROP FUNCTION IF EXISTS
    reconciler_seal_pass(), reconciler_pass_digests(bigint, bigint, bigint, bigint),
    reconciler_derived_state(bigint[]), reconciler_record_deletion(), reconciler_append_only(),
    reconciler_lifecycle_changes(), reconciler_skill_key(text),
    billing_issue_invoice(), billing_guard_lines(), billing_guard_reminders(),
    billing_freeze(), billing_refuse(), billing_set_updated_at();
