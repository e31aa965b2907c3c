"""Tenants, and what is known of them, in one line each."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reconciler.core.evidence import NOTHING, Evidence
from reconciler.core.plan import Plan
from reconciler.core.position import number
from reconciler.core.tenant import KnownState, LastPass, Lifecycle, Snapshot, Tenant, Unreadable


def at(seconds: float) -> datetime:
    """So many seconds after the previous pass asked; before it, where negative."""
    return datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(seconds=seconds)


CREATED = at(-1000)
P = at(0)
"""When the previous pass asked; it was answered a second later."""
S = at(60)
"""When the snapshot arrived; it was asked for a second before."""
LAST = LastPass(id=1, asked_at=P, observed_at=at(1))


def tenant(
    uid: str,
    name: str = "aare",
    *skills: str,
    org: str = "org-1",
    created: datetime = CREATED,
    suspended: bool = False,
    suspended_at: datetime | None = None,
    deleted: datetime | None = None,
    evidence: Evidence = NOTHING,
    org_changed: datetime | None = None,
) -> Tenant:
    return Tenant(
        uid=uid,
        name=name,
        org=org,
        created_at=created,
        skills=tuple(sorted(skills)),
        suspended=suspended,
        suspended_at=suspended_at,
        deleted_at=deleted,
        evidence=evidence,
        org_changed_at=org_changed,
    )


def lifecycle(
    uid: str | None,
    name: str = "aare",
    *skills: str,
    org: str = "org-1",
    suspended: bool = False,
    changed: datetime = CREATED,
    read: datetime | None = None,
    held: bool = False,
) -> Lifecycle:
    return Lifecycle(
        id=None,
        uid=uid,
        name=name,
        org=org,
        created_at=CREATED,
        skills=tuple(sorted(skills)),
        suspended=suspended,
        changed_at=changed,
        read_at=read,
        held=held,
    )


def unreadable(uid: str | None, name: str | None) -> Unreadable:
    return Unreadable(uid=uid, name=name, reason="spec.packages: odd")


def snapshot(
    tenants: Sequence[Tenant | Unreadable],
    *,
    observed: datetime = S,
    cluster: str | None = "cluster-1",
    version: str | None = None,
) -> Snapshot:
    return Snapshot(
        tenants=[one for one in tenants if isinstance(one, Tenant)],
        unreadable=[one for one in tenants if isinstance(one, Unreadable)],
        asked_at=observed - timedelta(seconds=1),
        observed_at=observed,
        cluster_uid=cluster,
        resource_version=version,
        source="cluster",
    )


def known(
    lifecycles: Sequence[Lifecycle] = (),
    *,
    gone: Sequence[str] = (),
    last: LastPass | None = LAST,
    cluster: str | None = "cluster-1",
    version: str | None = None,
) -> KnownState:
    return KnownState(
        live={one.uid: one for one in lifecycles if one.uid is not None},
        adopted={one.name: one for one in lifecycles if one.uid is None},
        gone={uid: lifecycle(uid) for uid in gone},
        last_pass=last,
        listed_at=last.asked_at if last else None,
        looked_at=last.asked_at if last else None,
        cluster_uid=cluster,
        cluster_version=number(version),
        listed_version=number(version),
    )


def said(plan: Plan) -> list[str]:
    """The plan's rows, in order: `aare/A enabled mail`."""
    return [
        f"{change.lifecycle.name}/{change.lifecycle.uid} {row.kind} {row.value or ''}".rstrip()
        for change, row in plan.rows()
    ]
