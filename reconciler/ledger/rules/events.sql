-- Checks a table of events in one sorted scan; the table is filled in. `before_…` is of the row before it in its subject.
WITH portal_end AS (
    SELECT DISTINCT ON (life.lifecycle_id, {value}) life.lifecycle_id, {value} AS skill_id, {is_on} AS is_on
    FROM {table} e
    JOIN reconciler_portal_lives() life
      ON life.tenant_name = e.tenant_name AND e.occurred_at > life.after AND e.occurred_at <= life.until
    WHERE e.lifecycle_id IS NULL
    ORDER BY life.lifecycle_id, {value}, occurred_at DESC, id DESC
), rebound AS (
    SELECT lifecycle_id FROM reconciler_rebindings GROUP BY lifecycle_id
), reopened AS (
    SELECT lifecycle_id FROM reconciler_reopenings GROUP BY lifecycle_id
), event AS (
    SELECT e.id, e.tenant_name, e.tenant_uid, e.lifecycle_id, {value} AS skill_id, {key} AS skill_key, e.event_kind,
           e.occurred_at, e.not_before, e.time_source, e.observed_at, e.pass_id, e.ordinal,
           lag(e.id) OVER w AS before_id, lag(e.ordinal) OVER w AS before_ordinal,
           lag(e.occurred_at) OVER w AS before_at, lag(e.pass_id) OVER w AS before_pass
    FROM {table} e
    WHERE num_nonnulls(e.lifecycle_id, e.tenant_uid, e.ordinal, e.pass_id) > 0
    WINDOW w AS (PARTITION BY e.lifecycle_id, {key} ORDER BY e.ordinal, e.id)
), checked AS (
    SELECT e.*, array_remove(ARRAY[
        CASE WHEN num_nulls(e.lifecycle_id, e.tenant_uid, e.ordinal, e.pass_id, e.not_before, e.time_source, e.observed_at) > 0
             THEN 'row-incomplete' END,
        CASE WHEN e.lifecycle_id IS NOT NULL AND l.id IS NULL THEN 'row-lifecycle' END,
        CASE WHEN e.pass_id IS NOT NULL AND p.id IS NULL THEN 'row-pass' END,
        CASE WHEN e.tenant_name <> l.tenant_name OR e.tenant_uid <> CASE
             WHEN rebound.lifecycle_id IS NULL THEN l.tenant_uid
             ELSE coalesce(
                 (SELECT r.new_uid FROM reconciler_rebindings r WHERE r.lifecycle_id = l.id AND r.pass_id <= e.pass_id
                  ORDER BY r.pass_id DESC LIMIT 1),
                 (SELECT r.old_uid FROM reconciler_rebindings r WHERE r.lifecycle_id = l.id AND r.pass_id > e.pass_id
                  ORDER BY r.pass_id LIMIT 1))
             END THEN 'row-tenant' END,
        CASE WHEN e.event_kind NOT IN ({kinds}) THEN 'row-kind' END,
        CASE WHEN e.skill_key <> reconciler_skill_key(e.skill_id) THEN 'row-subject' END,
        CASE WHEN e.observed_at <> p.observed_at THEN 'row-instant' END,
        CASE WHEN (e.ordinal % 2 = 1) <> ({is_on}) THEN 'alternation' END,
        CASE WHEN CASE WHEN e.before_id IS NOT NULL THEN e.ordinal > e.before_ordinal + 1
                       -- The first ordinal is 0 if the portal's own rows left the subject switched on.
                       ELSE e.ordinal <> CASE WHEN portal_end.is_on THEN 0 ELSE 1 END END THEN 'ordinal-gap' END,
        CASE WHEN e.ordinal = e.before_ordinal THEN 'ordinal-twice' END,
        CASE WHEN NOT (e.not_before <= e.occurred_at AND e.occurred_at <= e.observed_at) THEN 'interval' END,
        CASE WHEN e.occurred_at < e.before_at THEN 'time-order' END,
        CASE WHEN e.pass_id < e.before_pass
                  -- A pass that moved a tenant also wrote what changed between the move and its snapshot.
                  OR (e.pass_id = e.before_pass AND (e.pass_id IS DISTINCT FROM l.created_pass_id OR l.created_time_source = 'creation'))
             THEN 'write-order' END,
        CASE WHEN l.id IS NOT NULL AND NOT CASE e.time_source
             WHEN 'creation' THEN e.event_kind = 'enabled' AND e.pass_id = l.created_pass_id AND l.created_time_source = 'creation'
                                  AND e.occurred_at = l.created_at AND e.not_before = l.created_not_before
             WHEN 'status' THEN e.event_kind = 'suspended'
             WHEN 'managed-fields' THEN e.skill_id IS NULL OR e.pass_id IS DISTINCT FROM l.created_pass_id
                                        OR l.created_time_source <> 'creation'
             WHEN 'operator' THEN e.pass_id = l.created_pass_id AND l.created_time_source = 'operator' AND e.occurred_at = l.created_at
             -- If the tenant was deleted at first sight, its suspension was moved to the time of the deletion.
             WHEN 'observed' THEN CASE WHEN e.skill_id IS NULL THEN e.occurred_at = e.observed_at OR e.pass_id = l.created_pass_id
                                       -- A lifecycle under a new org begins with the skills of the one before it.
                                       ELSE e.occurred_at = e.observed_at AND (e.pass_id IS DISTINCT FROM l.created_pass_id
                                                                               OR l.created_time_source <> 'creation') END
             ELSE e.time_source IS NULL END THEN 'time-source' END,
        CASE WHEN e.pass_id < l.created_pass_id
                  -- The portal may have written a creation in the future.
                  OR (e.occurred_at < l.created_at AND (l.created_pass_id IS NOT NULL OR l.created_at <= e.observed_at))
             THEN 'before-creation' END,
        CASE WHEN e.occurred_at > l.deleted_at OR e.pass_id > l.deleted_pass_id
                  OR (reopened.lifecycle_id IS NOT NULL AND EXISTS (
                      SELECT FROM reconciler_reopenings r
                      WHERE r.lifecycle_id = l.id AND r.deleted_pass_id < e.pass_id AND e.pass_id < r.pass_id))
             THEN 'after-deletion' END
    ], NULL) AS rules
    FROM event e
    LEFT JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
    LEFT JOIN reconciler_passes p ON p.id = e.pass_id
    LEFT JOIN rebound ON rebound.lifecycle_id = e.lifecycle_id
    LEFT JOIN reopened ON reopened.lifecycle_id = e.lifecycle_id
    LEFT JOIN portal_end ON e.before_id IS NULL AND portal_end.lifecycle_id = l.id
        AND coalesce(portal_end.skill_id, '') = coalesce(e.skill_id, '')
)
SELECT rule, tenant_name, tenant_uid,
       CASE WHEN paired AND before_id IS NOT NULL THEN ARRAY['{table}', '{table}'] ELSE ARRAY['{table}'] END,
       CASE WHEN paired AND before_id IS NOT NULL THEN ARRAY[before_id, id] ELSE ARRAY[id] END,
       concat_ws(' ', event_kind, skill_id, 'at', occurred_at, 'not before', not_before, time_source, 'observed', observed_at,
                 'ordinal', ordinal, 'lifecycle', lifecycle_id, 'pass', pass_id)
FROM checked CROSS JOIN LATERAL unnest(rules) AS rule
CROSS JOIN LATERAL (SELECT rule IN ('ordinal-gap', 'ordinal-twice', 'time-order', 'write-order') AS paired) AS how
WHERE cardinality(rules) > 0
