"""Follows the cluster between the passes over a whole list: every change becomes a pass of its own.

The stream is read by a thread; whoever calls `follow` writes what has arrived, in its order, so that a
tenant's changes are never merged. `position` is the resourceVersion up to which all is written or is
known to change nothing: a stream that ends is opened again from there, and nothing is missed or doubled.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

from msgspec.structs import replace

from reconciler.core.tenant import Snapshot
from reconciler.errors import Expired, ReconcilerError, SnapshotError
from reconciler.modes.backoff import delay
from reconciler.passes import Source

MOST_AT_ONCE: Final = 500
"""Changes that are written in one transaction, at most."""
MOST_WAITING: Final = 10_000
"""Changes that wait to be written; beyond that the server has to wait."""
LONGEST_TO_CATCH_UP: Final = 10.0
"""Seconds without a word that a list waits for the stream to deliver what the list shows already."""
NOTE_EVERY: Final = 30.0
"""Seconds between two notes of how far the watch has come, while nothing else is written."""

LASTING: Final = 60.0
"""Seconds after which a stream that ends was no failure."""

log = logging.getLogger(__name__)


class Watch(Protocol):
    """An open stream of changes."""

    def __iter__(self) -> Iterator[Snapshot]: ...

    def close(self) -> None:
        """Ends it, also for whoever waits for its next change."""


class StreamHealth(Protocol):
    """Whoever wants to know how the watch is."""

    def watch_connected(self, *, connected: bool) -> None: ...

    def watch_restarted(self) -> None: ...


class Follower:
    """The watch, and how far it has been written."""

    def __init__(
        self,
        open_watch: Callable[[str], Watch],
        write: Callable[[Sequence[Snapshot]], None],
        health: StreamHealth,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_watch` and its stream raise ReconcilerError; Expired where the history is gone."""
        self._open_watch = open_watch
        self._write = write
        self._health = health
        self._clock = clock
        self._stream: _Stream | None = None
        self._position = 0
        self._present: set[str] = set()
        self._is_expired = False
        self._noted_at = self._opened_at = self._opens_at = clock()
        self._breaks = 0

    @property
    def is_on(self) -> bool:
        """Whether there is a stream, or one is being opened."""
        return self._stream is not None

    def resume(self, last_seen: Callable[[], tuple[str | None, Sequence[str]]]) -> None:
        """Takes up from where the ledger is, where there is no stream and its history is still kept."""
        if not self.is_on and not self._is_expired:
            self.begin(*last_seen())

    def begin(self, version: str | None, present: Sequence[str]) -> None:
        """Takes up from a resourceVersion, and from the uids that lived then."""
        self.close()
        if version is not None and version.isdecimal():
            self._position, self._present = int(version), set(present)
            self._open()

    def follow(self, timeout: float) -> None:
        """Writes what arrives within that time. Raises ReconcilerError; nothing is lost by that.

        Raises SnapshotError where the stream broke, and Expired where it cannot go on from where it was.
        """
        if self._stream is None:
            return
        self._health.watch_connected(connected=self._stream.is_open)
        try:
            changes = self._stream.take(timeout)
            if changes:
                self._keep(changes)
        except Expired:
            self._is_expired = True
            self.close()
            raise
        except ReconcilerError:
            self._open()
            raise
        if changes is None:
            self._open()

    def catch_up(self, listed: Snapshot) -> None:
        """Writes the changes that a list shows already, one by one, before it is taken as a whole."""
        uids = _uids(listed)
        # A stream that waits after its breaks is waited for, too.
        deadline = max(self._clock(), self._opens_at) + LONGEST_TO_CATCH_UP
        while self.is_on and not (self._position >= listed.newest_version and self._present <= uids):
            before = self._position
            if self._clock() > deadline:
                log.warning("the watch has not delivered what the list shows; opening a new one")
                self.close()
                break
            try:
                self.follow(0.05)
            except SnapshotError as problem:
                log.warning("%s", problem)
            if self._position > before:
                # However slow, it comes: nothing that it has yet to tell may be merged away.
                deadline = self._clock() + LONGEST_TO_CATCH_UP

    def listed(self, listed: Snapshot) -> None:
        """A pass over that list was written: the stream goes on from there, where there is none."""
        self._present = _uids(listed)
        self._is_expired = False
        self._noted_at = self._clock()
        version = listed.resource_version or ""
        # A server restored from a backup has gone back: of what lies ahead it would never tell.
        went_back = version.isdecimal() and int(version) < self._position
        if went_back or not self.is_on:
            self.begin(listed.resource_version, [*self._present])

    def close(self) -> None:
        """Ends the stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._health.watch_connected(connected=False)

    def _open(self) -> None:
        now = self._clock()
        if self._stream is not None:
            # One that lasted is opened again at once; one that did not, after a while that grows.
            self._breaks = 0 if now - self._opened_at > LASTING else self._breaks + 1
            self._health.watch_restarted()
        self.close()
        wait = delay(self._breaks - 1)
        self._opened_at, self._opens_at = now, now + wait
        self._stream = _Stream(self._open_watch, str(self._position), wait)

    def _keep(self, changes: Sequence[Snapshot]) -> None:
        last = changes[-1]
        news = [change for change in changes if change.tenants or change.unreadable or change.scope]
        if not news and self._clock() - self._noted_at > NOTE_EVERY:
            news = [replace(last, tenants=(), unreadable=(), scope=frozenset())]
        if news:
            self._write(news)
            self._noted_at = self._clock()
        for change in news:
            uids = _uids(change)
            self._present |= uids
            self._present -= (change.scope or frozenset()) - uids
        self._position = max(self._position, int(last.resource_version or 0))


class CaughtUp:
    """Snapshots of the cluster, taken once all that the watch has of them is written."""

    is_live = True

    def __init__(self, source: Source, follower: Follower) -> None:
        self._source = source
        self._follower = follower

    def snapshot(self) -> Snapshot:
        """Raises SnapshotError, and whatever writing raises."""
        listed = self._source.snapshot()
        self._follower.catch_up(listed)
        return listed


class _Stream:
    """One stream, read by a thread of its own."""

    def __init__(self, open_watch: Callable[[str], Watch], since: str, wait: float) -> None:
        self._arrived: queue.Queue[Snapshot] = queue.Queue(MOST_WAITING)
        self._closed = threading.Event()
        self._ended = threading.Event()
        self._watch: Watch | None = None
        self._problem: ReconcilerError | None = None
        reader = threading.Thread(target=self._read, args=(open_watch, since, wait), daemon=True)
        reader.start()

    @property
    def is_open(self) -> bool:
        """Whether the server has answered, and has not ended it."""
        return self._watch is not None and not self._ended.is_set()

    def take(self, timeout: float) -> Sequence[Snapshot] | None:
        """What has arrived, in its order; None once the stream has ended in the ordinary way.

        Raises what ended it otherwise, when all before that was taken.
        """
        if self._ended.is_set() and self._arrived.empty():
            if self._problem is not None:
                raise self._problem
            return None
        taken: list[Snapshot] = []
        with suppress(queue.Empty):
            taken.append(self._arrived.get(timeout=timeout))
            while len(taken) < MOST_AT_ONCE:
                taken.append(self._arrived.get_nowait())
        return taken

    def close(self) -> None:
        self._closed.set()
        if self._watch is not None:
            self._watch.close()

    def _read(self, open_watch: Callable[[str], Watch], since: str, wait: float) -> None:
        try:
            if self._closed.wait(wait):
                return
            self._watch = open_watch(since)
            for change in self._watch:
                while not self._closed.is_set():
                    try:
                        self._arrived.put(change, timeout=1)
                        break
                    except queue.Full:
                        continue
                if self._closed.is_set():
                    break
        except ReconcilerError as problem:
            self._problem = problem
        except Exception as problem:
            log.debug("where the watch failed", exc_info=True)
            self._problem = SnapshotError(f"the watch failed: {type(problem).__name__}: {problem}")
        finally:
            if self._closed.is_set() and self._watch is not None:
                self._watch.close()
            self._ended.set()


def _uids(snapshot: Snapshot) -> set[str]:
    uids = [one.uid for one in snapshot.tenants] + [one.uid for one in snapshot.unreadable]
    return {uid for uid in uids if uid is not None}
