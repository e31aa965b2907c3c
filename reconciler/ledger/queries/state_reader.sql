-- last_id --
-- The last pass: its id and instant. By these, what was read before is found to be current.
SELECT id, observed_at FROM reconciler_passes ORDER BY id DESC LIMIT 1

-- last_age --
-- Seconds since the last pass was written, by the database's clock.
SELECT extract(epoch FROM clock_timestamp() - written_at)::float8 FROM reconciler_passes ORDER BY id DESC LIMIT 1

-- last_pass --
-- The last pass, the cluster and the resourceVersions of its last list and last watched change since it was adopted,
-- the last complete list, and the instants of the weak deletions that were watched, written and held, within two
-- intervals before the last pass.
WITH cluster AS (
    SELECT cluster_uid FROM reconciler_passes WHERE cluster_uid IS NOT NULL ORDER BY id DESC LIMIT 1
), adopted AS (
    SELECT coalesce(max(id), 0) AS id FROM reconciler_passes WHERE adopted_cluster
), listed AS (
    SELECT p.resource_version FROM reconciler_passes p JOIN cluster USING (cluster_uid)
    WHERE p.complete AND p.id >= (SELECT id FROM adopted) AND p.resource_version ~ '^[0-9]{1,40}$' ORDER BY p.id DESC LIMIT 1
), watched AS (
    SELECT p.resource_version FROM reconciler_passes p JOIN cluster USING (cluster_uid)
    WHERE NOT p.complete AND p.id > (SELECT id FROM adopted) AND p.resource_version ~ '^[0-9]{1,40}$' ORDER BY p.id DESC LIMIT 1
)
SELECT id, asked_at, observed_at,
       coalesce(resource_version ~ '^[0-9]{1,40}$', false) AND cluster_uid IS NOT NULL,
       (SELECT cluster_uid FROM cluster), (SELECT resource_version FROM listed), (SELECT resource_version FROM watched),
       (SELECT asked_at FROM reconciler_passes WHERE complete ORDER BY id DESC LIMIT 1),
       ARRAY(SELECT l.deleted_observed_at
             FROM tenant_billing_lifecycle l JOIN reconciler_passes p ON p.id = l.deleted_pass_id
             WHERE l.deleted_time_source IN ('observed', 'successor') AND NOT p.complete
               AND l.deleted_observed_at > last.observed_at - %s::interval),
       ARRAY(SELECT p.observed_at FROM reconciler_passes p
             WHERE NOT p.complete AND p.held_back <> '[]' AND p.observed_at > last.observed_at - %s::interval)
FROM reconciler_passes last ORDER BY id DESC LIMIT 1

-- continuity --
-- When the last pass asked that shows all that happened before it, listed or caught up; whether something waits for the next
-- list since the last one: a deletion that is held back, a quarantined tenant, passes that were voided; and when the server
-- of a cluster was found to have gone back, to which resourceVersion and from which, where no pass has adopted it since.
SELECT (SELECT asked_at FROM reconciler_passes WHERE complete OR gapless ORDER BY id DESC LIMIT 1),
       EXISTS (SELECT FROM reconciler_passes p WHERE p.id >= listed.id AND (p.held_back <> '[]' OR p.quarantined <> '[]'))
           OR EXISTS (SELECT FROM reconciler_voids v WHERE v.id > listed.id),
       back.found_at, back.resource_version, back.ledger_version
FROM (SELECT coalesce((SELECT id FROM reconciler_passes WHERE complete ORDER BY id DESC LIMIT 1), 0) AS id) listed
LEFT JOIN reconciler_setbacks back ON back.cluster_uid = %s
    AND back.after_pass_id >= (SELECT coalesce(max(id), 0) FROM reconciler_passes WHERE adopted_cluster)
ORDER BY back.id LIMIT 1

