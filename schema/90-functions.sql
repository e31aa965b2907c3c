-- What a function means is for its author to say, and not for the search_path of whoever calls it.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND (p.proname LIKE 'billing\_%' OR p.proname IN (
              'next_invoice_number', 'reconciler_lines', 'reconciler_doubts', 'reconciler_days', 'reconciler_asked',
              'reconciler_position_at', 'reconciler_await_writer', 'reconciler_lock_key', 'reconciler_prices', 'reconciler_show_prices',
              'reconciler_record_price', 'reconciler_unset_price', 'reconciler_price_changed', 'reconciler_prices_emptied',
              'reconciler_prices_fall_due', 'reconciler_billed_until'))
          -- It is planned with the statement that calls it, once for each day.
          AND p.proname <> 'billing_midnight'
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function, current_schema());
    END LOOP;
    -- These write, with the rights of the owner.
    FOR function IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname ~ '^(billing|reconciler)_'
          AND (p.prosecdef OR p.proname = 'reconciler_record_price')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;
