"""The loop's own rules: what is done when, after a failure, and by whom. Its clock is the test's."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from reconciler.core.tenant import Snapshot
from reconciler.errors import Expired, LedgerError, Refused, SnapshotError
from reconciler.health import Health
from reconciler.modes import stream
from reconciler.modes.backoff import delay
from reconciler.modes.loop import Loop
from reconciler.modes.stream import LONGEST_TO_CATCH_UP, Follower
from tests.core.examples import S, snapshot, tenant


def health() -> Health:
    return Health(ready_within=60, live_within=60)


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
    """Streams for one after the other who asks, and from where each asked."""

    def __init__(self, *streams: tuple[Iterable[Snapshot], Exception | None]) -> None:
        self._streams = list(streams)
        self.asked: list[str] = []

    def watch(self, since: str) -> Watch:
        self.asked.append(since)
        return Watch(*(self._streams.pop(0) if self._streams else ((), None)))


def change(version: int, *skills: str, uid: str = "A") -> Snapshot:
    one = snapshot([tenant(uid, f"t-{uid}", *skills)], observed=S)
    return replace(one, scope=frozenset({uid}), resource_version=str(version), source="watch")


def bookmark(version: int) -> Snapshot:
    return replace(snapshot([]), scope=frozenset(), resource_version=str(version), source="watch")


class Written:
    def __init__(self) -> None:
        self.versions: list[str | None] = []
        self.problem: Exception | None = None

    def __call__(self, changes: Sequence[Snapshot]) -> None:
        problem, self.problem = self.problem, None
        if problem is not None:
            raise problem
        self.versions += [one.resource_version for one in changes]


def followed(server: Server, written: Written) -> Follower:
    follower = Follower(server.watch, written, health())
    follower.begin("5", ["A"])
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


def test_a_stream_that_breaks_goes_on_from_the_last_change_that_was_written() -> None:
    server, written = (
        Server(([change(6), change(7)], SnapshotError("cut")), ([change(8)], None)),
        Written(),
    )
    follower = followed(server, written)
    assert until(follower, lambda: "8" in written.versions, SnapshotError) == ["SnapshotError"]
    assert written.versions == ["6", "7", "8"]
    assert server.asked == ["5", "7"]
    follower.close()


def test_what_could_not_be_written_is_asked_for_again() -> None:
    server, written = Server(([change(6)], None), ([change(6), change(7)], None)), Written()
    written.problem = LedgerError("down")
    follower = followed(server, written)
    assert until(follower, lambda: "7" in written.versions, LedgerError) == ["LedgerError"]
    assert (written.versions, server.asked) == (["6", "7"], ["5", "5"])
    follower.close()


def test_history_that_is_gone_ends_the_stream_until_a_list_begins_another() -> None:
    server, written = Server(((), Expired("410")), ([change(21)], None)), Written()
    follower = followed(server, written)
    assert until(follower, lambda: not follower.is_on, Expired) == ["Expired"]
    follower.resume(lambda: ("5", ["A"]))
    assert not follower.is_on
    follower.listed(replace(snapshot([tenant("A")]), resource_version="20"))
    until(follower, lambda: "21" in written.versions)
    assert server.asked == ["5", "20"]
    follower.close()


def test_a_list_of_a_server_that_has_gone_back_begins_another_stream() -> None:
    server, written = Server(([change(50)], None), ([change(31)], None)), Written()
    follower = followed(server, written)
    until(follower, lambda: "50" in written.versions)
    follower.listed(replace(snapshot([tenant("A")]), resource_version="30"))
    until(follower, lambda: "31" in written.versions)
    assert server.asked == ["5", "30"]
    follower.close()


def test_a_bookmark_moves_the_position_and_writes_nothing() -> None:
    server, written = Server(([bookmark(50)], SnapshotError("cut")), ([change(51)], None)), Written()
    follower = followed(server, written)
    until(follower, lambda: "51" in written.versions, SnapshotError)
    assert (written.versions, server.asked) == (["51"], ["5", "50"])
    follower.close()


def test_a_list_waits_for_what_the_stream_has_of_it() -> None:
    server, written = Server(([change(6), change(7), change(8, uid="B")], None)), Written()
    follower = followed(server, written)
    listed = replace(snapshot([tenant("A"), tenant("B", "b")]), resource_version="9", newest_version=8)
    follower.catch_up(listed)
    assert written.versions == ["6", "7", "8"]
    follower.close()


def test_a_list_waits_for_the_end_of_those_that_it_does_not_show() -> None:
    gone = replace(change(7), tenants=())
    server, written = Server(([change(6), gone], None)), Written()
    follower = followed(server, written)
    follower.catch_up(replace(snapshot([]), resource_version="9"))
    assert written.versions == ["6", "7"]
    follower.close()


def test_a_list_stops_waiting_for_a_stream_that_does_not_deliver_and_begins_another() -> None:
    server, written = Server(), Written()
    ticks = iter(range(100))
    follower = Follower(server.watch, written, health(), clock=lambda: float(next(ticks)))
    follower.begin("5", ["A"])
    listed = replace(snapshot([tenant("A")]), resource_version="9", newest_version=8)
    waits = threading.Thread(target=follower.catch_up, args=(listed,), daemon=True)
    waits.start()
    waits.join(20)
    assert not waits.is_alive()
    assert not follower.is_on
    assert LONGEST_TO_CATCH_UP <= next(ticks) < 2 * LONGEST_TO_CATCH_UP
    follower.listed(listed)
    assert follower.is_on
    until(follower, lambda: server.asked == ["5", "9"])
    follower.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list waits a third of a second for a stream that says nothing."""
    monkeypatch.setattr(stream, "LONGEST_TO_CATCH_UP", 0.3)