-- live --
-- The last known state of live lifecycles: of these ids (twice), or of all where they are null. Before version 3 two columns
-- are missing, and their names are those of the absent ones.
SELECT known.* FROM (SELECT NULL::bytea AS fingerprint, NULL::timestamptz AS settled_at) AS absent
CROSS JOIN LATERAL (
    SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
           s.skills, s.suspended, s.changed_at, s.read_at, s.held, fingerprint, settled_at
    FROM reconciler_state s JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
    WHERE l.deleted_at IS NULL AND (%s::bigint[] IS NULL OR l.id = ANY (%s::bigint[]))
) known

-- stateless --
-- The live lifecycles that have no state: what a hook of the portal wrote after the adoption, and those of ours whose state
-- was lost.
SELECT late.id FROM tenant_billing_lifecycle late
WHERE late.created_pass_id IS NULL AND late.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM reconciler_state s WHERE s.lifecycle_id = late.id)
UNION ALL
SELECT lost.id FROM tenant_billing_lifecycle lost
WHERE lost.created_pass_id IS NOT NULL AND lost.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM reconciler_state s WHERE s.lifecycle_id = lost.id)
  AND (SELECT count(*) FROM tenant_billing_lifecycle l WHERE l.deleted_at IS NULL) <> (SELECT count(*) FROM reconciler_state)

-- late --
-- The lifecycles of these ids, none of which has a state. The portal's are taken up like adopted ones; ours go on from their
-- last row.
SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
       d.skills, d.suspended, d.changed_at, CASE WHEN l.created_pass_id IS NOT NULL THEN d.changed_at END, false, NULL, NULL
FROM reconciler_derived_state(%s::bigint[]) d
JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id

-- fingerprints --
-- The fingerprints of the tenants that need not be read while they have the same one, one after the other; and the last
-- pass, as of which they are.
SELECT (SELECT string_agg(fingerprint, '') FROM reconciler_state WHERE read_at IS NULL AND NOT held),
       (SELECT max(id) FROM reconciler_passes)

-- changed --
-- The live lifecycles that have no fingerprint or one of these, and those of these uids and names.
SELECT lifecycle_id FROM reconciler_state
WHERE fingerprint IS NULL OR read_at IS NOT NULL OR held OR fingerprint = ANY (%s::bytea[])
UNION
SELECT id FROM tenant_billing_lifecycle WHERE deleted_at IS NULL AND tenant_uid = ANY (%s::text[])
UNION
SELECT id FROM tenant_billing_lifecycle WHERE deleted_at IS NULL AND tenant_name = ANY (%s::text[])

-- concerned --
-- The live lifecycles of these uids and names.
SELECT id FROM tenant_billing_lifecycle WHERE deleted_at IS NULL AND tenant_uid = ANY (%s::text[])
UNION
SELECT id FROM tenant_billing_lifecycle WHERE deleted_at IS NULL AND tenant_name = ANY (%s::text[])

-- population --
-- How many live lifecycles there are.
SELECT count(*) FROM tenant_billing_lifecycle WHERE deleted_at IS NULL

-- heal --
-- Gives a state to the lifecycles of these ids, as `late` reads them.
INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at, read_at)
SELECT d.lifecycle_id, d.skills, d.suspended, d.changed_at, CASE WHEN l.created_pass_id IS NOT NULL THEN d.changed_at END
FROM reconciler_derived_state(%s::bigint[]) d
JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id

-- gone --
-- Of these tenants (uids, names, times of creation) those that have ended, as their last lifecycle was at its end.
WITH ended AS (
    -- Rows of the portal have no uid: its tenant is the one of that name which is older than their end.
    SELECT DISTINCT ON (new.uid) l.id, new.uid, l.tenant_name, l.zitadel_org_id, l.created_at,
           coalesce(l.deleted_not_before, l.deleted_at) AS read_at
    FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) AS new (uid, name, created_at)
    JOIN tenant_billing_lifecycle l ON l.deleted_at IS NOT NULL AND (
        l.tenant_uid = new.uid
        OR (l.tenant_uid IS NULL AND l.tenant_name = new.name AND l.deleted_at >= new.created_at))
    ORDER BY new.uid, l.id DESC
)
SELECT e.id, e.uid, e.tenant_name, e.zitadel_org_id, e.created_at,
       s.skills, s.suspended, s.changed_at, e.read_at, false, NULL, NULL,
       EXISTS (SELECT FROM reconciler_moves m WHERE m.previous_lifecycle_id = e.id)
