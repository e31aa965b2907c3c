-- Checks each lifecycle by itself and against the passes that it names.
WITH checked AS (
    SELECT l.*, array_remove(ARRAY[
        CASE WHEN num_nonnulls(l.created_not_before, l.created_time_source, l.created_observed_at, l.created_pass_id) NOT IN (0, 4)
                  OR (l.created_pass_id IS NOT NULL AND l.tenant_uid IS NULL)
                  OR num_nonnulls(l.deleted_not_before, l.deleted_time_source, l.deleted_observed_at, l.deleted_pass_id)
                     NOT IN (0, CASE WHEN l.deleted_at IS NULL THEN 0 ELSE 4 END)
                  OR (l.deleted_at IS NOT NULL AND l.deleted_pass_id IS NULL AND l.created_pass_id IS NOT NULL)
             THEN 'lifecycle-incomplete' END,
        CASE WHEN (l.created_pass_id IS NOT NULL AND born.id IS NULL) OR (l.deleted_pass_id IS NOT NULL AND gone.id IS NULL)
                  OR (l.recognised_pass_id IS NOT NULL AND known.id IS NULL) THEN 'lifecycle-pass' END,
        CASE WHEN l.created_observed_at <> born.observed_at OR l.deleted_observed_at <> gone.observed_at
             THEN 'lifecycle-instant' END,
        CASE WHEN NOT (l.created_not_before <= l.created_at AND l.created_at <= l.created_observed_at)
                  OR NOT (l.deleted_not_before <= l.deleted_at AND l.deleted_at <= l.deleted_observed_at)
             THEN 'lifecycle-interval' END,
        CASE WHEN l.deleted_at < l.created_at OR l.deleted_pass_id < l.created_pass_id OR l.deleted_pass_id < l.recognised_pass_id
             THEN 'lifecycle-order' END,
        CASE WHEN NOT CASE l.created_time_source
                  WHEN 'creation' THEN l.created_not_before = l.created_at AND moved.lifecycle_id IS NULL
                  WHEN 'observed' THEN l.created_at = l.created_observed_at AND moved.lifecycle_id IS NOT NULL
                  WHEN 'managed-fields' THEN moved.lifecycle_id IS NOT NULL
                  WHEN 'operator' THEN moved.lifecycle_id IS NOT NULL
                  ELSE l.created_time_source IS NULL END
                  OR l.deleted_time_source NOT IN ('deletion', 'successor', 'observed', 'managed-fields', 'operator')
                  OR (l.deleted_time_source IN ('managed-fields', 'operator') AND NOT EXISTS (
                      SELECT FROM reconciler_moves m WHERE m.previous_lifecycle_id = l.id))
                  OR (l.deleted_time_source = 'observed' AND l.deleted_at <> l.deleted_observed_at)
             THEN 'lifecycle-source' END,
        CASE WHEN l.deleted_time_source = 'successor' AND NOT EXISTS (
                  SELECT FROM tenant_billing_lifecycle s
                  WHERE s.tenant_name = l.tenant_name AND s.created_pass_id = l.deleted_pass_id AND s.id <> l.id)
             THEN 'lifecycle-successor' END,
        CASE WHEN (l.created_pass_id IS NOT NULL OR l.recognised_pass_id IS NOT NULL OR rebound.lifecycle_id IS NOT NULL)
                  AND l.cluster_uid IS DISTINCT FROM coalesce(rebound.cluster_uid, known.cluster_uid, born.cluster_uid)
             THEN 'lifecycle-cluster' END,
        CASE WHEN l.created_pass_id IS NULL AND l.recognised_pass_id IS NULL AND l.id > (
                  SELECT min(first.id) FROM tenant_billing_lifecycle first WHERE first.created_pass_id IS NOT NULL)
             THEN 'lifecycle-late' END,
        CASE WHEN l.recognised_pass_id IS NOT NULL AND (l.created_pass_id IS NOT NULL OR l.tenant_uid IS NULL)
             THEN 'recognition' END
    ], NULL) AS rules
    FROM tenant_billing_lifecycle l
    LEFT JOIN reconciler_passes born ON born.id = l.created_pass_id
    LEFT JOIN reconciler_passes gone ON gone.id = l.deleted_pass_id
    LEFT JOIN reconciler_passes known ON known.id = l.recognised_pass_id
    LEFT JOIN reconciler_moves moved ON moved.lifecycle_id = l.id
    LEFT JOIN (
        SELECT DISTINCT ON (r.lifecycle_id) r.lifecycle_id, p.cluster_uid
        FROM reconciler_rebindings r LEFT JOIN reconciler_passes p ON p.id = r.pass_id
        ORDER BY r.lifecycle_id, (p.cluster_uid IS NULL), r.pass_id DESC
    ) rebound ON rebound.lifecycle_id = l.id
)
SELECT rule, tenant_name, tenant_uid, ARRAY['tenant_billing_lifecycle'], ARRAY[id],
       concat_ws(' ', 'created', created_at, created_time_source, 'observed', created_observed_at, 'pass', created_pass_id)
       || CASE WHEN num_nonnulls(deleted_at, deleted_not_before, deleted_time_source, deleted_observed_at, deleted_pass_id) > 0
          THEN concat_ws(' ', '; deleted', deleted_at, 'not before', deleted_not_before, deleted_time_source,
                         'observed', deleted_observed_at, 'pass', deleted_pass_id) ELSE '' END
       || concat('; cluster ' || cluster_uid, '; recognised by pass ' || recognised_pass_id)
FROM checked CROSS JOIN LATERAL unnest(rules) AS rule
WHERE cardinality(rules) > 0
