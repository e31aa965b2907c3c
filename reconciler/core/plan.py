"""Plans the rows that take the ledger from what it knows to what a snapshot shows.

A tenant is absent, live or gone. All transitions, and no others:

| known      | snapshot                      | rows                                                 |
|------------|-------------------------------|------------------------------------------------------|
| -          | live                          | created, enabled for each skill, suspended if it is  |
| -          | deletion committed            | the same, then deleted                               |
| live       | live                          | enabled, disabled, suspended, resumed, as it differs |
| live       | deletion committed, or absent | deleted, and nothing else                            |
| live (uid) | same name, another uid        | the old one deleted, the new one created             |
| gone (uid) | that uid, deletion committed  | nothing                                              |
| gone (uid) | that uid, alive               | quarantined: only an operator withdraws a deletion   |

An operator may decide otherwise, once: `rebind` lets the old lifecycle go on under the successor's uid,
`reopen` withdraws a deletion; then the tenant is known as live. `move` settles a changed org: the
lifecycle ends under the old one, and in the same instant the next begins under the new one.

No I/O, no clock: a plan is a value, and the same snapshot and state give the same plan.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.tenant import KnownState, Lifecycle, Snapshot, Tenant, Unreadable
from reconciler.core.text import quoted
from reconciler.core.times import CLOCK_TOLERANCE, Moment, TimeSource, moment
from reconciler.errors import Refused, SnapshotError


class Kind(StrEnum):
    """What a row says; in the order in which the rows of one tenant are listed."""

    CREATED = "created"
    ENABLED = "enabled"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    DELETED = "deleted"


class Row(Struct, frozen=True, gc=False):
    """One fact for the ledger, of the tenant whose change it belongs to."""

    kind: Kind
    at: Moment
    skill: str | None = None


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """What a pass does to one lifecycle."""

    lifecycle: Lifecycle
    """As it will be known afterwards; where it ends, as it was at its end."""
    rows: tuple[Row, ...] = ()
    """Empty where only the knowledge about it changes: frozen, readable again, recognised."""
    begins: bool = False
    ends: bool = False
    recognised: bool = False
    """The portal wrote it without a uid, and this snapshot shows whose it is."""
    rebound_from: str | None = None
    """The uid under which it was known before an operator let it go on under another."""
    reopened: bool = False
    """An operator withdrew its deletion."""
    weak: bool = False
    """It ends although no deletion was ever seen, only absence."""
    after_uid: str | None = None
    """The predecessor of the same name, without whose end this one cannot begin."""
    moved_from: Lifecycle | None = None
    """The lifecycle of the same tenant that ends, under the org that paid until now."""


class Overrides(Struct, frozen=True, kw_only=True):
    """What an operator decided, for one pass."""

    rebind: bool = False
    reopen: frozenset[str] = frozenset()
    """Names of tenants."""
    move: frozenset[str] = frozenset()
    """Names of tenants."""


NONE: Final = Overrides()


class Plan(Struct, frozen=True, kw_only=True):
    """The rows that a snapshot asks for, and what was left out of them and why."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
    """Ordered by tenant name, a predecessor before its successor."""
    quarantined: tuple[Unreadable, ...] = ()
    held: tuple[Lifecycle, ...] = ()
    """Live in the ledger, gone from the snapshot, and not deleted because the brake held."""
    adopts_cluster: bool = False
    """An operator let the snapshot's cluster continue the one that the ledger knows."""

    def rows(self) -> Iterator[tuple[Change, Row]]:
        for change in self.changes:
            for row in change.rows:
                yield change, row

    def counts(self) -> Counter[Kind]:
        return Counter(row.kind for _, row in self.rows())


