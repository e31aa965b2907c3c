-- What a function means is for its author to say, not for the search_path of whoever calls it; and nobody may call it, or
-- hang it on a table, who may not read the ledger. This file also runs again after roles were granted their rights.
DO $$
DECLARE
    function record;
    grantee text;
BEGIN
    FOR function IN
        SELECT p.oid::regprocedure AS name, p.proname,
               -- Functions that only read; triggers fire without a right to call them.
               p.prorettype <> 'trigger'::regtype AND NOT p.prosecdef
               AND p.proname NOT IN (
                   'next_invoice_number', 'draft_invoice', 'total_invoice', 'reconciler_settle_invoice', 'reconciler_record_price') AS reads
        FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND (p.proname ~ '^(reconciler|billing)_' OR p.proname IN ('next_invoice_number', 'draft_invoice', 'total_invoice'))
    LOOP
        -- The statement that calls these plans them as part of itself, which a search_path of their own would prevent.
        -- reconciler_skill_key() and billing_midnight() name no table; the callers of the others set a search_path.
        IF function.proname NOT IN (
            'reconciler_skill_key', 'billing_midnight', 'reconciler_time', 'reconciler_lifecycles', 'reconciler_skill_spans', 'reconciler_tenant_spans')
        THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function.name, current_schema());
        END IF;
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function.name);
        CONTINUE WHEN NOT function.reads;
        FOR grantee IN
            SELECT coalesce((SELECT quote_ident(r.rolname) FROM pg_roles r WHERE r.oid = acl.grantee), 'PUBLIC')
            FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) acl
            WHERE c.oid = 'reconciler_passes'::regclass AND acl.privilege_type = 'SELECT' AND acl.grantee <> c.relowner
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', function.name, grantee);
        END LOOP;
    END LOOP;
END
$$;