FROM ended e
JOIN reconciler_derived_state((SELECT coalesce(array_agg(id), '{}') FROM ended)) s
  ON s.lifecycle_id = e.id

-- newer --
-- Of the watched passes over a cluster that are newer than a resourceVersion (both twice): the uids and the names of
-- their tenants, and whether one does not say whom it is about, as none did before version 3.
SELECT array_remove(array_agg(DISTINCT p.scope_uid), NULL), array_remove(array_agg(DISTINCT p.scope_name), NULL),
       bool_or(p.scope_uid IS NULL AND (p.quarantined, p.held_back) <> ('[]', '[]')
               OR p.scope_uid IS NULL AND p.lifecycle_inserted + p.lifecycle_deleted + p.events_inserted
                  + p.suspension_events_inserted > 0)
FROM reconciler_passes p
WHERE NOT p.complete AND p.cluster_uid = %s
  AND CASE WHEN p.resource_version ~ '^[0-9]{1,40}$' THEN p.resource_version::numeric END > %s::numeric
  -- They follow one another in the order of their resourceVersions: behind the first that is not newer there is none.
  AND p.id > coalesce(
      (SELECT b.id FROM reconciler_passes b
       WHERE NOT b.complete AND b.cluster_uid = %s
         AND CASE WHEN b.resource_version ~ '^[0-9]{1,40}$' THEN b.resource_version::numeric END <= %s::numeric
       ORDER BY b.id DESC LIMIT 1),
      (SELECT max(a.id) FROM reconciler_passes a WHERE a.adopted_cluster), 0)

-- portal_tables --
-- The time, and which of its tables the portal has made.
SELECT now(), coalesce(array_agg(c.relname::text), '{}') FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
  AND c.relname IN ('tenant_billing_lifecycle', 'tenant_skill_events', 'tenant_suspension_events')

-- portal_lifecycles --
-- The portal's lifecycles, before the schema is there, as the adoption will understand them (schema/11-adoption.sql). A column
-- that its table lacks is the absent one.
SELECT row.* FROM (SELECT NULL::bigint AS id, NULL::timestamptz AS deleted_at) AS absent
CROSS JOIN LATERAL (
    SELECT tenant_name::text, zitadel_org_id::text, least(created_at, now()),
           CASE WHEN deleted_at < 'infinity' THEN greatest(least(deleted_at, now()), least(created_at, now())) END
    FROM tenant_billing_lifecycle l ORDER BY id, l.ctid
) AS row

-- portal_skill_events --
-- The portal's rows of skills, in the order in which they count.
SELECT row.* FROM (SELECT NULL::bigint AS id) AS absent
CROSS JOIN LATERAL (
    SELECT tenant_name::text, skill_id::text, lower(btrim(event_kind::text)) = 'enabled', least(occurred_at, now())
    FROM tenant_skill_events e ORDER BY occurred_at, id, e.ctid
) AS row

-- portal_suspension_events --
-- The portal's rows of suspensions, in the order in which they count.
SELECT row.* FROM (SELECT NULL::bigint AS id) AS absent
CROSS JOIN LATERAL (
    SELECT tenant_name::text, NULL::text, lower(btrim(event_kind::text)) = 'suspended', least(occurred_at, now())
    FROM tenant_suspension_events e ORDER BY occurred_at, id, e.ctid
) AS row

-- was_read --
-- One row where a snapshot file of that digest, name and instant is in the ledger. Passes of before schema
-- version 3 have no digest, and are known by name and instant.
SELECT FROM reconciler_passes
WHERE content_digest = %s::text
   OR (content_digest IS NULL AND source = %s::text AND observed_at = %s::timestamptz)
LIMIT 1