def plan(snapshot: Snapshot, known: KnownState, overrides: Overrides = NONE) -> Plan:
    """The difference between what the snapshot shows and what the ledger knows.

    Raises SnapshotError where a uid or a name stands twice: that is no state of a cluster; and
    Refused where there is nothing to reopen or to move.
    """
    _check_identities(snapshot)
    _check_overrides(snapshot, known, overrides)
    snapshot = _placed(snapshot, known)
    changes: list[Change] = []
    quarantined = list(snapshot.unreadable)
    unseen = {lifecycle.name: lifecycle for lifecycle in known.lifecycles}
    left: set[str] = set()
    present = {tenant.uid for tenant in snapshot.tenants}

    def leave(lifecycle: Lifecycle) -> None:
        """It could not be read: the next interval reaches back to the last pass that could."""
        unseen.pop(lifecycle.name, None)
        left.add(lifecycle.name)
        changes.extend(unread(lifecycle, known, held=False))

    def set_aside(tenant: Tenant, reason: str) -> None:
        quarantined.append(Unreadable(uid=tenant.uid, name=tenant.name, reason=reason))

    for lifecycle in _frozen(snapshot, known):
        leave(lifecycle)
    for tenant in sorted(snapshot.tenants, key=lambda tenant: tenant.name):
        ours = _continued_by(tenant, known, unseen, overrides)
        if ours is not None and (problem := _undecided(ours, tenant, overrides)):
            set_aside(tenant, problem)
            is_decided = ours.uid is not None and tenant.uid not in known.live
            if is_decided and ours.name == tenant.name:
                unseen.pop(ours.name, None)
                changes.append(_taken_up(ours, tenant, known))
            elif unseen.get(ours.name) is ours:
                leave(ours)
        elif ours is not None:
            unseen.pop(ours.name, None)
            if _is_moved(ours, tenant):
                changes.extend(_moved(ours, tenant, snapshot, known))
            elif tenant.deleted_at is not None:
                changes.append(_ended(ours, snapshot, known, tenant=tenant))
            else:
                changes.extend(_continued(ours, tenant, snapshot, known))
        elif tenant.uid in known.gone:
            if tenant.deleted_at is None:
                set_aside(tenant, "metadata.uid: the ledger holds it for deleted, and it lives")
        elif tenant.name in left or (tenant.name in unseen and unseen[tenant.name].uid in present):
            set_aside(tenant, "metadata.name: the ledger knows it of another uid, which is not gone")
        else:
            predecessor = unseen.pop(tenant.name, None)
            if predecessor is not None:
                changes.append(_ended(predecessor, snapshot, known, successor=tenant))
            changes.append(_begun(tenant, snapshot, predecessor))
    # Absence is judged only inside the scope.
    changes.extend(
        _ended(lifecycle, snapshot, known)
        for lifecycle in unseen.values()
        if snapshot.scope is None or lifecycle.uid in snapshot.scope
    )
    # Stable: a predecessor stays before its successor.
    changes.sort(key=lambda change: change.lifecycle.name)
    quarantined.sort(key=lambda one: (one.name or "", one.uid or "", one.reason))
    return Plan(snapshot=snapshot, changes=tuple(changes), quarantined=tuple(quarantined))


def _continued_by(
    tenant: Tenant, known: KnownState, unseen: Mapping[str, Lifecycle], overrides: Overrides
) -> Lifecycle | None:
    """The lifecycle that goes on with this tenant: by its uid, its name, or an operator's decision."""
    if tenant.uid in known.live:
        return known.live[tenant.uid]
    is_alive = tenant.deleted_at is None
    ended = known.gone.get(tenant.uid)
    if ended is not None and not ended.moved_on:
        is_reopened = is_alive and tenant.name in overrides.reopen and tenant.name not in unseen
        return ended if is_reopened else None
    if tenant.name in known.adopted:
        return known.adopted[tenant.name]
    return unseen.get(tenant.name) if overrides.rebind and is_alive else None


def unread(lifecycle: Lifecycle, known: KnownState, *, held: bool) -> Sequence[Change]:
    """Remembers when the lifecycle could last be read, and whether it is held, if that is new."""
    if lifecycle.read_at is not None and lifecycle.held == held:
        return ()
    since = _since(lifecycle, known)
    return (Change(lifecycle=replace(lifecycle, read_at=since, held=held)),)


def _taken_up(lifecycle: Lifecycle, tenant: Tenant, known: KnownState) -> Change:
    """It goes on as an operator decided, frozen until its org is settled as well."""
    since = _since(lifecycle, known)
    return Change(
        lifecycle=replace(lifecycle, uid=tenant.uid, read_at=since, held=False),
        rebound_from=lifecycle.uid if lifecycle.uid != tenant.uid else None,
        reopened=lifecycle.uid == tenant.uid,
    )


def _placed(snapshot: Snapshot, known: KnownState) -> Snapshot:
    """The snapshot in the ledger's cluster and time, where it does not say otherwise itself."""
    observed_at, last = snapshot.observed_at, known.last_pass
    if last and last.observed_at - CLOCK_TOLERANCE <= observed_at < last.observed_at:
        # Two clocks may differ by a moment; the ledger's instants never run backwards.
        observed_at = last.observed_at
    cluster_uid = snapshot.cluster_uid or known.cluster_uid
    return replace(snapshot, observed_at=observed_at, cluster_uid=cluster_uid)


