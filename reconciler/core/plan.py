"""Plans the rows that take the ledger from what it knows to what a snapshot shows.

`cases` says which transition a tenant is in. This module makes the rows of each transition.
A plan is a value: there is no I/O and no clock, and the same snapshot and state give the same plan.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.cases import NONE, Case, Found, Overrides, Record, cases
from reconciler.core.kinds import MEANING, Kind
from reconciler.core.position import is_in_order
from reconciler.core.tenant import KnownState, Lifecycle, Newer, Snapshot, Tenant, Unreadable
from reconciler.core.text import quoted
from reconciler.core.times import CLOCK_TOLERANCE, Moment, TimeSource, when
from reconciler.errors import Refused, SnapshotError


class Row(Struct, frozen=True, gc=False):
    """One row for the ledger, of the tenant of its change."""

    kind: Kind
    at: Moment
    value: str | None = None
    """The skill; None if the kind needs none."""


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """What a pass does to one lifecycle."""

    case: Case
    lifecycle: Lifecycle
    """As it will be known afterwards; if it ends, as it was at its end."""
    previous: Lifecycle | None = None
    """As it was known; if it begins, the lifecycle that it was moved from."""
    rows: tuple[Row, ...] = ()
    """Empty if only the known state changes: it was frozen, is readable again, or was recognised."""

    @property
    def known(self) -> Lifecycle | None:
        """The lifecycle as it was known; None if it begins."""
        return None if self.case.begins else self.previous


class Plan(Struct, frozen=True, kw_only=True):
    """The rows that a snapshot leads to, and what was left out and why."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
    """Ordered by tenant name, a predecessor before its successor."""
    quarantined: tuple[Unreadable, ...] = ()
    held: tuple[Lifecycle, ...] = ()
    """Live in the ledger and missing from the snapshot, but not deleted, because the brake is on."""
    adopts_cluster: bool = False
    """An operator allowed the snapshot's cluster to continue the state of the ledger's."""

    def rows(self) -> Iterator[tuple[Change, Row]]:
        for change in self.changes:
            for row in change.rows:
                yield change, row

    def counts(self) -> Counter[Kind]:
        return Counter(row.kind for _, row in self.rows())

    def counters(self) -> Mapping[str, int]:
        """The number of rows per counter of the table of kinds."""
        counts, counters = self.counts(), Counter[str]()
        for kind, meaning in MEANING.items():
            counters[meaning.counter] += counts[kind]
        return counters

    def recorded(self, record: Record) -> Sequence[Change]:
        """The changes that an operator decided and that are recorded as `record`."""
        return [change for change in self.changes if change.case.record is record]


def plan(snapshot: Snapshot, known: KnownState, overrides: Overrides = NONE) -> Plan:
    """The difference between what the snapshot shows and what the ledger knows.

    Raises SnapshotError if a uid or a name occurs twice, which is impossible in a cluster, and Refused
    if there is nothing to reopen or to move.
    """
    _check_identities(snapshot)
    snapshot = _placed(snapshot, known)
    found = cases(snapshot, known, overrides)
    if overrides.reopen or overrides.move:
        _check_overrides(found, overrides)
    changes = [made for one in found if (made := _change(one, snapshot, known)) is not None]
    # Stable: a predecessor stays before its successor.
    changes.sort(key=lambda change: change.lifecycle.name)
    newer = known.newer or Newer()
    unreadable = [one for one in snapshot.unreadable if one not in newer]
    quarantined = [*unreadable, *_quarantined(found)]
    quarantined.sort(key=lambda one: (one.name or "", one.uid or "", one.reason))
    return Plan(snapshot=snapshot, changes=tuple(changes), quarantined=tuple(quarantined))


def _change(found: Found, snapshot: Snapshot, known: KnownState) -> Change | None:
    """What a pass does in this case; None if it does nothing."""
    match found:
        case Found(Case.BEGINS | Case.BEGINS_DELETED, Tenant() as tenant):
            return _begins(found.case, tenant, snapshot)
        case Found(
            Case.CONTINUES | Case.RECOGNISED | Case.REBOUND | Case.REOPENED,
            Tenant() as tenant,
            Lifecycle() as lifecycle,
        ):
            return _continues(found.case, lifecycle, tenant, snapshot, known)
        case Found(Case.ENDS, Tenant() as tenant, Lifecycle() as lifecycle):
            seen = {TimeSource.DELETION: tenant.deleted_at}
            return _ends(found, lifecycle, seen, snapshot, known)
        case Found(Case.SUCCEEDED, Tenant() as successor, Lifecycle() as lifecycle):
            seen = {TimeSource.SUCCESSOR: successor.created_at}
            return _ends(found, lifecycle, seen, snapshot, known)
        case Found(Case.VANISHED | Case.MOVED_OUT, _, Lifecycle() as lifecycle):
            return _ends(found, lifecycle, {}, snapshot, known)
        case Found(Case.MOVED_IN, Tenant() as tenant, Lifecycle() as lifecycle):
            at = _ends(found, lifecycle, {}, snapshot, known).rows[0].at
            return _moves_in(lifecycle, tenant, at, snapshot)
        case Found(
            Case.REBOUND_ELSEWHERE | Case.REOPENED_ELSEWHERE,
            Tenant() as tenant,
            Lifecycle() as lifecycle,
        ):
            return _goes_on_frozen(found.case, lifecycle, tenant, known)
        case Found(Case.ORG_CHANGED | Case.NAME_CHANGED | Case.UNREADABLE, _, Lifecycle() as lifecycle):
            return unread(found.case, lifecycle, known)
        case _:
            return None


