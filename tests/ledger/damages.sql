-- Damages to the ledger of test_verify_damage.py. Above each stands the rule by which verify has to name it, with tenant and table.
-- The last statement of each returns the id of the row that is to be named.

-- a row loses its pass: row-incomplete, bob, tenant_skill_events
UPDATE tenant_skill_events
SET pass_id = NULL
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row loses its source: row-incomplete, cid, tenant_suspension_events
UPDATE tenant_suspension_events
SET time_source = NULL
WHERE tenant_name = 'cid' AND ordinal = 1
RETURNING id;

-- a row goes to no lifecycle: row-lifecycle, bob, tenant_skill_events
UPDATE tenant_skill_events
SET lifecycle_id = 999
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a suspension goes to no lifecycle: row-lifecycle, cid, tenant_suspension_events
UPDATE tenant_suspension_events
SET lifecycle_id = 999
WHERE tenant_name = 'cid' AND ordinal = 3
RETURNING id;

-- a lifecycle is gone: row-lifecycle, bob, tenant_skill_events
WITH gone AS (DELETE FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
SELECT id
FROM tenant_skill_events
WHERE tenant_name = 'bob' AND skill_id = 'mail';

-- a row names no pass: row-pass, bob, tenant_skill_events
UPDATE tenant_skill_events
SET pass_id = 999
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a pass is gone: row-pass, bob, tenant_skill_events
WITH gone AS (DELETE FROM reconciler_passes WHERE id = 2)
SELECT id
FROM tenant_skill_events
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 2;

-- a row gets another name: row-tenant, eve, tenant_skill_events
UPDATE tenant_skill_events
SET tenant_name = 'eve'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row gets another uid: row-tenant, bob, tenant_skill_events
UPDATE tenant_skill_events
SET tenant_uid = 'x'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row has the uid from before a rebinding: row-tenant, eva, tenant_skill_events
UPDATE tenant_skill_events SET tenant_uid = 'uid-of-eva' WHERE tenant_name = 'eva' RETURNING id;

-- a row goes to another tenant: row-tenant, bob, tenant_skill_events
UPDATE tenant_skill_events
SET lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'cid')
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row is neither on nor off: row-kind, bob, tenant_skill_events
UPDATE tenant_skill_events
SET event_kind = 'maybe'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a key is of another skill: row-subject, bob, tenant_skill_events
UPDATE tenant_skill_events
SET skill_key = 'other'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row was seen at another time: row-instant, bob, tenant_skill_events
UPDATE tenant_skill_events
SET observed_at = observed_at + interval '1 hour'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row is added as the portal would: row-late, bob, tenant_skill_events
INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)
VALUES ('bob', 'x', 'enabled', '2026-11-02Z')
RETURNING id;

-- an on becomes an off: alternation, bob, tenant_skill_events
UPDATE tenant_skill_events
SET event_kind = 'disabled'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a resumption becomes a suspension: alternation, cid, tenant_suspension_events
UPDATE tenant_suspension_events
SET event_kind = 'suspended'
WHERE tenant_name = 'cid' AND ordinal = 2
RETURNING id;

-- a row in the middle is gone: ordinal-gap, bob, tenant_skill_events
WITH gone AS (DELETE FROM tenant_skill_events WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 2)
SELECT id
FROM tenant_skill_events
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 3;

-- the first row is gone: ordinal-gap, cid, tenant_suspension_events
WITH gone AS (DELETE FROM tenant_suspension_events WHERE tenant_name = 'cid' AND ordinal = 1)
SELECT id
FROM tenant_suspension_events
WHERE tenant_name = 'cid' AND ordinal = 2;

-- the portal's row is gone before ours: ordinal-gap, ada, tenant_skill_events
WITH gone AS (DELETE FROM tenant_skill_events WHERE tenant_name = 'ada' AND skill_id = 'mail' AND ordinal IS NULL)
SELECT id
FROM tenant_skill_events
WHERE tenant_name = 'ada' AND ordinal = 0;

