"""Watches: the log of writes as streams of events, and what may happen to such a stream.

A stream is one thread that sends what is in the store's log after its own position, waits for the next
write, and ends after its time. `Watches` has all that are open, and the means to disturb them.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

from tests.apiserver.cache import WatchCache
from tests.apiserver.documents import Json, encoded, load
from tests.apiserver.store import Tenants
from tests.apiserver.wire import Connection, Send, chunk

LAST_MARK: Final = 2.0
"""Seconds before a stream's end when its last bookmark is due; a shorter stream has none."""
MARK_LATE: Final = 0.4
"""Seconds after which a bookmark that is due is sent; measured were 0.1 to 0.5."""
ATTENTION: Final = 0.1
"""Seconds after which a stream sees at the latest that its client has hung up."""
MOST_AT_ONCE: Final = 100
"""Events that are sent in one go."""

_News: TypeAlias = tuple[str, Json]
"""The type of an event, and its object."""


class _Fate(Enum):
    """What a test wants to become of an open stream."""

    CUT = auto()
    STALLED = auto()


@dataclass(eq=False, kw_only=True)
class Watch:
    """One stream: what was asked for, and how far it is."""

    api_version: str
    kind: str
    within: str
    """What a key starts with; of all namespaces, nothing."""
    at_version: Callable[[Json], Json]
    position: int
    """The revision up to which everything was sent; what is not after it is never sent."""
    initial: Sequence[Json] | None = None
    """What is there already and is sent first, if it is; a bookmark, where allowed, ends it."""
    bookmarks: bool
    seconds: float
    began: float = field(default_factory=time.monotonic)
    fate: _Fate | None = None
    mid_line: bool = False
    """Whether it is cut in the middle of a line."""
    resets: bool = False
    """Whether it is cut with a reset, not with an ordinary end of the connection."""
    last_word: Json | None = None
    """A Status to send as an ERROR, and end."""

    def __post_init__(self) -> None:
        self.since = self.position
        self.ends = self.began + self.seconds
        self.next_mark = self.began

    def bookmark(self, **metadata: Json) -> _News:
        metadata = {**metadata, "resourceVersion": str(self.position)}  # type: ignore[dict-item]
        return "BOOKMARK", {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}


