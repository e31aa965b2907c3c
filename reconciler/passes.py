"""The pass: gather the snapshot and the known state, plan the difference, guard it, apply it.

Every mode of the program is passes; they differ in where the snapshot comes from, and in whether the
ledger is there to be written or only to be read.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.cases import NONE, Overrides
from reconciler.core.guard import Limits, guard, quarantine
from reconciler.core.plan import Plan, plan
from reconciler.core.position import is_news, setback
from reconciler.core.tenant import KnownState, Setback, Snapshot
from reconciler.errors import Contradicted, OutdatedSnapshot, ReadAgain, WentBack

MOST_GATHERINGS: Final = 4
"""A pass that another one overtook gathers again, three times."""

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where snapshots come from."""

    @property
    def is_live(self) -> bool:
        """Whether gathering again gives a newer snapshot."""

    def snapshot(self) -> Snapshot:
        """Raises SnapshotError where it is not complete."""


class Watch(Protocol):
    """An open watch: each change is a snapshot of the one tenant that changed."""

    def __iter__(self) -> Iterator[Snapshot]: ...

    def close(self) -> None:
        """Ends it, also for whoever waits for its next change."""


class Connected(Protocol):
    """One cluster, over one connection."""

    @property
    def uid(self) -> str: ...

    def snapshot(self, known: frozenset[bytes] | None = None) -> Snapshot:
        """Reads all tenants but those with a known fingerprint; None: no fingerprints are computed.

        Raises SnapshotError where the list is not complete.
        """

    def note(self) -> Snapshot:
        """How far the cluster is by now, and no tenant. Raises SnapshotError."""

    def watch(self, since: str, seconds: int) -> Watch:
        """Raises SnapshotError; Expired where the history after `since` is gone."""

    def serves(self) -> bool:
        """Whether the tenants' resource is there to stay. Raises SnapshotError."""


class Cluster(Protocol):
    """Whatever connects to the cluster."""

    def connected(self) -> Connected:
        """Raises SnapshotError."""


class OpenLedger(Protocol):
    """The ledger while one pass has it to itself."""

    def known_state(self, snapshot: Snapshot) -> KnownState: ...

    def refused(self, plan: Plan) -> Mapping[str, str]:
        """The tenants whose rows break a rule of the tables: why, by name. Writes nothing."""

    def apply(self, plan: Plan) -> int | None:
        """Returns the number of the pass, where it was written."""

    def remember(self, setback: Setback) -> None:
        """Refuses what comes from this cluster from now on, until an operator decides."""


class Ledger(Protocol):
    """The billing tables, and what they last said."""

    def open(self, changes: Sequence[Snapshot] = ()) -> AbstractContextManager[OpenLedger]:
        """`changes` are the watched ones that will be written: no more than they need is read."""


class Pass(Struct, frozen=True):
    """One pass that was made: what was known before, and what was written, or would be."""

    plan: Plan
    known: KnownState
    id: int | None = None
    """Its number in the ledger; None: nothing was written."""


def run_pass(source: Source, ledger: Ledger, limits: Limits, overrides: Overrides = NONE) -> Pass:
    """Makes one pass. Raises ReconcilerError, and then nothing was written.

    If the database refuses the rows of some tenants, these are quarantined, and the others are written.
    """

    def attempt(snapshot: Snapshot, *, one_by_one: bool = False) -> Pass:
        with ledger.open() as opened:
            known = opened.known_state(snapshot)
            planned = _released(plan(snapshot, known, overrides))
            del snapshot
            try:
                guarded = guard(planned, known, limits)
                if one_by_one:
                    guarded = quarantine(guarded, known, opened.refused(guarded))
            except WentBack as error:
                opened.remember(setback(planned.snapshot))
                refused = error
            else:
                return Pass(guarded, known, opened.apply(guarded))
        raise refused

    try:
        return gathered(source, attempt)
    except Contradicted as error:
        log.warning("%s; looking for the tenants", error)
        return gathered(source, partial(attempt, one_by_one=True))


def _released(planned: Plan) -> Plan:
    """The plan without the tenants that it was made from: of a large cluster, they take much memory."""
    snapshot = planned.snapshot
    return replace(planned, snapshot=replace(snapshot, tenants=(), released=len(snapshot.tenants)))


def gathered(source: Source, use: Callable[[Snapshot], Result]) -> Result:
    """Applies `use` to a snapshot; gathers again if another pass was committed meanwhile.

    Raises OutdatedSnapshot where that does not help, and whatever `use` raises.
    """
    for gathering in range(1, MOST_GATHERINGS + 1):
        try:
            # Nobody else holds it, so that its tenants can be released.
            return use(source.snapshot())
        except OutdatedSnapshot as error:
            is_useful = source.is_live or isinstance(error, ReadAgain)
            if not is_useful or gathering == MOST_GATHERINGS:
                raise
            log.info("another pass was faster; gathering again")
    raise AssertionError("unreachable")


def run_watched(changes: Sequence[Snapshot], ledger: Ledger, limits: Limits) -> Sequence[Pass]:
    """Makes a pass for each watched change, in their order, all of them in one transaction.

    A change that is known already is dropped; one that changes nothing leaves no record, unless it is
    there only to note how far the watch has come. Those that are gone are judged together: many at once
    are none of them deleted. A tenant whose rows the database refuses is quarantined. Raises
    ReconcilerError; then nothing was written.
    """
    try:
        return _watched(changes, ledger, limits)
    except Contradicted as error:
        log.warning("%s; looking for the tenants", error)
        return _watched(changes, ledger, limits, one_by_one=True)


def _watched(
    changes: Sequence[Snapshot], ledger: Ledger, limits: Limits, *, one_by_one: bool = False
) -> Sequence[Pass]:
    passes = []
    vanishing = sum(snapshot.is_absence for snapshot in changes)
    with ledger.open(changes) as opened:
        for snapshot in changes:
            known = replace(opened.known_state(snapshot), vanishing=vanishing)
            vanishing -= snapshot.is_absence
            if is_news(snapshot, known):
                guarded = guard(plan(snapshot, known), known, limits)
                if one_by_one:
                    guarded = quarantine(guarded, known, opened.refused(guarded))
                # That something waits for the next list is written once.
                waits = (guarded.quarantined or guarded.held) and not known.waits
                is_written = guarded.changes or waits or not snapshot.scope
                passes.append(Pass(guarded, known, opened.apply(guarded) if is_written else None))
    return passes
