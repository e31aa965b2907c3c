"""Plans the rows that take the ledger from what it knows to what a snapshot shows.

`cases` says which transition each tenant is in, and `changes` makes its rows.
A plan is a value: there is no I/O and no clock, and the same snapshot and state give the same plan.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.cases import NONE, UNKNOWN, Case, Found, Overrides, Record, cases
from reconciler.core.changes import Change, Row, change_of
from reconciler.core.kinds import MEANING, Kind
from reconciler.core.position import is_in_order
from reconciler.core.tenant import KnownState, Lifecycle, Newer, Snapshot, Tenant, Unreadable
from reconciler.core.text import quoted
from reconciler.core.times import CLOCK_TOLERANCE
from reconciler.errors import Refused, SnapshotError

_OVERRIDES: Final = {Record.MOVE: "move", Record.REBINDING: "rebind", Record.REOPENING: "reopen"}


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
    allows_deletions: bool = False
    """An operator allowed the weak deletions, which would have been held back."""
    by: str = UNKNOWN
    """Who decided what an operator decided."""
    because: str | None = None
    """Why."""

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

    def overridden(self) -> Iterator[tuple[str, Change | None]]:
        """What an operator decided in this pass, and the lifecycle that it is about, if it is one."""
        for change in self.changes:
            if change.case.record is not None:
                yield _OVERRIDES[change.case.record], change
            elif self.allows_deletions and change.case.is_weak:
                yield "allow-deletions", change
        if self.adopts_cluster:
            yield "adopt-cluster", None

    def recorded(self, record: Record) -> Sequence[Change]:
        """The changes that an operator decided and that are recorded as `record`."""
        return [change for change in self.changes if change.case.record is record]


def plan(snapshot: Snapshot, known: KnownState, overrides: Overrides = NONE) -> Plan:
    """The difference between what the snapshot shows and what the ledger knows.

    Raises SnapshotError if a uid or a name occurs twice, which is impossible in a cluster, and Refused
    if there is nothing to reopen or to move.
    """
    _check_identities(snapshot, known)
    snapshot = _placed(snapshot, known)
    found = cases(snapshot, known, overrides)
    if overrides.reopen or overrides.move:
        _check_overrides(found, overrides)
    changes = [made for one in found if (made := change_of(one, snapshot, known, overrides))]
    # Stable: a predecessor stays before its successor.
    changes.sort(key=lambda change: change.lifecycle.name)
    newer = known.newer or Newer()
    unreadable = [one for one in snapshot.unreadable if one not in newer]
    quarantined = [*unreadable, *_quarantined(found)]
    quarantined.sort(key=lambda one: (one.name or "", one.uid or "", one.reason))
    return Plan(
        snapshot=snapshot,
        changes=tuple(changes),
        quarantined=tuple(quarantined),
        by=overrides.by,
        because=overrides.because,
    )


def _placed(snapshot: Snapshot, known: KnownState) -> Snapshot:
    """The snapshot with the ledger's cluster if it names none, and never before the last pass."""
    observed_at, last = snapshot.observed_at, known.last_pass
    cluster_uid = snapshot.cluster_uid or known.cluster_uid
    if last and (is_in_order(snapshot, known) or last.observed_at - CLOCK_TOLERANCE <= observed_at):
        # The ledger's instants never run backwards: two clocks may differ by a moment, and what the
        # resourceVersions put in order may have waited while others wrote.
        observed_at = max(observed_at, last.observed_at)
    gap_since = known.looked_at if snapshot.gapless is False else None
    return replace(
        snapshot,
        observed_at=observed_at,
        cluster_uid=cluster_uid,
        # Before the first list there is nothing that could have been missed.
        gapless=None if known.looked_at is None else snapshot.gapless,
        gap_since=gap_since,
    )


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


def _check_identities(snapshot: Snapshot, known: KnownState) -> None:
    everyone: list[Tenant | Unreadable] = [*snapshot.tenants, *snapshot.unreadable]
    uids = [one.uid for one in everyone if one.uid is not None]
    names = [one.name for one in everyone if one.name is not None]
    if snapshot.unchanged:
        # Of the tenants that were not read, only those are known that share a uid or a name with one.
        skipped = [one for one in known.lifecycles if one.fingerprint in snapshot.unchanged]
        uids += [one.uid for one in skipped if one.uid is not None]
        names += [one.name for one in skipped]
    for field, values in (("metadata.uid", uids), ("metadata.name", names)):
        if len(set(values)) < len(values):
            twice = Counter(values).most_common(1)[0][0]
            raise SnapshotError(
                f"{quoted(snapshot.source)} is not a snapshot: {field} {quoted(twice)} occurs twice; "
                "nothing was written; try again"
            )
