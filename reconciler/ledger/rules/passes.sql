-- Compares the passes with the rows that name them, and with each other.
WITH found (pass_id, begun, ended, switched, suspended) AS (
    SELECT pass_id, sum(begun), sum(ended), sum(switched), sum(suspended) FROM (
        SELECT created_pass_id, count(*), 0, 0, 0 FROM tenant_billing_lifecycle WHERE created_pass_id IS NOT NULL GROUP BY 1
        UNION ALL SELECT deleted_pass_id, 0, count(*), 0, 0 FROM tenant_billing_lifecycle WHERE deleted_pass_id IS NOT NULL GROUP BY 1
        UNION ALL SELECT deleted_pass_id, 0, count(*), 0, 0 FROM reconciler_reopenings WHERE deleted_pass_id IS NOT NULL GROUP BY 1
        UNION ALL SELECT pass_id, 0, 0, count(*), 0 FROM tenant_skill_events WHERE pass_id IS NOT NULL GROUP BY 1
        UNION ALL SELECT pass_id, 0, 0, 0, count(*) FROM tenant_suspension_events WHERE pass_id IS NOT NULL GROUP BY 1
    ) one (pass_id, begun, ended, switched, suspended) GROUP BY 1
), ordered AS (
    SELECT p.*, lag(p.id) OVER (ORDER BY p.id) AS before_id, lag(p.observed_at) OVER (ORDER BY p.id) AS before_at
    FROM reconciler_passes p
), of_clusters AS (
    SELECT p.*, lag(p.id) OVER (ORDER BY p.id) AS before_id, lag(p.cluster_uid) OVER (ORDER BY p.id) AS before_cluster
    FROM reconciler_passes p WHERE p.cluster_uid IS NOT NULL
), numbered AS (
    -- Within one cluster, and since it was adopted: a server that was restored counts anew.
    SELECT of_epochs.*, of_epochs.resource_version::numeric AS version
    FROM (
        SELECT p.*, count(*) FILTER (WHERE p.adopted_cluster) OVER (PARTITION BY p.cluster_uid ORDER BY p.id) AS epoch
        FROM reconciler_passes p
    ) of_epochs
    WHERE of_epochs.resource_version ~ '^[0-9]{1,40}$'
), versioned AS (
    -- A list may be older than changes that were watched while it was read, but not than the list before it.
    SELECT p.*, CASE WHEN p.complete THEN max(p.version) FILTER (WHERE p.complete) OVER w ELSE max(p.version) OVER w END AS before_version
    FROM numbered p
    WINDOW w AS (PARTITION BY p.cluster_uid, p.epoch ORDER BY p.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT 'pass-counts', NULL, NULL, ARRAY['reconciler_passes'], ARRAY[p.id], concat_ws(', ',
    CASE WHEN p.lifecycle_inserted <> coalesce(f.begun, 0)
         THEN format('%s lifecycles begun, %s found', p.lifecycle_inserted, coalesce(f.begun, 0)) END,
    CASE WHEN p.lifecycle_deleted <> coalesce(f.ended, 0)
         THEN format('%s lifecycles ended, %s found', p.lifecycle_deleted, coalesce(f.ended, 0)) END,
    CASE WHEN p.events_inserted <> coalesce(f.switched, 0)
         THEN format('%s skill events, %s found', p.events_inserted, coalesce(f.switched, 0)) END,
    CASE WHEN p.suspension_events_inserted <> coalesce(f.suspended, 0)
         THEN format('%s suspension events, %s found', p.suspension_events_inserted, coalesce(f.suspended, 0)) END)
FROM reconciler_passes p LEFT JOIN found f ON f.pass_id = p.id
WHERE (p.lifecycle_inserted, p.lifecycle_deleted, p.events_inserted, p.suspension_events_inserted)
      <> (coalesce(f.begun, 0), coalesce(f.ended, 0), coalesce(f.switched, 0), coalesce(f.suspended, 0))
UNION ALL
SELECT 'pass-order', NULL, NULL,
       CASE WHEN before_id IS NULL THEN ARRAY['reconciler_passes'] ELSE ARRAY['reconciler_passes', 'reconciler_passes'] END,
       array_remove(ARRAY[before_id, id], NULL),
       concat('asked ', asked_at, ', observed ', observed_at, '; the one before observed ' || before_at)
FROM ordered WHERE observed_at < before_at OR observed_at < asked_at
UNION ALL
SELECT 'pass-cluster', NULL, NULL, ARRAY['reconciler_passes', 'reconciler_passes'], ARRAY[before_id, id],
       concat('from ', before_cluster, ' to ', cluster_uid)
FROM of_clusters WHERE cluster_uid <> before_cluster AND NOT adopted_cluster
UNION ALL
SELECT 'pass-version', NULL, NULL, ARRAY['reconciler_passes', 'reconciler_passes'],
       ARRAY[(SELECT max(b.id) FROM numbered b
              WHERE b.cluster_uid IS NOT DISTINCT FROM v.cluster_uid AND b.epoch = v.epoch AND b.id < v.id AND b.version = v.before_version
                AND (b.complete OR NOT v.complete)), v.id],
       concat('from ', before_version, ' to ', resource_version)
FROM versioned v WHERE version < before_version