class Watches:
    """The open watches of a server.

    `bookmark_interval` is the time between two bookmarks, in seconds; a bookmark is sent only to who
    allows it, and only where the `cache` has moved on since the watch began, as a real server does.
    `delay` holds every event back for so many seconds. While `silent`, nothing at all is sent, yet a
    stream ends in the ordinary way (watch/etcd-stands-still).
    """

    def __init__(self, tenants: Tenants) -> None:
        self.bookmark_interval = 60.0
        self.delay = 0.0
        self.silent = False
        self.cache = WatchCache(tenants)
        """What a watch can be resumed from, and how far bookmarks go."""
        self._tenants = tenants
        self._changed = tenants.changed
        self._open: set[Watch] = set()

    def __len__(self) -> int:
        """How many are open; one whose client hangs up counts for another moment."""
        with self._changed:
            return len(self._open)

    def wait_for(self, count: int, seconds: float = 10) -> None:
        """Wait until that many are open. TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._open) == count, seconds):
                raise TimeoutError(f"{len(self._open)} watches are open, not {count}")

    def cut(self, *, mid_line: bool = False, reset: bool = False) -> int:
        """Break all that are open, now; after half a line, if so wished. How many these were."""
        with self._changed:
            for watch in self._open:
                watch.mid_line, watch.resets = mid_line, reset
            return self._decide(_Fate.CUT)

    def stall(self) -> int:
        """Let all that are open be silent for ever: nothing is sent, and they do not end. How many."""
        return self._decide(_Fate.STALLED)

    def send_error(self, status: Json) -> int:
        """Send this Status as an ERROR in all that are open, and end them. How many these were."""
        with self._changed:
            for watch in self._open:
                watch.last_word = status
            self._changed.notify_all()
            return len(self._open)

    def heal(self) -> None:
        """No more delay, and no silence; a stream that was stalled remains so."""
        self.delay = 0.0
        self.silent = False

    def wake(self) -> None:
        """Let every stream look anew at how things are."""
        with self._changed:
            self._changed.notify_all()

    def _decide(self, fate: _Fate) -> int:
        with self._changed:
            for watch in self._open:
                watch.fate = fate
            self._changed.notify_all()
            return len(self._open)

    def sender(self, watch: Watch) -> Send:
        """Sends that watch, from the head of its answer to its end."""

        def send(connection: Connection, head: bytes, end: bytes) -> None:
            with self._changed:
                self._open.add(watch)
                self._changed.notify_all()
            try:
                connection.write(head)
                if self._run(watch, connection):
                    connection.write(end)
                else:
                    connection.hang_up()
            finally:
                with self._changed:
                    self._open.discard(watch)
                    self._changed.notify_all()

        return send

    def _run(self, watch: Watch, connection: Connection) -> bool:
        """Send what there is until the watch's time is over: True; or until the stream is broken."""
        self._set_next_mark(watch)
        while not connection.is_abandoned:
            with self._changed:
                now = time.monotonic()
                news = self._news(watch, now)
                fate = watch.fate
                is_over = fate is None and (now >= watch.ends or watch.last_word is not None)
                if not news and not is_over and fate is not _Fate.CUT:
                    self._changed.wait(self._rest(watch, now))
                    continue
            if fate is _Fate.CUT:
                self._break(watch, connection)
                return False
            if news:
                connection.write(b"".join(chunk(line(kind, resource)) for kind, resource in news))
            if is_over:
                return True
        return False

    def _news(self, watch: Watch, now: float) -> list[_News]:
        """What is to be sent now. The watch is then that far."""
        if watch.fate is not None:
            return []
        if watch.last_word is not None:
            return [("ERROR", watch.last_word)]
        if self.silent:
            return []
        news: list[_News] = []
        if watch.initial is not None:
            news += [("ADDED", watch.at_version(resource)) for resource in watch.initial]
            if watch.bookmarks:
                news.append(watch.bookmark(annotations={"k8s.io/initial-events-end": "true"}))
            watch.initial = None
        events = self._tenants.since(watch.position, MOST_AT_ONCE)
        due = [event for event in events if event.written + self.delay <= now]
        if due:
            watch.position = due[-1].revision
        if len(due) == len(events) < MOST_AT_ONCE:
            watch.position = max(watch.position, self.cache.revision)
        news += [
            (event.kind, watch.at_version(event.resource))
            for event in due
            if event.key.startswith(watch.within)
        ]
        if now >= watch.next_mark:
            self._set_next_mark(watch)
            if watch.bookmarks and watch.position > watch.since:
                news.append(watch.bookmark())
        return news

    def _set_next_mark(self, watch: Watch) -> None:
        due, now = watch.ends - LAST_MARK, time.monotonic()
        watch.next_mark = now + self.bookmark_interval
        if watch.began < due and now < due + MARK_LATE < watch.next_mark:
            watch.next_mark = due + MARK_LATE

    def _rest(self, watch: Watch, now: float) -> float:
        """The seconds that a stream waits, if nothing is written before."""
        moments = [now + ATTENTION]
        if watch.fate is None:
            moments += [watch.ends]
        if watch.fate is None and not self.silent:
            moments += [watch.next_mark]
            moments += [one.written + self.delay for one in self._tenants.since(watch.position, 1)]
        return max(min(moments) - now, 0.0)

    def _break(self, watch: Watch, connection: Connection) -> None:
        if watch.mid_line:
            pending = self._tenants.since(watch.position, 1)
            kind, resource = (pending[0].kind, pending[0].resource) if pending else watch.bookmark()
            text = line(kind, resource)
            connection.write(chunk(text[: len(text) // 2]))  # A whole chunk, or clients do not see it.
        if watch.resets:
            connection.reset()


def line(kind: str, resource: Json) -> bytes:
    """One event as it is sent."""
    return encoded({"type": kind, "object": resource})


def too_old(revision: int, oldest: int) -> Json:
    """The Status of a watch from a revision that is gone (watch/resource-version-compacted-error-410).

    `oldest` is the first that a watch can still be from.
    """
    recorded = load("watch/resource-version-compacted-error-410.json")["response"]["stream"][0]
    status: Json = json.loads(recorded)["object"]
    return status | {"message": f"too old resource version: {revision} ({oldest})"}
