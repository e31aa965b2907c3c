"""Reads back what the ledger last said of each tenant."""

from datetime import datetime
from sys import intern

from msgspec.structs import replace

from reconciler.core.tenant import KnownState, LastPass, Lifecycle, Snapshot
from reconciler.ledger.postgres import Transaction

_LAST_PASS = """
WITH cluster AS (
    SELECT cluster_uid FROM reconciler_passes WHERE cluster_uid IS NOT NULL ORDER BY id DESC LIMIT 1
), newest AS (
    SELECT p.resource_version FROM reconciler_passes p JOIN cluster USING (cluster_uid)
    WHERE p.resource_version IS NOT NULL ORDER BY p.id DESC LIMIT 1
)
SELECT id, asked_at, observed_at,
       (SELECT cluster_uid FROM cluster), (SELECT resource_version FROM newest)
FROM reconciler_passes ORDER BY id DESC LIMIT 1
"""

_LIVE = """
SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
       s.skills, s.suspended, s.changed_at, s.read_at
FROM reconciler_state s JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
WHERE l.deleted_at IS NULL
"""

_GONE = """
SELECT DISTINCT tenant_uid FROM tenant_billing_lifecycle
WHERE deleted_at IS NOT NULL AND tenant_uid = ANY(%s)
"""


def known_state(transaction: Transaction, snapshot: Snapshot) -> KnownState:
    """The last known state, as far as this snapshot needs it."""
    live: dict[str, Lifecycle] = {}
    adopted: dict[str, Lifecycle] = {}
    for row in transaction.rows(_LIVE):
        id_, uid, name, org, created_at, skills, suspended, changed_at, read_at = row
        lifecycle = Lifecycle(
            id=id_,
            uid=uid,
            name=name,
            org=intern(org),
            created_at=created_at,
            skills=tuple(map(intern, skills)),
            suspended=suspended,
            changed_at=changed_at,
            read_at=read_at,
        )
        if uid is None:
            adopted[name] = lifecycle
        else:
            live[uid] = lifecycle
    known = KnownState(live=live, adopted=adopted)
    known = replace(known, gone=gone(transaction, snapshot, known))
    last = transaction.rows(_LAST_PASS)
    if not last:
        return known
    id_, asked_at, observed_at, cluster_uid, cluster_version = last[0]
    return replace(
        known,
        last_pass=LastPass(id=id_, asked_at=asked_at, observed_at=observed_at),
        cluster_uid=cluster_uid,
        cluster_version=cluster_version,
    )


def gone(transaction: Transaction, snapshot: Snapshot, known: KnownState) -> frozenset[str]:
    """The uids in the snapshot whose last lifecycle has ended."""
    new = [tenant.uid for tenant in snapshot.tenants if tenant.uid not in known.live]
    return frozenset(uid for (uid,) in transaction.rows(_GONE, new)) if new else frozenset()


def last_instant(transaction: Transaction) -> datetime | None:
    """The instant of the last pass."""
    last = transaction.rows(_LAST_PASS)
    return last[0][2] if last else None
