"""Follows the cluster's stream of changes: each becomes a pass of its own, in its order.

`position` is the resourceVersion up to which everything was written, or is known to change nothing. A
stream that ends is opened again from there, so that nothing is missed and nothing is written twice.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Final, Protocol

from msgspec.structs import replace

from reconciler.core.position import number
from reconciler.core.tenant import Snapshot
from reconciler.errors import Expired, ReconcilerError, Rejected, SnapshotError
from reconciler.modes.backoff import delay
from reconciler.modes.stream import MOST_WAITING, Stream
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
SETTLE: Final = 2.0
"""Seconds without another deletion after which a burst of deletions is over."""
MOST_SETTLING: Final = 10
"""So many times that long a burst is waited for, at most."""
TURN: Final = 0.05

log = logging.getLogger(__name__)


class Write(Protocol):
    """Makes a pass of each change; where it raises ReconcilerError, of none."""

    def __call__(self, changes: Sequence[Snapshot], *, is_served: bool) -> None:
        """`is_served`: whether the cluster serves the tenants' resource, as far as was asked."""


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
        write: Write,
        health: StreamHealth | None = None,
        *,
        settle: float = SETTLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deletions of which there is no time are written together, `settle` seconds after the last."""
        self._cluster = cluster
        self._write = write
        self._health = health or _Unobserved()
        self._settle = settle
        self._clock = clock
        self._stream: Stream | None = None
        self._pending: list[Snapshot] = []
        self.position = self._reached = 0
        self._instant: datetime | None = None
        self._seconds = self._lasts = LASTS
        self._noted_at = self._opened_at = self._opens_at = clock()
        self._settles_at = self._settles_by = clock()
        self._breaks = 0

    @property
    def is_on(self) -> bool:
        """Whether there is a stream, or one is being opened."""
        return self._stream is not None

    def begin(
        self,
        position: int,
        seconds: int,
        connected: Connected | None = None,
        *,
        instant: datetime | None = None,
    ) -> None:
        """Takes up the stream from a resourceVersion on; `instant` is that of the last pass by now."""
        self.close()
        self.position = self._reached = position
        self._instant = instant
        self._seconds = seconds
        self._open(connected)

    def follow(self, timeout: float) -> None:
        """Writes what arrives within that time. Raises ReconcilerError; nothing is lost by that.

        Raises SnapshotError where the stream broke, and Expired where it cannot go on from where it was.
        """
        if self._stream is not None:
            self._health.watch_connected(connected=self._stream.is_open)
            self._take(timeout)
            self._write_up(self._ready())

    def flush(self) -> None:
        """Writes what has arrived by now. Raises what writing raises."""
        waiting = self._stream.waiting if self._stream is not None else 0
        while waiting > 0:
            before = len(self._pending)
            try:
                self._take(0)
            except SnapshotError:
                break
            waiting -= max(len(self._pending) - before, 1)
            self._write_up(self._ready())
        # Without a stream they would not arrive again.
        self._write_up(self._ready(is_settled=not self.is_on))

    def drain(self, until: int, turn: Callable[[], object]) -> bool:
        """Writes what came before that resourceVersion, and keeps back what came after it.

        Returns whether it is proven that nothing before it is missing: the stream has delivered a
        change or a bookmark that is not older. Otherwise there is no stream any more. `turn` is called
        every now and then, and may raise. Raises what writing raises.
        """
        # A stream that waits after its breaks is waited for, too.
        deadline = max(self._clock(), self._opens_at) + PATIENCE
        while self._stream is not None and self._reached < until:
            turn()
            before = self._reached
            try:
                self._take(TURN)
            except (Expired, Rejected) as problem:
                log.warning("%s", problem)
                self._end()
            except SnapshotError as problem:
                log.warning("%s", problem)
            self._write_up(self._ready(until))
            if self._reached > before:
                # However slow, it comes: nothing that it has yet to tell may be merged away.
                deadline = self._clock() + PATIENCE
            elif self._stream is not None and self._clock() > deadline:
                log.warning("the watch does not tell that it has delivered what the list shows")
                self._end()
        self._write_up(self._ready(until, is_settled=True))
        return self._stream is not None

    def listed(self, listed: Snapshot) -> None:
        """That list was written: the stream goes on from there, where there is none."""
        self._noted_at = self._clock()
        self._seconds = LASTS
        self._instant = listed.observed_at
        if self._stream is None and (version := number(listed.resource_version)) is not None:
            self.begin(version, LASTS, instant=listed.observed_at)

    def close(self) -> None:
        """Ends the stream, and forgets what was not written: it arrives again."""
        self._pending.clear()
        self._end()

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._health.watch_connected(connected=False)

    def _open(self, connected: Connected | None = None, *, broke: bool = False) -> None:
        """Opens a stream from where the last one has come to."""
        now = self._clock()
        if self._stream is not None:
            # One that lasted is opened again at once; one that did not, after a while that grows.
            lasted = now - self._opened_at > (LASTING if broke else min(LASTING, self._lasts / 2))
            self._breaks = 0 if lasted else self._breaks + 1
            if broke or not lasted:
                self._health.watch_restarted()
        self._end()
        wait = delay(self._breaks - 1)
        self._opened_at, self._opens_at, self._lasts = now, now + wait, self._seconds
        since, seconds = str(self._reached), self._seconds

        def open_watch() -> Watch:
            return (connected or self._cluster.connected()).watch(since, seconds)

        self._stream = Stream(open_watch, wait)

    def _take(self, timeout: float) -> None:
        """Takes what arrives within that time. Raises what ended the stream; another one is open then.

        Not after Expired: where its history is gone, there is none.
        """
        if self._stream is None or len(self._pending) >= MOST_WAITING:
            return
        try:
            changes = self._stream.take(timeout)
        except Expired:
            self._end()
            raise
        except ReconcilerError:
            self._open(broke=True)
            raise
        if changes is None:
            self._open()
            return
        if any(change.is_absence for change in changes):
            now = self._clock()
            if not any(change.is_absence for change in self._pending):
                self._settles_by = now + MOST_SETTLING * self._settle
            self._settles_at = min(now + self._settle, self._settles_by)
        self._pending += [replace(change, after_instant=self._instant) for change in changes]
        self._reached = max(self._reached, *map(_version, changes)) if changes else self._reached

    def _ready(self, until: int | None = None, *, is_settled: bool = False) -> Sequence[Snapshot]:
        """What may be written now: all up to `until`, but for deletions that have not settled."""
        pending = self._pending
        if until is not None:
            pending = [change for change in pending if _version(change) <= until]
        if is_settled or self._clock() >= self._settles_at or len(pending) >= MOST_WAITING:
            return [*pending]
        return [*takewhile(lambda change: not change.is_absence, pending)]

    def _write_up(self, changes: Sequence[Snapshot]) -> None:
        """Writes all of them, or none; then they will arrive again."""
        if not changes:
            return
        last = changes[-1]
        news = [change for change in changes if change.size or change.scope]
        if not news and self._clock() - self._noted_at > NOTE_EVERY:
            news = [replace(last, scope=frozenset())]
        if news:
            try:
                vanishing = any(change.is_absence for change in news)
                self._write(news, is_served=not vanishing or self._is_served())
            except ReconcilerError:
                self._pending.clear()
                self._reached = self.position
                if self._stream is not None:
                    self._open(broke=True)
                raise
            self._noted_at = self._clock()
        del self._pending[: len(changes)]
        self.position = max(self.position, _version(last))

    def _is_served(self) -> bool:
        """Whether the tenants that vanished were deleted, and not their resource with all of them."""
        try:
            return self._cluster.connected().serves()
        except SnapshotError as problem:
            log.warning("%s: whether the tenants' resource is still served is not known", problem)
            return False


def _version(change: Snapshot) -> int:
    return number(change.resource_version) or 0
