-- The rollback: removes everything that the other files of this folder make, with all rows in it.
DROP FUNCTION IF EXISTS
    billing_close, billing_doubts, billing_ready, billing_days, billing_enabled_now, billing_invoice_lines, billing_position, billing_prices, billing_set_price,
    billing_skill_days, billing_tenant_days, billing_totals, billing_usage, billing_vat, billing_midnight,
    reconciler_doubts, reconciler_gaps, reconciler_lines, reconciler_days, reconciler_days_of_lives, reconciler_moved, reconciler_lives, reconciler_skill_spans, reconciler_tenant_spans, reconciler_time, reconciler_lifecycles,
    reconciler_asked, reconciler_position_at, reconciler_voided, reconciler_await_writer, reconciler_written_until,
    reconciler_prices, reconciler_show_price, reconciler_record_price, reconciler_unset_price, reconciler_billed_until;
DO $$ BEGIN
    -- Where these are the portal's own, nothing of ours is on them, and they stay.
    IF to_regprocedure('billing_refuse()') IS NOT NULL THEN
        DROP FUNCTION IF EXISTS next_invoice_number, draft_invoice, total_invoice, reconciler_settle_invoice, reconciler_invoice_differences;
        DROP TABLE IF EXISTS invoice_events, invoice_payments, invoice_reminders, invoice_lines, invoices, invoice_number_counters, org_payment_methods;
    END IF;
END $$;
DROP TABLE IF EXISTS
    org_billing_config, skill_pricing, platform_pricing, reconciler_price_history, reconciler_close_totals, reconciler_closes,
    reconciler_digests, reconciler_state, reconciler_rebindings, reconciler_reopenings, reconciler_moves, reconciler_setbacks,
    reconciler_overrides, reconciler_decisions, reconciler_voided_rows, reconciler_voids, reconciler_writer, reconciler_adoptions,
    tenant_suspension_events, tenant_skill_events, tenant_billing_lifecycle, reconciler_passes, reconciler_schema;
DROP FUNCTION IF EXISTS
    reconciler_seal_pass, reconciler_pass_digests, reconciler_encoded, reconciler_adopted_rows, reconciler_derived_state, reconciler_portal_lives, reconciler_refuse_without_pass, reconciler_fill_org,
    reconciler_record_deletion, reconciler_date_pass, reconciler_sign_decision, reconciler_append_only,
    reconciler_lifecycle_changes, reconciler_skill_key,
    reconciler_void_passes, reconciler_switch_append_only, reconciler_lock_ledger, reconciler_check_lifecycle_ids, reconciler_check_number, reconciler_restore_setbacks, reconciler_restore_lifecycles, reconciler_restore_state,
    reconciler_price_changed, reconciler_prices_emptied, reconciler_prices_fall_due, reconciler_trust_names,
    billing_issue_invoice, billing_guard_lines, billing_guard_reminders, billing_guard_credits, billing_credited_at,
    billing_credit_counts, billing_payment_counts, billing_record_due_date, billing_stamp_event,
    billing_freeze, billing_refuse, billing_set_updated_at, billing_price_scale;