-- a row is there twice: ordinal-twice, bob, tenant_skill_events
INSERT INTO tenant_skill_events (tenant_name, skill_id, skill_key, event_kind, occurred_at, lifecycle_id, tenant_uid, not_before, time_source, observed_at, pass_id, ordinal)
SELECT tenant_name, skill_id, skill_key, event_kind, occurred_at, lifecycle_id, tenant_uid, not_before, time_source, observed_at, pass_id, ordinal
FROM tenant_skill_events
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- an interval begins after its end: interval, bob, tenant_skill_events
UPDATE tenant_skill_events
SET not_before = occurred_at + interval '1 s'
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 2
RETURNING id;

-- a row occurs after it was seen: interval, cid, tenant_suspension_events
UPDATE tenant_suspension_events
SET occurred_at = observed_at + interval '1 s'
WHERE tenant_name = 'cid' AND ordinal = 2
RETURNING id;

-- a row is moved before the one before: time-order, cid, tenant_suspension_events
UPDATE tenant_suspension_events
SET occurred_at = '2026-11-01T12:00Z', not_before = '2026-11-01T12:00Z', time_source = 'status'
WHERE tenant_name = 'cid' AND ordinal = 3
RETURNING id;

-- two rows of a subject are of one pass: write-order, bob, tenant_skill_events
UPDATE tenant_skill_events
SET pass_id = 2
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 3
RETURNING id;

-- an enabled is as of a status: time-source, bob, tenant_skill_events
UPDATE tenant_skill_events
SET time_source = 'status'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a resumption is as of a status: time-source, cid, tenant_suspension_events
UPDATE tenant_suspension_events
SET time_source = 'status'
WHERE tenant_name = 'cid' AND ordinal = 2
RETURNING id;

-- a later row is as of the creation: time-source, bob, tenant_skill_events
UPDATE tenant_skill_events
SET time_source = 'creation'
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 3
RETURNING id;

-- what was only observed gets an earlier time: time-source, bob, tenant_skill_events
UPDATE tenant_skill_events
SET occurred_at = not_before
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 2
RETURNING id;

-- a row lies before its lifecycle: before-creation, bob, tenant_skill_events
UPDATE tenant_skill_events
SET occurred_at = '2025-01-01Z', not_before = '2025-01-01Z'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING id;

-- a row is of a pass before its lifecycle: before-creation, dot, tenant_skill_events
UPDATE tenant_skill_events SET pass_id = 1 WHERE tenant_uid = 'dot-2' RETURNING id;

-- an end is moved before the last row: after-deletion, dot, tenant_skill_events
UPDATE tenant_billing_lifecycle
SET deleted_at = '2026-11-02T06:00Z', deleted_not_before = '2026-11-02T06:00Z'
WHERE tenant_uid = 'dot-2'
RETURNING (SELECT id FROM tenant_skill_events WHERE tenant_uid = 'dot-2');

-- a row is written while it was deleted: after-deletion, bob, tenant_skill_events
INSERT INTO reconciler_passes (id, source, asked_at, observed_at, tenants_examined, lifecycle_inserted, lifecycle_deleted, events_inserted, suspension_events_inserted, program_version) OVERRIDING SYSTEM VALUE
SELECT 45, source, asked_at, observed_at, 0, 0, 0, 1, 0, ''
FROM reconciler_passes
WHERE id = 4;
UPDATE reconciler_reopenings SET pass_id = 50;
UPDATE tenant_skill_events
SET pass_id = 45
WHERE tenant_name = 'bob' AND skill_id = 'crm'
RETURNING id;

-- a begin is not explained: lifecycle-incomplete, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET created_time_source = NULL
WHERE tenant_name = 'bob'
RETURNING id;

-- an end is forgotten in part: lifecycle-incomplete, dot, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET deleted_at = NULL WHERE tenant_uid = 'dot-2' RETURNING id;

-- a lifecycle loses its uid: lifecycle-incomplete, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET tenant_uid = NULL WHERE tenant_name = 'bob' RETURNING id;

