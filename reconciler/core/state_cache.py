"""What the ledger knows, kept from pass to pass and brought forward by each plan that was written.

A pass that follows another need not read back what it has just written. Mutable, and the only thing here
that is: whoever keeps it drops it when somebody else has written, or when a pass has failed.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.cases import Case
from reconciler.core.changes import Change
from reconciler.core.fingerprint import without_unchanged
from reconciler.core.plan import Plan
from reconciler.core.position import number
from reconciler.core.tenant import RECENT, KnownState, LastPass, Lifecycle, Snapshot, Tenant, Unreadable


class Written(Struct, frozen=True, kw_only=True):
    """How the ledger numbered what was written."""

    pass_id: int
    lifecycle_ids: Mapping[str, int] = {}
    """Of the lifecycles that the plan began, by uid."""


class StateCache:
    """The known state, or as much of it as some watched changes need, brought forward in place."""

    def __init__(self, known: KnownState) -> None:
        self._live = dict(known.live)
        self._adopted = dict(known.adopted)
        given = len(known.live) + len(known.adopted)
        self._others = 0 if known.population is None else known.population - given
        self._rest = replace(known, live={}, adopted={}, gone={}, population=None)

    @property
    def last_pass(self) -> LastPass | None:
        """The pass that it is as of."""
        return self._rest.last_pass

    @property
    def passes(self) -> KnownState:
        """What is known of the passes themselves, and of no tenant."""
        return self._rest

    @property
    def fingerprints(self) -> frozenset[bytes]:
        """Of the tenants that need not be read while they have the same one."""
        return frozenset(one.fingerprint for one in self._live.values() if one.fingerprint is not None)

    def known(self, snapshot: Snapshot) -> KnownState:
        """What of it that snapshot asks for, as a value; good until the next `forward`."""
        live, adopted, population = self._live, self._adopted, None
        if snapshot.unchanged:
            needed = without_unchanged(self._live.values(), snapshot)
            live = {one.uid: one for one in needed if one.uid is not None}
            population = self._population
        if snapshot.scope is not None:
            live = {one.uid: one for one in self._concerned(snapshot) if one.uid is not None}
            names = {one.name for one in _shown(snapshot) if one.name is not None}
            adopted = {name: self._adopted[name] for name in names & self._adopted.keys()}
            population = self._population
        return replace(self._rest, live=live, adopted=adopted, population=population)

    @property
    def _population(self) -> int:
        return len(self._live) + len(self._adopted) + self._others

    def forward(self, plan: Plan, written: Written | None = None) -> Mapping[str, Lifecycle]:
        """What is known once the plan is written; returns the lifecycles that it ended, by uid."""
        gone: dict[str, Lifecycle] = {}
        for change in plan.changes:
            if change.known is not None:
                self._adopted.pop(change.known.name, None)
                self._live.pop(change.known.uid or "", None)
            lifecycle = _numbered(change, written)
            if not change.case.ends:
                self._remember(lifecycle)
            elif lifecycle.uid is not None:
                moved_on = change.case is Case.MOVED_OUT
                gone[lifecycle.uid] = replace(lifecycle, moved_on=moved_on)
        snapshot, before = plan.snapshot, self._rest
        is_list = snapshot.scope is None
        version = number(snapshot.resource_version)
        goes_on = snapshot.cluster_uid == before.cluster_uid and not plan.adopts_cluster
        reached = before.cluster_version if goes_on else None
        listed = before.listed_version if goes_on else None
        since = snapshot.observed_at - RECENT
        deletions = [one for one in before.watched_deletions if one > since]
        held = [one for one in before.held_deletions if one > since]
        if not is_list:
            deletions += [snapshot.observed_at for change in plan.changes if change.case.is_weak]
            held += [snapshot.observed_at for change in plan.changes if change.case is Case.HELD]
        self._rest = replace(
            before,
            last_pass=LastPass(
                id=written.pass_id if written else None,
                asked_at=snapshot.asked_at,
                observed_at=snapshot.observed_at,
                has_version=version is not None,
            ),
            listed_at=snapshot.asked_at if is_list else before.listed_at,
            looked_at=snapshot.asked_at if is_list or snapshot.gapless else before.looked_at,
            watched_deletions=tuple(deletions),
            held_deletions=tuple(held),
            waits=bool(plan.held or plan.quarantined) or (before.waits and not is_list),
            preparation="",
            cluster_uid=snapshot.cluster_uid,
            cluster_version=_highest(reached, version),
            listed_version=_highest(listed, version) if is_list else listed,
        )
        return gone

    def _remember(self, lifecycle: Lifecycle) -> None:
        if lifecycle.uid is None:
            self._adopted[lifecycle.name] = lifecycle
        else:
            self._live[lifecycle.uid] = lifecycle

    def _concerned(self, snapshot: Snapshot) -> Iterable[Lifecycle]:
        """The live ones in the scope, and those whose names a newcomer bears."""
        yield from (self._live[uid] for uid in snapshot.scope or () if uid in self._live)
        names = {one.name for one in _shown(snapshot) if one.uid not in self._live}
        if names:
            yield from (one for one in self._live.values() if one.name in names)


def _shown(snapshot: Snapshot) -> Sequence[Tenant | Unreadable]:
    return [*snapshot.tenants, *snapshot.unreadable]


def _highest(*versions: int | None) -> int | None:
    return max((version for version in versions if version is not None), default=None)


def _numbered(change: Change, written: Written | None) -> Lifecycle:
    lifecycle = change.lifecycle
    if written is None or not change.case.begins or lifecycle.uid is None:
        return lifecycle
    return replace(lifecycle, id=written.lifecycle_ids[lifecycle.uid])
