-- What others may put where our names are looked up. Also run by itself, at the beginning of every transaction of the program.

CREATE OR REPLACE FUNCTION reconciler_trust_names() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    before CONSTANT pg_catalog.text := pg_catalog.current_setting('search_path');
    path CONSTANT pg_catalog.name[] := pg_catalog.current_schemas(false);
    ledgers pg_catalog.oid[];
    spaces pg_catalog.oid[];
    trusted pg_catalog.oid[];
    stranger record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    spaces := ARRAY(SELECT n.oid FROM pg_namespace n WHERE n.nspname = ANY (path) AND NOT starts_with(n.nspname, 'pg_'));
    ledgers := ARRAY(SELECT c.oid FROM pg_class c WHERE c.relname = 'reconciler_passes' AND c.relnamespace = ANY (spaces));
    IF cardinality(ledgers) > 1 THEN
        RAISE EXCEPTION 'there are several ledgers on the search path: %', ledgers::regclass[] USING
            ERRCODE = 'ambiguous_alias', HINT = 'set the search_path of this role or this database to the schema of one of them';
    END IF;
    -- A better match of the arguments comes before the order of the search path: a function or an operator of somebody else
    -- would be called in place of the one that is meant, in a SECURITY DEFINER function by the rights of the owner.
    trusted := ARRAY(
        SELECT r.oid FROM pg_roles r WHERE r.rolsuper OR r.rolname = current_user AND cardinality(ledgers) = 0
        UNION ALL SELECT c.relowner FROM pg_class c
        WHERE c.relname IN ('reconciler_passes', 'tenant_billing_lifecycle') AND c.relnamespace = ANY (spaces) AND cardinality(ledgers) > 0
        UNION ALL SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()
        UNION ALL SELECT n.nspowner FROM pg_namespace n WHERE n.oid = ANY (spaces));
    SELECT object.told, pg_get_userbyid(object.owner) AS role INTO stranger
    FROM (
        SELECT 'function ' || p.oid::regprocedure AS told, p.proowner AS owner, 'pg_proc'::regclass AS class, p.oid
        FROM pg_proc p
        WHERE p.pronamespace = ANY (spaces) AND p.proowner <> ALL (trusted) AND EXISTS (
            SELECT FROM pg_proc b WHERE b.proname = p.proname AND (
                b.pronamespace = 'pg_catalog'::regnamespace OR b.pronamespace = ANY (spaces) AND b.proowner = ANY (trusted)))
        UNION ALL
        SELECT 'operator ' || o.oid::regoperator, o.oprowner, 'pg_operator'::regclass, o.oid
        FROM pg_operator o WHERE o.oprnamespace = ANY (spaces) AND o.oprowner <> ALL (trusted)
    ) object
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = object.class AND d.objid = object.oid AND d.deptype = 'e')
    ORDER BY object.told LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the % of the role % may be called in place of one of Postgres or of reconciler', stranger.told, stranger.role USING
            ERRCODE = 'ambiguous_function',
            HINT = format('if it is to be trusted, ALTER %1$s OWNER TO the owner of the ledger; otherwise DROP %1$s', stranger.told);
    END IF;
    PERFORM set_config('search_path', before, true);
    RETURN true;
END
$$;
COMMENT ON FUNCTION reconciler_trust_names() IS 'Refuses if a function or an operator of somebody else may be called in place of one that is meant.';
