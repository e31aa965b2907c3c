"""Follows the cluster's stream of changes: each becomes a pass of its own, in its order.

`position` is the resourceVersion up to which everything was written, or is known to change nothing. A
stream that ends is opened again from there, so that nothing is missed and nothing is written twice.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from reconciler.core.position import number
from reconciler.core.tenant import Snapshot
from reconciler.errors import Expired, ReconcilerError, Rejected, SnapshotError
from reconciler.modes.backoff import delay
from reconciler.modes.stream import Stream
from reconciler.passes import Cluster, Connected, Watch

LASTS: Final = 600
"""Seconds after which the server is asked to end a stream, so that it is opened anew now and then."""
PROVES: Final = 3
"""The same where a bookmark is wanted soon: a server sends it 2 s before the end, at the earliest."""
LASTING: Final = 60.0
"""Seconds after which a stream that ends was no failure."""
PATIENCE: Final = 10.0
"""Seconds without progress that a list waits for a stream to prove that it is complete."""
NOTE_EVERY: Final = 30.0
"""Seconds between two notes of how far the watch has come, while nothing else is written."""
TURN: Final = 0.05

log = logging.getLogger(__name__)


class StreamHealth(Protocol):
    """Whoever wants to know how the watch is."""

    def watch_connected(self, *, connected: bool) -> None: ...

    def watch_restarted(self) -> None: ...


class _Unobserved:
    def watch_connected(self, *, connected: bool) -> None:
        """Nobody wants to know."""

    def watch_restarted(self) -> None:
        """Nobody wants to know."""


class Follower:
    """The stream, and how far it has been written."""

    def __init__(
        self,
        cluster: Cluster,
        write: Callable[[Sequence[Snapshot]], None],
        health: StreamHealth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`write` makes a pass of each change; where it raises ReconcilerError, of none."""
        self._cluster = cluster
        self._write = write
        self._health = health or _Unobserved()
        self._clock = clock
        self._stream: Stream | None = None
        self._kept: Sequence[Snapshot] = ()
        self.position = 0
        self._seconds = self._lasts = LASTS
        self._noted_at = self._opened_at = self._opens_at = clock()
        self._breaks = 0

    @property
    def is_on(self) -> bool:
        """Whether there is a stream, or one is being opened."""
        return self._stream is not None

    def begin(self, position: int, seconds: int, connected: Connected | None = None) -> None:
        """Takes up the stream from a resourceVersion on."""
        self.close()
        self.position, self._seconds = position, seconds
        self._open(connected)

    def follow(self, timeout: float) -> None:
        """Writes what arrives within that time. Raises ReconcilerError; nothing is lost by that.

        Raises SnapshotError where the stream broke, and Expired where it cannot go on from where it was.
        """
        if self._stream is not None:
            self._health.watch_connected(connected=self._stream.is_open)
            self._write_up(self._arrived(timeout))

    def flush(self) -> None:
        """Writes what has arrived by now. Raises what writing raises."""
        waiting = len(self._kept) + (self._stream.waiting if self._stream is not None else 0)
        while self._stream is not None and waiting > 0:
            try:
                changes = self._arrived(0)
            except SnapshotError:
                break
            self._write_up(changes)
            waiting -= max(len(changes), 1)

    def drain(self, until: int, turn: Callable[[], object]) -> bool:
        """Writes what came before that resourceVersion, and keeps back what came after it.

        Returns whether it is proven that nothing before it is missing: the stream has delivered a
        change or a bookmark that is not older. Otherwise there is no stream any more. `turn` is called
        every now and then, and may raise. Raises what writing raises.
        """
        # A stream that waits after its breaks is waited for, too.
        deadline = max(self._clock(), self._opens_at) + PATIENCE
        while self._stream is not None and self.position < until:
            turn()
            try:
                changes = self._arrived(TURN)
            except (Expired, Rejected) as problem:
                log.warning("%s", problem)
                self.close()
                break
            except SnapshotError as problem:
                log.warning("%s", problem)
                continue
            early = [change for change in changes if _version(change) <= until]
            self._write_up(early)
            if len(early) < len(changes):
                self._kept = changes[len(early) :]
                return True
            if changes:
                # However slow, it comes: nothing that it has yet to tell may be merged away.
                deadline = self._clock() + PATIENCE
            elif self._clock() > deadline:
                log.warning("the watch does not tell that it has delivered what the list shows")
                self.close()
        return self._stream is not None

    def listed(self, listed: Snapshot) -> None:
        """That list was written: the stream goes on from there, where there is none."""
        self._noted_at = self._clock()
        self._seconds = LASTS
        if self._stream is None and (version := number(listed.resource_version)) is not None:
            self.begin(version, LASTS)

    def close(self) -> None:
        """Ends the stream."""
        self._kept = ()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._health.watch_connected(connected=False)

    def _open(self, connected: Connected | None = None, *, broke: bool = False) -> None:
        now = self._clock()
        if self._stream is not None:
            # One that lasted is opened again at once; one that did not, after a while that grows.
            lasted = now - self._opened_at > (LASTING if broke else min(LASTING, self._lasts / 2))
            self._breaks = 0 if lasted else self._breaks + 1
            if broke or not lasted:
                self._health.watch_restarted()
        self.close()
        wait = delay(self._breaks - 1)
        self._opened_at, self._opens_at, self._lasts = now, now + wait, self._seconds
        since, seconds = str(self.position), self._seconds

        def open_watch() -> Watch:
            return (connected or self._cluster.connected()).watch(since, seconds)

        self._stream = Stream(open_watch, wait)

    def _arrived(self, timeout: float) -> Sequence[Snapshot]:
        """What was kept back, or what arrives within that time."""
        if self._stream is None:
            return ()
        if self._kept:
            kept, self._kept = self._kept, ()
            return kept
        try:
            changes = self._stream.take(timeout)
        except Expired:
            self.close()
            raise
        except ReconcilerError:
            self._open(broke=True)
            raise
        if changes is None:
            self._open()
            return ()
        return changes

    def _write_up(self, changes: Sequence[Snapshot]) -> None:
        """Writes all of them, or none; then they will arrive again."""
        if not changes:
            return
        last = changes[-1]
        news = [change for change in changes if change.tenants or change.unreadable or change.scope]
        if not news and self._clock() - self._noted_at > NOTE_EVERY:
            news = [replace(last, tenants=(), unreadable=(), scope=frozenset())]
        if news:
            try:
                self._write(news)
            except ReconcilerError:
                self._open(broke=True)
                raise
            self._noted_at = self._clock()
        self.position = max(self.position, _version(last))


def _version(change: Snapshot) -> int:
    return number(change.resource_version) or 0