-- a lifecycle ends by no pass: lifecycle-pass, dot, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET deleted_pass_id = 999 WHERE tenant_uid = 'dot-2' RETURNING id;

-- a lifecycle begins at another instant: lifecycle-instant, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET created_observed_at = created_observed_at + interval '1 s'
WHERE tenant_name = 'bob'
RETURNING id;

-- an end lies after it was seen: lifecycle-interval, dot, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET deleted_at = '2027-01-01Z'
WHERE tenant_uid = 'dot-2'
RETURNING id;

-- a lifecycle ends before it begins: lifecycle-order, dot, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET deleted_at = '2025-01-01Z', deleted_not_before = '2025-01-01Z'
WHERE tenant_uid = 'dot-2'
RETURNING id;

-- a begin is moved: lifecycle-source, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET created_at = created_at + interval '1 s'
WHERE tenant_name = 'bob'
RETURNING id;

-- an end is as of a status: lifecycle-source, dot, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET deleted_time_source = 'status'
WHERE tenant_uid = 'dot-2'
RETURNING id;

-- a successor is gone: lifecycle-successor, dot, tenant_billing_lifecycle
WITH gone AS (DELETE FROM tenant_billing_lifecycle WHERE tenant_uid = 'dot-3')
SELECT id
FROM tenant_billing_lifecycle
WHERE tenant_uid = 'dot-2';

-- a lifecycle moves to another cluster: lifecycle-cluster, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET cluster_uid = 'other' WHERE tenant_name = 'bob' RETURNING id;

-- a lifecycle is added as the portal would: lifecycle-late, new, tenant_billing_lifecycle
INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at)
VALUES ('new', 'org-1', '2026-11-02Z')
RETURNING id;

-- a lifecycle of ours was recognised: recognition, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET recognised_pass_id = 2 WHERE tenant_name = 'bob' RETURNING id;

-- two live ones have one name: live-name-twice, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET tenant_name = 'bob' WHERE tenant_name = 'cid' RETURNING id;

-- two live ones have one uid: live-uid-twice, bob, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle SET tenant_uid = 'uid-of-bob' WHERE tenant_name = 'cid' RETURNING id;

-- two lives of a uid overlap: lifecycles-overlap, dot, tenant_billing_lifecycle
UPDATE tenant_billing_lifecycle
SET tenant_uid = 'dot-2', created_at = '2026-11-02T18:00Z'
WHERE tenant_uid = 'dot-3'
RETURNING id;

-- a state is gone: state-missing, bob, tenant_billing_lifecycle
DELETE
FROM reconciler_state
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- a state is of no lifecycle: state-of-none, -, reconciler_state
INSERT INTO reconciler_state
SELECT 999, skills, suspended, changed_at
FROM reconciler_state LIMIT 1
RETURNING lifecycle_id;

-- a state is of one that ended: state-of-none, dot, reconciler_state
INSERT INTO reconciler_state
SELECT id, '{}', false, created_at
FROM tenant_billing_lifecycle
WHERE tenant_uid = 'dot-2'
RETURNING lifecycle_id;

-- a state has a skill more: state-differs, bob, reconciler_state
UPDATE reconciler_state
SET skills = skills || '{x}'
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- a state is suspended: state-differs, bob, reconciler_state
UPDATE reconciler_state
SET suspended = true
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- a state changed at another time: state-differs, bob, reconciler_state
UPDATE reconciler_state
SET changed_at = '2026-01-01Z'
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- the last row of a subject is gone: state-differs, bob, reconciler_state
DELETE
FROM tenant_skill_events
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 3
RETURNING lifecycle_id;

-- a state was read in the future: state-read, bob, reconciler_state
UPDATE reconciler_state
SET read_at = '2027-01-01Z'
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- a state was read too early: state-read, bob, reconciler_state
UPDATE reconciler_state
SET read_at = '2026-11-01Z'
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- a state is held though it was read: state-read, bob, reconciler_state
UPDATE reconciler_state
SET held = true
WHERE lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'bob')
RETURNING lifecycle_id;