def unread(case: Case, lifecycle: Lifecycle, known: KnownState, *, held: bool = False) -> Change | None:
    """Freezes a lifecycle: notes when it was last read and whether it is held. None if that is known."""
    if lifecycle.read_at is not None and lifecycle.held == held:
        return None
    since = _since(lifecycle, known)
    return Change(case=case, lifecycle=replace(lifecycle, read_at=since, held=held), previous=lifecycle)


def _goes_on_frozen(case: Case, lifecycle: Lifecycle, tenant: Tenant, known: KnownState) -> Change:
    """Continues it as an operator decided, but frozen until `org move` accepts its org as well."""
    since = _since(lifecycle, known)
    return Change(
        case=case,
        lifecycle=replace(lifecycle, uid=tenant.uid, read_at=since, held=False),
        previous=lifecycle,
    )


def _placed(snapshot: Snapshot, known: KnownState) -> Snapshot:
    """The snapshot with the ledger's cluster if it names none, and never before the last pass."""
    observed_at, last = snapshot.observed_at, known.last_pass
    cluster_uid = snapshot.cluster_uid or known.cluster_uid
    if last and (is_in_order(snapshot, known) or last.observed_at - CLOCK_TOLERANCE <= observed_at):
        # The ledger's instants never run backwards: two clocks may differ by a moment, and what the
        # resourceVersions put in order may have waited while others wrote.
        observed_at = max(observed_at, last.observed_at)
    gap_since = known.listed_at if snapshot.gapless is False else None
    return replace(
        snapshot,
        observed_at=observed_at,
        cluster_uid=cluster_uid,
        # Before the first list there is nothing that could have been missed.
        gapless=None if known.listed_at is None else snapshot.gapless,
        gap_since=gap_since,
    )


def _begins(case: Case, tenant: Tenant, snapshot: Snapshot) -> Change:
    until = snapshot.observed_at
    stated = {TimeSource.CREATION: tenant.created_at}
    created = when(Kind.CREATED, stated, tenant.created_at, until)
    rows = [Row(Kind.CREATED, created)]
    # By rule, a skill that is enabled at first sight was enabled when the tenant was created.
    rows += [Row(Kind.ENABLED, created, skill) for skill in tenant.skills]
    if tenant.suspended:
        rows.append(Row(Kind.SUSPENDED, _suspended_at(tenant, created.occurred_at, until)))
    if tenant.deleted_at is not None:
        seen = {TimeSource.DELETION: tenant.deleted_at}
        deleted = when(Kind.DELETED, seen, created.occurred_at, until)
        # Nothing counts after the deletion, so no row is later than it.
        rows = [Row(row.kind, row.at.not_after(deleted.occurred_at), row.value) for row in rows]
        rows.append(Row(Kind.DELETED, deleted))
    return Change(
        case=case,
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
    )


def _continues(
    case: Case, lifecycle: Lifecycle, tenant: Tenant, snapshot: Snapshot, known: KnownState
) -> Change:
    found = list(_differences(lifecycle, tenant, _since(lifecycle, known), snapshot.observed_at))
    settled_at = lifecycle.settled_at
    if snapshot.scope is not None:
        evident = [row.at.occurred_at for row in found if row.at.source is not TimeSource.OBSERVED]
        settled_at = max(evident, default=settled_at)
    rows = tuple(Row(row.kind, row.at.not_earlier(lifecycle.changed_at), row.value) for row in found)
    return Change(
        case=case,
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
        previous=lifecycle,
        rows=rows,
    )


def _differences(
    lifecycle: Lifecycle, tenant: Tenant, since: datetime, until: datetime
) -> Iterator[Row]:
    """A row for each skill that differs, and one if the suspension differs."""
    before, after = set(lifecycle.skills), set(tenant.skills)

    def row(kind: Kind, changed: datetime | None, skill: str | None = None) -> Row:
        return Row(kind, when(kind, {TimeSource.MANAGED_FIELDS: changed}, since, until), skill)

    for skill in sorted(after - before):
        yield row(Kind.ENABLED, tenant.evidence.enabled(skill), skill)
    for skill in sorted(before - after):
        yield row(Kind.DISABLED, tenant.evidence.disabled(), skill)
    if tenant.suspended and not lifecycle.suspended:
        yield Row(Kind.SUSPENDED, _suspended_at(tenant, since, until))
    elif lifecycle.suspended and not tenant.suspended:
        yield row(Kind.RESUMED, tenant.evidence.suspend)