def _begun(tenant: Tenant, snapshot: Snapshot, predecessor: Lifecycle | None) -> Change:
    created = moment(tenant.created_at, TimeSource.CREATION, until=snapshot.observed_at)
    rows = [Row(Kind.CREATED, created)]
    rows += [Row(Kind.ENABLED, created, skill) for skill in tenant.skills]
    if tenant.suspended:
        rows.append(Row(Kind.SUSPENDED, _suspension(tenant, created.occurred_at, snapshot.observed_at)))
    if tenant.deleted_at is not None:
        deleted = moment(
            tenant.deleted_at,
            TimeSource.DELETION,
            since=created.occurred_at,
            until=snapshot.observed_at,
        )
        # What happened to it after its deletion no longer counts, and no row lies after the end.
        rows = [Row(row.kind, row.at.not_after(deleted.occurred_at), row.skill) for row in rows]
        rows.append(Row(Kind.DELETED, deleted))
    return Change(
        lifecycle=Lifecycle(
            id=None,
            uid=tenant.uid,
            name=tenant.name,
            org=tenant.org,
            created_at=created.occurred_at,
            skills=tenant.skills,
            suspended=tenant.suspended,
            changed_at=max(row.at.occurred_at for row in rows),
            settled_at=None if snapshot.scope is None else created.occurred_at,
        ),
        rows=tuple(rows),
        begins=True,
        ends=tenant.deleted_at is not None,
        after_uid=predecessor.uid if predecessor else None,
    )


def _continued(
    lifecycle: Lifecycle, tenant: Tenant, snapshot: Snapshot, known: KnownState
) -> Sequence[Change]:
    rows: tuple[Row, ...] = ()
    settled_at = lifecycle.settled_at
    reopened = lifecycle.uid in known.gone and lifecycle.uid not in known.live
    if lifecycle.skills != tenant.skills or lifecycle.suspended != tenant.suspended:
        since, until = _since(lifecycle, known), snapshot.observed_at
        before, after = set(lifecycle.skills), set(tenant.skills)
        evidence = tenant.evidence

        def at(time: datetime | None) -> Moment:
            return Moment.best([(time, TimeSource.MANAGED_FIELDS)], since, until)

        found = [
            Row(Kind.ENABLED, at(evidence.enabled(skill)), skill) for skill in sorted(after - before)
        ]
        found += [Row(Kind.DISABLED, at(evidence.disabled()), skill) for skill in sorted(before - after)]
        if tenant.suspended and not lifecycle.suspended:
            found.append(Row(Kind.SUSPENDED, _suspension(tenant, since, until)))
        elif lifecycle.suspended and not tenant.suspended:
            found.append(Row(Kind.RESUMED, at(evidence.suspend)))
        floor = lifecycle.changed_at
        if snapshot.scope is not None:
            evident = [row.at.occurred_at for row in found if row.at.source is not TimeSource.OBSERVED]
            settled_at = max(evident, default=settled_at)
        rows = tuple(Row(row.kind, row.at.not_earlier(floor), row.skill) for row in found)
    elif lifecycle.uid == tenant.uid and lifecycle.read_at is None and not reopened:
        return ()
    return (
        Change(
            lifecycle=replace(
                lifecycle,
                uid=tenant.uid,
                skills=tenant.skills,
                suspended=tenant.suspended,
                changed_at=max((row.at.occurred_at for row in rows), default=lifecycle.changed_at),
                settled_at=settled_at,
                read_at=None,
                held=False,
            ),
            rows=rows,
            recognised=lifecycle.uid is None,
            rebound_from=lifecycle.uid if lifecycle.uid != tenant.uid else None,
            reopened=reopened,
        ),
    )


def _ended(
    lifecycle: Lifecycle,
    snapshot: Snapshot,
    known: KnownState,
    *,
    tenant: Tenant | None = None,
    successor: Tenant | None = None,
) -> Change:
    """The end of a lifecycle: its deletion was seen (`tenant`), or only that it is not there."""
    since, until = _since(lifecycle, known), snapshot.observed_at
    uid = lifecycle.uid or (tenant.uid if tenant else None)
    if tenant is not None and tenant.deleted_at is not None:
        at = moment(tenant.deleted_at, TimeSource.DELETION, since=since, until=until)
    elif successor is not None:
        at = Moment.best([(successor.created_at, TimeSource.SUCCESSOR)], since, until)
    else:
        at = Moment.observed(since, until)
    return Change(
        lifecycle=replace(lifecycle, uid=uid),
        rows=(Row(Kind.DELETED, at.not_earlier(lifecycle.changed_at)),),
        ends=True,
        recognised=lifecycle.uid != uid,
        weak=tenant is None,
    )


