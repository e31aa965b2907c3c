-- catalog --
-- What the catalog says of these tables, and of functions with these names, in the schema that statements go to.
WITH relation AS MATERIALIZED (
    SELECT c.* FROM pg_class c
    WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
      AND c.relname = ANY(%s::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), used AS MATERIALIZED (
    -- What stands in the way of another type of a column. Plain indexes and constraints follow by themselves.
    SELECT d.refobjid, d.refobjsubid,
           CASE d.classid WHEN 'pg_rewrite'::regclass
                THEN (SELECT 'view ' || r.ev_class::regclass FROM pg_rewrite r WHERE r.oid = d.objid)
                ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS told
    FROM pg_depend d
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM relation) AND d.refobjsubid > 0
      AND (d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass,
                         'pg_publication_rel'::regclass)
           OR (d.classid = 'pg_attrdef'::regclass AND EXISTS (
               SELECT FROM pg_attrdef f WHERE f.oid = d.objid AND (f.adrelid, f.adnum) <> (d.refobjid, d.refobjsubid)))
           OR (d.classid = 'pg_class'::regclass AND EXISTS (
               SELECT FROM pg_index i WHERE i.indexrelid = d.objid AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL))))
), present AS MATERIALIZED (
    SELECT a.attrelid, jsonb_object_agg(a.attname, jsonb_build_object(
        'type', format_type(a.atttypid, a.atttypmod),
        'base', b.typname,
        'category', b.typcategory,
        'labels', (SELECT coalesce(jsonb_agg(e.enumlabel ORDER BY e.enumsortorder), '[]') FROM pg_enum e WHERE e.enumtypid = b.oid),
        'required', a.attnotnull OR t.typnotnull,
        'default', CASE WHEN a.attidentity <> '' THEN 'identity' ELSE pg_get_expr(d.adbin, d.adrelid) END,
        'sequence', CASE WHEN a.attname = 'id' THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) END,
        'used_by', (SELECT coalesce(jsonb_agg(DISTINCT u.told ORDER BY u.told), '[]') FROM used u
                    WHERE u.refobjid = a.attrelid AND u.refobjsubid = a.attnum)
    )) AS columns
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid IN (SELECT oid FROM relation) AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY a.attrelid
), reference AS MATERIALIZED (
    SELECT f.conindid, jsonb_agg(jsonb_build_object('name', f.conname, 'table', f.conrelid::regclass::text) ORDER BY f.oid) AS told
    FROM pg_constraint f
    WHERE f.contype = 'f' AND f.confrelid IN (SELECT oid FROM relation) AND f.conparentid = 0
    GROUP BY f.conindid
), uniqueness AS MATERIALIZED (
    SELECT i.indrelid, jsonb_agg(jsonb_build_object(
        'name', c.relname,
        'constraint', coalesce(k.contype::text, ''),
        'columns', ARRAY(SELECT a.attname FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS key (attnum, place)
                         LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum AND a.attnum > 0
                         ORDER BY key.place),
        'predicate', pg_get_expr(i.indpred, i.indrelid),
        'nulls_differ', NOT i.indnullsnotdistinct,
        'at_once', i.indimmediate AND i.indisvalid,
        'definition', pg_get_indexdef(i.indexrelid),
        'referenced_by', coalesce(reference.told, '[]'),
        'used_by', (SELECT coalesce(jsonb_agg(DISTINCT 'view ' || r.ev_class::regclass), '[]')
                    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
                    WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid)
    ) ORDER BY c.relname) AS uniques
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint k ON k.conrelid = i.indrelid AND k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
    LEFT JOIN reference ON reference.conindid = i.indexrelid
    WHERE i.indisunique AND i.indrelid IN (SELECT oid FROM relation)
    GROUP BY i.indrelid
), rule AS MATERIALIZED (
    SELECT k.conrelid, jsonb_agg(jsonb_build_object(
        'name', k.conname,
        'kind', k.contype,
        'columns', ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS key (attnum, place)
                         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = key.attnum ORDER BY key.place),
        'expression', pg_get_expr(k.conbin, k.conrelid),
        'target', CASE WHEN k.confrelid <> 0 THEN k.confrelid::regclass::text END
    ) ORDER BY k.conname) AS constraints
    FROM pg_constraint k
    WHERE k.conrelid IN (SELECT oid FROM relation) AND k.contype IN ('c', 'f', 'p', 'u', 'x')
    GROUP BY k.conrelid
)
SELECT jsonb_build_object(
    'role', current_user,
    'functions', (SELECT coalesce(jsonb_agg(DISTINCT p.proname), '[]') FROM pg_proc p
                  WHERE p.pronamespace = to_regnamespace(quote_ident(current_schema())) AND p.proname = ANY(%s::text[])),
    -- Of the triggers' functions: one that looks for its tables in a schema of another name, as after ALTER SCHEMA … RENAME.
    'looks_elsewhere', EXISTS (
        SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid CROSS JOIN LATERAL unnest(p.proconfig) AS setting
        WHERE t.tgrelid = to_regclass('reconciler_passes') AND starts_with(setting, 'search_path=')
          AND quote_ident(current_schema()) <> ALL (string_to_array(substr(setting, 13), ', '))),
    'tables', (SELECT coalesce(jsonb_object_agg(c.relname, jsonb_build_object(
        'kind', c.relkind,
        'persistence', c.relpersistence,
        'owner', pg_get_userbyid(c.relowner),
        'is_ours_to_change', pg_has_role(c.relowner, 'USAGE'),
        'has_policies', c.relrowsecurity,
        'is_filtered', row_security_active(c.oid),
        'inherits', c.relispartition OR EXISTS (SELECT FROM pg_inherits h WHERE c.oid IN (h.inhrelid, h.inhparent)),
        'columns', coalesce(present.columns, '{}'),
        'uniques', coalesce(uniqueness.uniques, '[]'),
        'constraints', coalesce(rule.constraints, '[]'),
        'triggers', (SELECT coalesce(jsonb_agg(t.tgname ORDER BY t.tgname), '[]') FROM pg_trigger t
                     WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')),
        'indexes', (SELECT coalesce(jsonb_agg(x.relname ORDER BY x.relname), '[]') FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                    WHERE i.indrelid = c.oid)
    )), '{}')
     FROM relation c
     LEFT JOIN present ON present.attrelid = c.oid
     LEFT JOIN uniqueness ON uniqueness.indrelid = c.oid
     LEFT JOIN rule ON rule.conrelid = c.oid)
)::text

-- tables --
-- Whether all tables were asked for when the schema was applied last, or those of the ledger alone.
SELECT tables FROM reconciler_schema ORDER BY version DESC LIMIT 1