-- a rebinding is of another uid: rebinding, eva, reconciler_rebindings
UPDATE reconciler_rebindings SET new_uid = 'x' RETURNING pass_id;

-- a rebinding is of no lifecycle: rebinding, -, reconciler_rebindings
UPDATE reconciler_rebindings SET lifecycle_id = 999 RETURNING pass_id;

-- a rebinding is gone: row-tenant, eva, tenant_skill_events
DELETE FROM reconciler_rebindings;
UPDATE tenant_skill_events SET tenant_uid = 'uid-of-eva' WHERE tenant_name = 'eva' RETURNING id;

-- a reopening withdraws what never was: reopening, bob, reconciler_reopenings
UPDATE reconciler_reopenings SET deleted_pass_id = 999 RETURNING pass_id;

-- a reopening came before its end: reopening, bob, reconciler_reopenings
UPDATE reconciler_reopenings SET pass_id = 2 RETURNING pass_id;

-- a reopening is gone: pass-counts, -, reconciler_passes
DELETE FROM reconciler_reopenings RETURNING deleted_pass_id;

-- an end is withdrawn and not: reopening, bob, reconciler_reopenings
UPDATE tenant_billing_lifecycle l
SET deleted_at = r.deleted_at, deleted_not_before = r.deleted_not_before, deleted_time_source = r.deleted_time_source, deleted_observed_at = r.deleted_observed_at, deleted_pass_id = r.deleted_pass_id
FROM reconciler_reopenings r
WHERE l.id = r.lifecycle_id
RETURNING r.pass_id;

-- a decision is about another one: override, cid, reconciler_overrides
UPDATE reconciler_overrides
SET lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'cid')
WHERE override = 'move'
RETURNING id;

-- nobody reopened it: override-missing, bob, reconciler_reopenings
DELETE FROM reconciler_overrides WHERE override = 'reopen';
SELECT pass_id FROM reconciler_reopenings;

-- nobody moved it: override-missing, gus, reconciler_moves
DELETE FROM reconciler_overrides WHERE override = 'move';
SELECT pass_id FROM reconciler_moves;

-- nobody rebound it: override-missing, eva, reconciler_rebindings
DELETE FROM reconciler_overrides WHERE override = 'rebind';
SELECT pass_id FROM reconciler_rebindings;

-- a move ends another one: move, gus, reconciler_moves
UPDATE reconciler_moves
SET previous_lifecycle_id = (SELECT id FROM tenant_billing_lifecycle WHERE tenant_name = 'cid')
RETURNING pass_id;

-- a move was of no pass: move, gus, reconciler_moves
UPDATE reconciler_moves SET pass_id = 4 RETURNING pass_id;

-- a move leads to the same org: move, gus, reconciler_moves
UPDATE tenant_billing_lifecycle SET zitadel_org_id = 'org-1' WHERE tenant_name = 'gus';
SELECT pass_id FROM reconciler_moves;

-- a move leaves a gap: move, gus, reconciler_moves
UPDATE tenant_billing_lifecycle
SET deleted_at = deleted_not_before
WHERE tenant_name = 'gus' AND deleted_at IS NOT NULL;
SELECT pass_id FROM reconciler_moves;

-- a move is gone: lifecycle-source, gus, tenant_billing_lifecycle
WITH gone AS (DELETE FROM reconciler_moves RETURNING lifecycle_id)
SELECT lifecycle_id FROM gone;

-- a skill goes on as of the first creation: time-source, gus, tenant_skill_events
UPDATE tenant_skill_events
SET time_source = 'creation'
WHERE tenant_name = 'gus' AND pass_id = 3
RETURNING id;

-- a pass counted one row more: pass-counts, -, reconciler_passes
UPDATE reconciler_passes SET events_inserted = events_inserted + 1 WHERE id = 2 RETURNING id;