def _ends(
    found: Found,
    lifecycle: Lifecycle,
    evidence: Mapping[TimeSource, datetime | None],
    snapshot: Snapshot,
    known: KnownState,
) -> Change:
    at = when(Kind.DELETED, evidence, _since(lifecycle, known), snapshot.observed_at)
    uid = lifecycle.uid or (found.tenant.uid if found.tenant else None)
    return Change(
        case=found.case,
        lifecycle=replace(lifecycle, uid=uid),
        previous=lifecycle,
        rows=(Row(Kind.DELETED, at.not_earlier(lifecycle.changed_at)),),
    )


def _moves_in(lifecycle: Lifecycle, tenant: Tenant, at: Moment, snapshot: Snapshot) -> Change:
    """The beginning under the new org, at the instant at which the lifecycle under the old org ends.

    There is no evidence for the time of a label's change, only the interval between two snapshots.
    """
    begins = _begins(Case.MOVED_IN, tenant, snapshot)
    return replace(
        begins,
        lifecycle=replace(begins.lifecycle, created_at=at.occurred_at, changed_at=at.occurred_at),
        previous=lifecycle,
        rows=tuple(Row(row.kind, at, row.value) for row in begins.rows),
    )


def _suspended_at(tenant: Tenant, since: datetime, until: datetime) -> Moment:
    said = {
        TimeSource.STATUS: tenant.suspended_at,
        TimeSource.MANAGED_FIELDS: tenant.evidence.suspend,
    }
    return when(Kind.SUSPENDED, said, since, until)


def _since(lifecycle: Lifecycle, known: KnownState) -> datetime:
    """P: when the request was sent for the last complete list in which this tenant could be read.

    A watched change of the tenant advances P only if evidence dates its row, because nobody knows how
    long the stream took to deliver it.
    """
    if lifecycle.read_at is not None:
        return lifecycle.read_at
    if known.listed_at is None:
        return lifecycle.changed_at
    return max(known.listed_at, lifecycle.settled_at or known.listed_at)


_WAITING: Final = frozenset(
    {
        *(Case.ORG_CHANGED, Case.REBOUND_ELSEWHERE, Case.REOPENED_ELSEWHERE),
        *(Case.NAME_CHANGED, Case.NAME_TAKEN, Case.BACK_ALIVE),
    }
)
"""The cases of a tenant that can be read and is quarantined."""


def _quarantined(found: Sequence[Found]) -> Iterator[Unreadable]:
    """The readable tenants that wait for an operator's decision, and why."""
    for one in found:
        if one.case not in _WAITING:
            continue
        match one:
            case Found(
                Case.ORG_CHANGED | Case.REBOUND_ELSEWHERE | Case.REOPENED_ELSEWHERE,
                Tenant() as tenant,
                Lifecycle() as lifecycle,
            ):
                orgs = f"from {lifecycle.org} to {tenant.org}"
                reason = f"metadata.labels: the org changed {orgs}; `reconciler org move` accepts it"
            case Found(Case.NAME_CHANGED, Tenant() as tenant, Lifecycle() as lifecycle):
                reason = f"metadata.name: in the ledger this uid has the name {lifecycle.name}"
            case Found(Case.NAME_TAKEN, Tenant() as tenant):
                reason = "metadata.name: in the ledger another uid has this name and is not deleted"
            case Found(Case.BACK_ALIVE, Tenant() as tenant):
                reason = "metadata.uid: deleted in the ledger, but it exists; --reopen withdraws that"
            case _:
                continue
        yield Unreadable(uid=tenant.uid, name=tenant.name, reason=reason)


def _check_overrides(found: Sequence[Found], overrides: Overrides) -> None:
    """Raises Refused if an operator decides about a tenant that does not need it."""
    reopened, moved = set[str](), set[str]()
    for one in found:
        match one:
            case Found(Case.REOPENED | Case.REOPENED_ELSEWHERE, Tenant() as tenant):
                reopened.add(tenant.name)
            case Found(Case.BACK_ALIVE, Tenant() as tenant, Lifecycle(moved_on=False)):
                reopened.add(tenant.name)
            case Found(Case.MOVED_IN | Case.ENDS, Tenant() as tenant, Lifecycle() as lifecycle):
                if tenant.org != lifecycle.org:
                    moved.add(tenant.name)
            case _:
                pass
    for name in sorted(overrides.reopen - reopened):
        raise Refused(
            f"--reopen {quoted(name)}: no tenant of that name exists in the snapshot and is deleted in "
            "the ledger; nothing was written"
        )
    for name in sorted(overrides.move - moved):
        raise Refused(
            f"org move {quoted(name)}: no tenant of that name has another org in the snapshot than in "
            "the ledger; nothing was written"
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
                f"{quoted(snapshot.source)} is not a snapshot: {field} {quoted(twice)} occurs twice; "
                "nothing was written; try again"
            )