def _moved(
    lifecycle: Lifecycle, tenant: Tenant, snapshot: Snapshot, known: KnownState
) -> Sequence[Change]:
    """The end under the old org and, unless the tenant has ended too, the beginning under the new one.

    A label leaves no evidence: it changed between the two snapshots, and what is on goes on.
    """
    ending = _ended(lifecycle, snapshot, known, tenant=tenant)
    if tenant.deleted_at is not None:
        return (ending,)
    at = ending.rows[-1].at
    rows = [Row(Kind.CREATED, at), *(Row(Kind.ENABLED, at, skill) for skill in tenant.skills)]
    if tenant.suspended:
        rows.append(Row(Kind.SUSPENDED, at))
    begun = _begun(tenant, snapshot, lifecycle)
    beginning = replace(
        begun,
        lifecycle=replace(begun.lifecycle, created_at=at.occurred_at, changed_at=at.occurred_at),
        rows=tuple(rows),
        moved_from=lifecycle,
    )
    return ending, beginning


def _suspension(tenant: Tenant, since: datetime, until: datetime) -> Moment:
    """When the operator noted it down; unless spec was changed later: then that is of an earlier one."""
    noted, changed = tenant.suspended_at, tenant.evidence.suspend
    evidence = [(noted, TimeSource.STATUS), (changed, TimeSource.MANAGED_FIELDS)]
    if noted is not None and changed is not None and noted < changed:
        evidence.reverse()
    return Moment.best(evidence, since, until)


def _since(lifecycle: Lifecycle, known: KnownState) -> datetime:
    """P: when the previous complete list that could read this tenant was asked for.

    Watched changes do not advance it, but for the tenant's own last row, where evidence dates that:
    how long a stream took to deliver it, nobody knows.
    """
    if lifecycle.read_at is not None:
        return lifecycle.read_at
    if known.listed_at is None:
        return lifecycle.changed_at
    return max(known.listed_at, lifecycle.settled_at or known.listed_at)


def _is_moved(lifecycle: Lifecycle, tenant: Tenant) -> bool:
    """Whether only its org changed."""
    return lifecycle.org != tenant.org and lifecycle.name == tenant.name


def _undecided(lifecycle: Lifecycle, tenant: Tenant, overrides: Overrides) -> str | None:
    """Why this known tenant waits for an operator, if it does."""
    if lifecycle.org != tenant.org and not (
        _is_moved(lifecycle, tenant) and tenant.name in overrides.move
    ):
        return f"metadata.labels: the org changed from {lifecycle.org} to {tenant.org}"
    if lifecycle.name != tenant.name:
        return f"metadata.name: the ledger knows this uid as {lifecycle.name}"
    return None


def _check_overrides(snapshot: Snapshot, known: KnownState, overrides: Overrides) -> None:
    closed = {
        tenant.name
        for tenant in snapshot.tenants
        if tenant.uid in known.gone
        and not known.gone[tenant.uid].moved_on
        and tenant.uid not in known.live
        and tenant.deleted_at is None
    }
    for name in sorted(overrides.reopen - closed):
        raise Refused(
            f"--reopen {quoted(name)}: no tenant of that name lives in the snapshot and is held for "
            "deleted by the ledger; nothing was written"
        )
    moved = {
        tenant.name
        for tenant in snapshot.tenants
        if (ours := known.live.get(tenant.uid) or known.adopted.get(tenant.name))
        and _is_moved(ours, tenant)
    }
    for name in sorted(overrides.move - moved):
        raise Refused(
            f"org move {quoted(name)}: no tenant of that name is in the snapshot under another org than "
            "in the ledger; nothing was written"
        )


def _frozen(snapshot: Snapshot, known: KnownState) -> Sequence[Lifecycle]:
    """The lifecycles of the unreadable: by uid; where that is unreadable or not known yet, by name."""
    uids = {unreadable.uid for unreadable in snapshot.unreadable if unreadable.uid is not None}
    names = {unreadable.name for unreadable in snapshot.unreadable if unreadable.uid is None}
    adopted = {unreadable.name for unreadable in snapshot.unreadable}
    return (
        [
            *(one for uid, one in known.live.items() if uid in uids or one.name in names),
            *(one for name, one in known.adopted.items() if name in adopted),
        ]
        if snapshot.unreadable
        else []
    )


def _check_identities(snapshot: Snapshot) -> None:
    everyone: list[Tenant | Unreadable] = [*snapshot.tenants, *snapshot.unreadable]
    for field, values in (
        ("metadata.uid", [one.uid for one in everyone if one.uid is not None]),
        ("metadata.name", [one.name for one in everyone if one.name is not None]),
    ):
        if len(set(values)) < len(values):
            twice = Counter(values).most_common(1)[0][0]
            raise SnapshotError(
                f"{quoted(snapshot.source)} is no snapshot: {field} {quoted(twice)} stands in it twice; "
                "nothing was written; try again"
            )
