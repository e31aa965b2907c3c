-- reader: dry runs, and whatever only reads the ledger. Not invoices, and not how anyone pays.
GRANT SELECT ON
    reconciler_schema, reconciler_passes, reconciler_state, reconciler_rebindings, reconciler_reopenings, reconciler_moves,
    reconciler_overrides, reconciler_setbacks, reconciler_adoptions, reconciler_digests, reconciler_voids, reconciler_voided_rows,
    tenant_billing_lifecycle, tenant_skill_events, tenant_suspension_events,
    platform_pricing, skill_pricing, reconciler_price_history, reconciler_closes, reconciler_close_totals,
    org_billing_config, reconciler_decisions
TO {role};
