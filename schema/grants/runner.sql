-- runner: passes. It adds events and never changes one, makes no tables, and reads no way of payment.
GRANT SELECT ON
    reconciler_schema, reconciler_passes, reconciler_state, reconciler_rebindings, reconciler_reopenings, reconciler_moves,
    reconciler_overrides, reconciler_setbacks, reconciler_adoptions, reconciler_digests, reconciler_voids, reconciler_price_history, tenant_billing_lifecycle, tenant_skill_events, tenant_suspension_events
TO {role};
-- Of a table without columns, only the right to lock it.
GRANT SELECT, UPDATE ON reconciler_writer TO {role};
GRANT INSERT ON
    reconciler_rebindings, reconciler_reopenings, reconciler_moves, reconciler_setbacks, tenant_billing_lifecycle
TO {role};
-- The database numbers and dates these rows. A number given by hand would put a row behind those of later passes.
DO $$
DECLARE
    filled text;
    columns text;
BEGIN
    FOREACH filled IN ARRAY ARRAY['reconciler_passes', 'reconciler_overrides', 'tenant_skill_events', 'tenant_suspension_events'] LOOP
        columns := (
            SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a
            WHERE a.attrelid = filled::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              AND a.attname NOT IN ('id', 'written_at', 'decided_at', 'database_user'));
        EXECUTE format('REVOKE INSERT ON %I FROM {role}; GRANT INSERT (%s) ON %1$I TO {role}', filled, columns);
    END LOOP;
END $$;
GRANT UPDATE (tenant_uid, cluster_uid, deleted_at, deleted_not_before, deleted_time_source, deleted_observed_at, deleted_pass_id)
    ON tenant_billing_lifecycle TO {role};
-- The known state is no record: it can be had from the events at any time.
GRANT INSERT, DELETE ON reconciler_state TO {role};
GRANT USAGE ON SEQUENCE {sequences} TO {role};