-- a row of a pass is gone: pass-counts, -, reconciler_passes
DELETE FROM tenant_suspension_events WHERE tenant_name = 'cid' AND ordinal = 3 RETURNING pass_id;

-- a pass saw the cluster earlier: pass-order, -, reconciler_passes
UPDATE reconciler_passes
SET asked_at = '2026-01-01Z', observed_at = '2026-01-01Z'
WHERE id = 3
RETURNING id;

-- a pass was answered before it asked: pass-order, -, reconciler_passes
UPDATE reconciler_passes SET asked_at = observed_at + interval '1 s' WHERE id = 3 RETURNING id;

-- a resourceVersion goes back: pass-version, -, reconciler_passes
UPDATE reconciler_passes SET resource_version = '1' WHERE id = 3 RETURNING id;

-- a cluster changes unasked: pass-cluster, -, reconciler_passes
UPDATE reconciler_passes SET cluster_uid = 'other' WHERE id = 3 RETURNING id;

-- a skill is another one from the beginning: digest-rows, -, reconciler_passes
UPDATE tenant_skill_events
SET skill_id = 'chat', skill_key = 'chat'
WHERE tenant_name = 'bob' AND skill_id = 'mail'
RETURNING pass_id;

-- an interval becomes shorter: digest-rows, -, reconciler_passes
UPDATE tenant_skill_events
SET not_before = occurred_at
WHERE tenant_name = 'bob' AND skill_id = 'wiki' AND ordinal = 2
RETURNING pass_id;

-- a lifecycle goes to another org: digest-rows, -, reconciler_passes
UPDATE tenant_billing_lifecycle
SET zitadel_org_id = 'other'
WHERE tenant_name = 'bob'
RETURNING created_pass_id;

-- a pass was of other tenants: digest-rows, -, reconciler_passes
UPDATE reconciler_passes SET tenants_examined = 0 WHERE id = 3 RETURNING id;

-- a withdrawn end is moved: digest-rows, -, reconciler_passes
UPDATE reconciler_reopenings SET deleted_not_before = deleted_at RETURNING deleted_pass_id;

-- a pass over all becomes one of a single change: digest-rows, -, reconciler_passes
UPDATE reconciler_passes SET complete = false WHERE id = 3 RETURNING id;

-- a move is of another lifecycle: digest-rows, -, reconciler_passes
UPDATE reconciler_moves SET previous_lifecycle_id = previous_lifecycle_id + 100 RETURNING pass_id;

-- an adopted one goes to another org: digest-rows, -, reconciler_passes
UPDATE tenant_billing_lifecycle
SET zitadel_org_id = 'other'
WHERE tenant_name = 'ada'
RETURNING recognised_pass_id;

-- the last pass is gone with all its rows: digest-rows, -, reconciler_passes
DELETE FROM tenant_skill_events WHERE pass_id = 5;
DELETE FROM reconciler_passes WHERE id = 5 RETURNING id;

-- a digest is computed anew after a change: digest-chain, -, reconciler_digests
UPDATE tenant_billing_lifecycle SET zitadel_org_id = 'other' WHERE tenant_name = 'bob';
UPDATE reconciler_digests d
SET rows_digest = r.rows_digest, digest = sha256(r.rows_digest)
FROM reconciler_pass_digests(1, 1) r
WHERE d.pass_id = 1
RETURNING 2;

-- a digest is gone: digest-missing, -, reconciler_passes
DELETE FROM reconciler_digests WHERE pass_id = 3 RETURNING pass_id;

-- a row of the portal is altered: adoption, -, reconciler_adoptions
UPDATE tenant_skill_events SET occurred_at = occurred_at - interval '1 day'
WHERE id = (SELECT min(id) FROM tenant_skill_events WHERE pass_id IS NULL)
RETURNING 1;

-- a lifecycle that no pass began comes in: adoption, -, reconciler_adoptions
INSERT INTO tenant_billing_lifecycle (id, tenant_name, zitadel_org_id, created_at)
VALUES (0, 'nobody', 'acme', '2026-01-01Z')
RETURNING 1;