LISTED = replace(snapshot([tenant("A")]), resource_version="9", newest_version=8)


@pytest.mark.usefixtures("impatient")
def test_a_list_waits_for_a_stream_that_waits_after_its_breaks() -> None:
    cut = SnapshotError("cut")
    server, written = Server(((), cut), ((), cut), ([change(6), change(7), change(8)], None)), Written()
    follower = followed(server, written)
    until(follower, lambda: len(server.asked) == 2, SnapshotError)
    with pytest.raises(SnapshotError, match="cut"):
        until(follower, lambda: False)
    # The third one is opened after a second, at the latest.
    follower.catch_up(LISTED)
    assert written.versions == ["6", "7", "8"]
    follower.close()


@pytest.mark.usefixtures("impatient")
def test_a_list_waits_for_a_slow_stream_as_long_as_it_delivers() -> None:
    def slowly() -> Iterator[Snapshot]:
        for version in range(6, 9):
            time.sleep(0.2)
            yield change(version)

    server, written = Server((slowly(), None)), Written()
    follower = followed(server, written)
    follower.catch_up(LISTED)
    assert written.versions[-1] == "8"
    follower.close()


class Clock:
    """Time passes only where somebody waits for it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def loop(full: Callable[[], None], leads: Callable[[], bool] = lambda: True) -> tuple[Loop, Clock]:
    clock = Clock()
    one = Loop(full, leads=leads, health=health(), interval=300, clock=clock)

    def wait(timeout: float | None = None) -> bool:
        clock.now += timeout or 0
        if clock.now > 2000:
            one.stopped.set()
        return one.stopped.is_set()

    one.stopped.wait = wait  # type: ignore[method-assign]
    return one, clock


@pytest.mark.parametrize("error", [SnapshotError("no list"), Refused("no"), RuntimeError("a bug")])
def test_a_failure_is_reported_and_tried_again_after_a_while_that_grows(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level("INFO", "reconciler")
    tried: list[float] = []

    def fail() -> None:
        tried.append(clock.now)
        raise error

    one, clock = loop(fail)
    one.due.set()
    one.run()
    waits = [after - before for before, after in pairwise(tried)]
    assert 3 <= waits[0] <= 6
    assert all(wait <= 301 for wait in waits)
    assert waits[:5] == sorted(waits[:5])
    assert 8 < len(tried) < 20
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == len(tried)
    assert {record.exc_info for record in errors} == {None}


def test_who_does_not_lead_makes_no_pass_and_asks_again() -> None:
    made, asked = [], []

    def leads() -> bool:
        asked.append(clock.now)
        return len(asked) > 10

    one, clock = loop(lambda: made.append(clock.now), leads)
    one.due.set()
    one.run()
    assert len(made) == 1
    assert made[0] >= 18


def test_a_database_that_does_not_answer_is_not_taken_for_another_replica(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[None] = []

    def leads() -> bool:
        asked.append(None)
        if len(asked) < 3:
            raise LedgerError("the database is gone")
        return True

    caplog.set_level("INFO", "reconciler")
    one, _ = loop(lambda: None, leads)
    one.run()
    assert "standing by: the database does not answer" in caplog.messages
    assert "leading" in caplog.messages
    assert not [message for message in caplog.messages if "another replica" in message]


def test_the_wait_grows_and_ends_growing() -> None:
    waits = [delay(failures) for failures in range(40)]
    assert waits[0] == 0
    assert all(0.8 <= wait <= 60 for wait in waits[1:])
    assert min(waits[8:]) >= 48
    assert delay(100_000) <= 60


def test_those_who_failed_together_do_not_come_back_together() -> None:
    assert len({delay(9) for _ in range(20)}) > 10
