"""A cluster that streams what a test has written down, for the stream's own rules."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from reconciler.core.tenant import Snapshot
from reconciler.health import Health
from reconciler.modes.follower import LASTS, Follower
from tests.core.examples import S, snapshot, tenant

SETTLE = 0.3


class Watch:
    """A stream that delivers these changes, and then ends by this error, or waits until it is closed."""

    def __init__(self, changes: Iterable[Snapshot], ending: Exception | None) -> None:
        self._changes, self._ending = changes, ending
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Snapshot]:
        yield from self._changes
        if self._ending is not None:
            raise self._ending
        self._closed.wait(20)

    def close(self) -> None:
        self._closed.set()


class Server:
    """Streams for one after the other who asks, from where each asked, and a list."""

    uid = "cluster-1"

    def __init__(self, *streams: tuple[Iterable[Snapshot], Exception | None]) -> None:
        self._streams = list(streams)
        self.asked: list[str] = []
        self.list: Callable[[], Snapshot] = lambda: listed(5)
        self.noted = bookmark(5)
        self.is_served = True

    def connected(self) -> "Server":
        return self

    def watch(self, since: str, seconds: int) -> Watch:
        assert seconds > 0
        self.asked.append(since)
        return Watch(*(self._streams.pop(0) if self._streams else ((), None)))

    def note(self) -> Snapshot:
        return self.noted

    def serves(self) -> bool:
        return self.is_served

    def snapshot(self, known: frozenset[bytes] | None = None) -> Snapshot:
        del known
        return self.list()


def change(version: int, *skills: str, uid: str = "A") -> Snapshot:
    one = snapshot([tenant(uid, f"t-{uid}", *skills)], observed=S)
    return replace(one, scope=frozenset({uid}), resource_version=str(version), source="watch")


def bookmark(version: int) -> Snapshot:
    return replace(snapshot([]), scope=frozenset(), resource_version=str(version), source="watch")


def gone(version: int, uid: str = "A") -> Snapshot:
    return replace(snapshot([]), scope=frozenset({uid}), resource_version=str(version), source="watch")


def listed(version: int) -> Snapshot:
    return snapshot([tenant("A")], version=str(version))


class Written:
    def __init__(self) -> None:
        self.versions: list[str | None] = []
        self.groups: list[list[str | None]] = []
        self.served: list[bool] = []
        self.problem: Exception | None = None

    def __call__(self, changes: Sequence[Snapshot], *, is_served: bool) -> None:
        problem, self.problem = self.problem, None
        if problem is not None:
            raise problem
        self.versions += [one.resource_version for one in changes]
        self.groups.append([one.resource_version for one in changes])
        self.served.append(is_served)


def follower_of(server: Server, written: Written, clock: Callable[[], float] | None = None) -> Follower:
    health = Health(ready_within=60, live_within=60)
    return Follower(server, written, health, settle=SETTLE, **({"clock": clock} if clock else {}))


def followed(server: Server, written: Written) -> Follower:
    follower = follower_of(server, written)
    follower.begin(5, LASTS)
    return follower


def until(follower: Follower, condition: Callable[[], bool], *expected: type[Exception]) -> list[str]:
    """Follows until it is so; what was raised on the way must be expected."""
    raised: list[str] = []
    for _ in range(400):
        if condition():
            return raised
        try:
            follower.follow(0.05)
        except expected as problem:
            raised.append(type(problem).__name__)
    raise AssertionError("it does not come to that")
