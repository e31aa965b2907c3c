"""A list of the cluster together with the stream since the last pass, so that nothing between is missed.

The stream is taken up from the ledger's resourceVersion while the list is read. Every change that the
list shows already is written as a pass of its own first; then the list counts as the truth.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from reconciler.core.cases import Case
from reconciler.core.guard import Limits
from reconciler.core.position import Position, number
from reconciler.core.tenant import Snapshot
from reconciler.core.text import clean, counted
from reconciler.errors import Unfinished
from reconciler.modes.follower import PROVES, Follower, Write
from reconciler.passes import Cluster, Connected, Ledger, Pass, run_watched

MOST_NAMES: Final = 50
"""More than that nobody reads in a log."""

log = logging.getLogger(__name__)


class Alone:
    """Lists of a cluster, and nothing of what happened between them."""

    is_live = True

    def __init__(
        self,
        cluster: Cluster,
        position: Callable[[], Position],
        known: Callable[[], frozenset[bytes]] | None = None,
    ) -> None:
        """`position` is how far the ledger is, `known` what need not be read: the fingerprints."""
        self._cluster = cluster
        self._position = position
        self._known = known

    def snapshot(self) -> Snapshot:
        """Raises SnapshotError, and LedgerError."""
        last = self._position()
        cluster = self._cluster.connected()
        since = last.version if cluster.uid == last.cluster_uid else None
        known = self._known() if self._known else None
        listed = cluster.snapshot(known)
        return replace(listed, after=since, after_instant=last.instant, gapless=False)


class CaughtUp:
    """Lists of a cluster, each taken once all that happened before it is written.

    With `list_every`, between two lists only notes that all is written.
    """

    is_live = True

    def __init__(
        self,
        cluster: Cluster,
        follower: Follower,
        position: Callable[[], Position],
        turn: Callable[[], object],
        known: Callable[[], frozenset[bytes]] | None = None,
        *,
        list_every: float = 0,
    ) -> None:
        """`position` is how far the ledger is, `known` what need not be read: the fingerprints.

        `turn` is called while waiting, and may raise. `list_every` is in seconds.
        """
        self._cluster = cluster
        self._follower = follower
        self._position = position
        self._turn = turn
        self._known = known
        self._list_every = timedelta(seconds=list_every)

    def snapshot(self) -> Snapshot:
        """Raises SnapshotError, and whatever writing or `turn` raises.

        Where the history is gone, or the stream does not prove that it is complete, there is the list
        alone, and the snapshot says so: it is not `gapless`.
        """
        self._follower.flush()
        last = self._position()
        cluster = self._cluster.connected()
        since = last.version if cluster.uid == last.cluster_uid else None
        if since is None:
            self._follower.close()
        else:
            self._follower.begin(since, PROVES, cluster, instant=last.instant)
            if (note := self._note(last, cluster)) is not None:
                return replace(note, after=since, after_instant=last.instant, gapless=True)
        known = self._known() if self._known else None
        listed = replace(cluster.snapshot(known), after=since, after_instant=last.instant)
        version = number(listed.resource_version)
        if since is None or version is None or version < since:
            self._follower.close()
            return replace(listed, gapless=False)
        return replace(listed, gapless=self._follower.drain(version, self._turn))

    def _note(self, last: Position, cluster: Connected) -> Snapshot | None:
        """That all is written; None: a list is due, or it is not proven."""
        if not self._list_every or last.listed_at is None:
            return None
        note = cluster.note()
        reached = number(note.resource_version)
        is_due = note.observed_at - last.listed_at >= self._list_every
        if is_due or reached is None or reached < (last.version or 0):
            return None
        is_complete = self._follower.drain(reached, self._turn)
        # What was written on the way may wait for a list.
        return note if is_complete and self._position().listed_at is not None else None


def within(seconds: float, clock: Callable[[], float] = time.monotonic) -> Callable[[], None]:
    """A `turn` that raises Unfinished when so many seconds have passed since it was first called."""
    ends: float | None = None

    def turn() -> None:
        nonlocal ends
        now = clock()
        ends = now + seconds if ends is None else ends
        if now > ends:
            raise Unfinished(
                f"not caught up with the watch within {seconds:g} s: what was written stays, the list "
                "was not. The next run goes on from there; see --catch-up-timeout"
            )

    return turn


def writing(ledger: Ledger, limits: Limits, report: Callable[[Pass], object]) -> Write:
    """What a follower writes with: a pass for each change, reported when all are written."""

    def write(changes: Sequence[Snapshot], *, is_served: bool) -> None:
        passes = run_watched(changes, ledger, replace(limits, hold_deletions=not is_served))
        _warn_of_held(passes, is_served=is_served)
        for done in passes:
            report(done)

    return write


def _warn_of_held(passes: Iterable[Pass], *, is_served: bool) -> None:
    """Names the tenants whose watched deletions are held from now on."""
    names = [
        change.lifecycle.name
        for done in passes
        for change in done.plan.changes
        if change.case is Case.HELD
    ]
    if names:
        why = "so many at once" if is_served else "the tenants' resource is no longer served"
        log.warning(
            "held back %s (%s): %s. If they are gone, make a run with --allow-deletions %d",
            counted(len(names), "deletion"),
            why,
            ", ".join(map(clean, names[:MOST_NAMES])) + (" …" if len(names) > MOST_NAMES else ""),
            len(names),
        )
