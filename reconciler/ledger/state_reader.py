"""Reads back what the ledger last said of each tenant."""

from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any, Final

from msgspec.structs import replace

from reconciler.core.tenant import RECENT, KnownState, LastPass, Lifecycle, Snapshot
from reconciler.ledger.postgres import Transaction

LAST: Final = "SELECT id, observed_at FROM reconciler_passes ORDER BY id DESC LIMIT 1"

_LAST_PASS: Final = """
WITH cluster AS (
    SELECT cluster_uid FROM reconciler_passes WHERE cluster_uid IS NOT NULL ORDER BY id DESC LIMIT 1
), newest AS (
    SELECT p.resource_version FROM reconciler_passes p JOIN cluster USING (cluster_uid)
    WHERE p.resource_version IS NOT NULL ORDER BY p.id DESC LIMIT 1
)
SELECT id, asked_at, observed_at,
       (SELECT cluster_uid FROM cluster), (SELECT resource_version FROM newest),
       (SELECT asked_at FROM reconciler_passes WHERE complete ORDER BY id DESC LIMIT 1),
       ARRAY(SELECT l.deleted_observed_at
             FROM tenant_billing_lifecycle l JOIN reconciler_passes p ON p.id = l.deleted_pass_id
             WHERE l.deleted_time_source IN ('observed', 'successor') AND NOT p.complete
               AND l.deleted_observed_at > last.observed_at - %s)
FROM reconciler_passes last ORDER BY id DESC LIMIT 1
"""

_LIVE = """
SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
       s.skills, s.suspended, s.changed_at, s.read_at, s.held
FROM reconciler_state s JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
WHERE l.deleted_at IS NULL
"""

_GONE = """
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
       s.skills, s.suspended, s.changed_at, e.read_at, false,
       EXISTS (SELECT FROM reconciler_moves m WHERE m.previous_lifecycle_id = e.id)
FROM ended e
JOIN reconciler_derived_state((SELECT coalesce(array_agg(id), '{}') FROM ended)) s
  ON s.lifecycle_id = e.id
"""

# What the portal wrote, before the schema is brought up to date; for a dry run.
_PORTAL = """
WITH switched AS (
    SELECT DISTINCT ON (tenant_name, skill_id)
           tenant_name, skill_id, event_kind = 'enabled' AS is_on
    FROM tenant_skill_events ORDER BY tenant_name, skill_id, occurred_at DESC, id DESC
), suspension AS (
    SELECT DISTINCT ON (tenant_name) tenant_name, event_kind = 'suspended' AS is_on
    FROM tenant_suspension_events ORDER BY tenant_name, occurred_at DESC, id DESC
), event AS (
    SELECT tenant_name, occurred_at FROM tenant_skill_events
    UNION ALL SELECT tenant_name, occurred_at FROM tenant_suspension_events
)
SELECT NULL::bigint, NULL::text, l.tenant_name, l.zitadel_org_id, l.created_at,
       ARRAY(SELECT skill_id FROM switched s WHERE s.tenant_name = l.tenant_name AND s.is_on
             ORDER BY skill_id COLLATE "C"),
       coalesce((SELECT is_on FROM suspension s WHERE s.tenant_name = l.tenant_name), false),
       least(greatest(l.created_at, (SELECT max(occurred_at) FROM event e
                                     WHERE e.tenant_name = l.tenant_name)), now()),
       l.deleted_at, false
FROM tenant_billing_lifecycle l
"""


def last_pass(transaction: Transaction) -> KnownState:
    """What is known of the passes themselves, and of no tenant yet."""
    rows = transaction.rows(_LAST_PASS, RECENT)
    if not rows:
        return KnownState()
    id_, asked_at, observed_at, cluster_uid, cluster_version, listed_at, deletions = rows[0]
    return KnownState(
        last_pass=LastPass(id=id_, asked_at=asked_at, observed_at=observed_at),
        listed_at=listed_at,
        watched_deletions=deletions,
        cluster_uid=cluster_uid,
        cluster_version=cluster_version,
    )


def known_state(transaction: Transaction) -> KnownState:
    """The last known state of every live lifecycle."""
    live: dict[str, Lifecycle] = {}
    adopted: dict[str, Lifecycle] = {}
    for row in transaction.stream(_LIVE):
        lifecycle = _lifecycle(row)
        if lifecycle.uid is None:
            adopted[lifecycle.name] = lifecycle
        else:
            live[lifecycle.uid] = lifecycle
    return replace(last_pass(transaction), live=live, adopted=adopted)


def gone(transaction: Transaction, snapshot: Snapshot, known: KnownState) -> Mapping[str, Lifecycle]:
    """The last lifecycles of the tenants in the snapshot that have ended, as they were then."""
    new = [
        (tenant.uid, tenant.name, tenant.created_at)
        for tenant in snapshot.tenants
        if tenant.uid not in known.live and tenant.name not in known.adopted
    ]
    rows = transaction.rows(_GONE, *map(list, zip(*new, strict=True))) if new else ()
    ended = map(_lifecycle, rows)
    return {lifecycle.uid: lifecycle for lifecycle in ended if lifecycle.uid is not None}


def portal_state(transaction: Transaction) -> KnownState:
    """What the portal's hooks wrote, where the schema is still theirs; nothing where there is none."""
    if transaction.value("SELECT to_regclass('tenant_billing_lifecycle') IS NULL"):
        return KnownState(has_tables=False)
    lifecycles = map(_lifecycle, transaction.rows(_PORTAL))
    return KnownState(
        has_tables=False, adopted={one.name: one for one in lifecycles if one.read_at is None}
    )


def portal_gone(
    transaction: Transaction, snapshot: Snapshot, known: KnownState
) -> Mapping[str, Lifecycle]:
    """The same of those in the snapshot that have ended, as they were then."""
    if transaction.value("SELECT to_regclass('tenant_billing_lifecycle') IS NULL"):
        return {}
    ended = {one.name: one for one in map(_lifecycle, transaction.rows(_PORTAL)) if one.read_at}
    return {
        tenant.uid: replace(ended[tenant.name], uid=tenant.uid)
        for tenant in snapshot.tenants
        if tenant.name in ended
        and tenant.uid not in known.live
        and tenant.name not in known.adopted
        and tenant.created_at <= (ended[tenant.name].read_at or tenant.created_at)
    }


def _lifecycle(row: Sequence[Any]) -> Lifecycle:
    id_, uid, name, org, created_at, skills, suspended, changed_at, read_at, held, *moved_on = row
    return Lifecycle(
        id=id_,
        uid=uid,
        name=name,
        org=intern(org),
        created_at=created_at,
        skills=tuple(map(intern, skills)),
        suspended=suspended,
        changed_at=changed_at,
        read_at=read_at,
        held=held,
        moved_on=moved_on == [True],
    )


def present(transaction: Transaction) -> Sequence[str]:
    """The uids of those that lived as of the last pass."""
    rows = transaction.rows(
        "SELECT l.tenant_uid FROM reconciler_state s"
        " JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id"
        " WHERE l.tenant_uid IS NOT NULL AND NOT s.held"
    )
    return [uid for (uid,) in rows]


def last_age(transaction: Transaction) -> float | None:
    """Seconds since the last pass was written, by the database's clock."""
    rows = transaction.rows(
        "SELECT extract(epoch FROM clock_timestamp() - written_at)::float8"
        " FROM reconciler_passes ORDER BY id DESC LIMIT 1"
    )
    return rows[0][0] if rows else None
