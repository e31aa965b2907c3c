-- What a function means is for its author to say, not for the search_path of whoever calls it. Nobody may call one that
-- writes, or put a trigger of ours on a table of their own. Functions that read do so with the rights of their caller.
DO $$
DECLARE
    function record;
BEGIN
    FOR function IN
        SELECT p.oid::regprocedure AS name, p.proname,
               p.prorettype = 'trigger'::regtype OR p.prosecdef OR p.proname IN (
                   'next_invoice_number', 'draft_invoice', 'total_invoice', 'reconciler_settle_invoice', 'reconciler_record_price', 'reconciler_show_price',
                   'reconciler_void_passes', 'reconciler_switch_append_only', 'reconciler_restore_lifecycles', 'reconciler_restore_setbacks',
                   'reconciler_restore_state') AS writes
        FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND (p.proname ~ '^(reconciler|billing)_' OR p.proname IN ('next_invoice_number', 'draft_invoice', 'total_invoice'))
    LOOP
        -- The statement that calls these plans them as part of itself, which a search_path of their own would prevent.
        -- reconciler_skill_key(), reconciler_encoded(), reconciler_time() and billing_midnight() name no table; the callers of the others set one.
        IF function.proname NOT IN (
            'reconciler_skill_key', 'reconciler_encoded', 'billing_midnight', 'reconciler_time', 'reconciler_lifecycles', 'reconciler_portal_lives', 'reconciler_skill_spans', 'reconciler_tenant_spans')
        THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function.name, current_schema());
        END IF;
        IF function.writes THEN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function.name);
        END IF;
    END LOOP;
END
$$;
