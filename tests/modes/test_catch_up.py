"""The list and the stream together: what a list shows is written change by change before it counts."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from reconciler.core.position import Position
from reconciler.core.tenant import Snapshot
from reconciler.errors import Expired, Rejected, SnapshotError
from reconciler.modes import follower as following
from reconciler.modes.catch_up import Alone, CaughtUp
from reconciler.modes.follower import PATIENCE, Follower
from tests.core.examples import S
from tests.modes.streams import (
    Server,
    Written,
    bookmark,
    change,
    followed,
    follower_of,
    listed,
    until,
)


def caught_up(
    server: Server, follower: Follower, at: Position | None = None, turn: Callable[[], object] = bool
) -> CaughtUp:
    last = at or Position(cluster_uid="cluster-1", version=5)
    return CaughtUp(server, follower, lambda: last, turn)


def at_version(server: Server, version: int) -> Server:
    server.list = lambda: listed(version)
    return server


def test_what_the_list_shows_is_written_before_it_and_what_came_after_is_kept_back() -> None:
    server = at_version(Server(([change(6), change(7), change(9), change(11)], None)), 8)
    written = Written()
    follower = follower_of(server, written)
    snapshot = caught_up(server, follower).snapshot()
    assert (snapshot.gapless, snapshot.after) == (True, 5)
    assert written.versions == ["6", "7"]
    until(follower, lambda: written.versions == ["6", "7", "9", "11"])
    assert server.asked == ["5"]
    follower.close()


def test_what_is_listed_and_watched_carries_the_instant_of_the_pass_before() -> None:
    """By it, a clock that went back is told apart from a change that waited."""
    server = at_version(Server(([change(6), change(9)], None)), 8)
    seen: list[Snapshot] = []

    def write(changes: Sequence[Snapshot], *, is_served: bool) -> None:
        assert is_served
        seen.extend(changes)

    follower = Follower(server, write, settle=0)
    last = Position(cluster_uid="cluster-1", version=5, instant=S)
    snapshot = caught_up(server, follower, last).snapshot()
    assert [one.after_instant for one in (snapshot, *seen)] == [S, S]
    follower.close()


def test_a_bookmark_proves_that_the_stream_has_told_everything() -> None:
    server = at_version(Server(([change(6), bookmark(9)], None)), 8)
    written = Written()
    follower = follower_of(server, written)
    assert caught_up(server, follower).snapshot().gapless is True
    assert written.versions == ["6"]
    follower.close()


def test_a_list_at_the_position_of_the_ledger_needs_no_proof() -> None:
    server = at_version(Server(), 5)
    follower = follower_of(server, Written())
    assert caught_up(server, follower).snapshot().gapless is True
    follower.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list waits a third of a second for a stream that says nothing."""
    monkeypatch.setattr(following, "PATIENCE", 0.3)


@pytest.mark.usefixtures("impatient")
def test_without_the_proof_there_is_the_list_alone_and_it_says_so() -> None:
    server = at_version(Server(([change(6)], None), ([change(10)], None)), 8)
    written = Written()
    follower = follower_of(server, written)
    snapshot = caught_up(server, follower).snapshot()
    assert snapshot.gapless is False
    assert (written.versions, follower.is_on) == (["6"], False)
    follower.listed(snapshot)
    until(follower, lambda: written.versions == ["6", "10"])
    assert server.asked == ["5", "8"]
    follower.close()


@pytest.mark.parametrize("problem", [Expired("410"), Rejected("403")])
def test_where_the_history_cannot_be_had_the_list_does_not_wait(
    problem: SnapshotError, caplog: pytest.LogCaptureFixture
) -> None:
    server = at_version(Server(((), problem)), 8)
    began = time.monotonic()
    assert caught_up(server, follower_of(server, Written())).snapshot().gapless is False
    assert time.monotonic() - began < PATIENCE / 2
    assert str(problem) in caplog.text


def test_a_stream_that_breaks_goes_on_until_it_has_told_everything() -> None:
    cut = SnapshotError("cut")
    server = at_version(Server(([change(6)], cut), ((), cut), ([change(7), change(8)], None)), 8)
    written = Written()
    follower = follower_of(server, written)
    assert caught_up(server, follower).snapshot().gapless is True
    assert (written.versions, server.asked) == (["6", "7", "8"], ["5", "6", "6"])
    follower.close()


@pytest.mark.usefixtures("impatient")
def test_a_list_waits_for_a_slow_stream_as_long_as_it_delivers() -> None:
    def slowly() -> Iterator[Snapshot]:
        for version in range(6, 9):
            time.sleep(0.2)
            yield change(version)

    server = at_version(Server((slowly(), None)), 8)
    written = Written()
    follower = follower_of(server, written)
    assert caught_up(server, follower).snapshot().gapless is True
    assert written.versions[-1] == "8"
    follower.close()


def test_a_stream_that_never_ends_holds_no_list_up() -> None:
    def without_end() -> Iterator[Snapshot]:
        version = 5
        while True:
            version += 1
            yield change(version)

    server = at_version(Server((without_end(), None)), 700)
    written = Written()
    follower = follower_of(server, written)
    assert caught_up(server, follower).snapshot().gapless is True
    assert written.versions[-1] == "700"
    follower.close()


def test_a_list_of_another_cluster_or_of_a_server_that_went_back_is_not_waited_for() -> None:
    for place, version in ((Position(cluster_uid="cluster-2", version=5), 8), (None, 4)):
        server = at_version(Server(([change(6)], None)), version)
        written = Written()
        follower = follower_of(server, written)
        snapshot = caught_up(server, follower, place).snapshot()
        assert (snapshot.gapless, written.versions, follower.is_on) == (False, [], False)
        assert snapshot.after == (5 if place is None else None)


def noted(server: Server, *, when: datetime, version: int = 8, every: float = 3600) -> Snapshot:
    """What comes of a ledger whose last list was at S, where a list is due every so many seconds."""
    server = at_version(server, 9)
    server.noted = replace(bookmark(version), observed_at=when)
    last = Position(cluster_uid="cluster-1", version=5, instant=S, listed_at=S)
    follower = follower_of(server, Written())
    turn: Callable[[], object] = bool
    try:
        return CaughtUp(server, follower, lambda: last, turn, list_every=every).snapshot()
    finally:
        follower.close()


def test_between_two_lists_it_is_noted_how_far_all_is_written_once_that_is_proven() -> None:
    snapshot = noted(Server(([change(6), bookmark(8)], None)), when=S + timedelta(seconds=3599))
    assert (snapshot.scope, snapshot.resource_version, snapshot.after) == (frozenset(), "8", 5)
    assert snapshot.after_instant == S


@pytest.mark.parametrize(
    ("server", "seconds", "version", "every"),
    [
        (Server(([change(8), change(9)], None)), 3600, 8, 3600),
        (Server(([change(8), change(9)], None)), 10, 8, 0),
        (Server(((), Expired("410"))), 10, 8, 3600),
        (Server(([change(9)], None)), 10, 4, 3600),
    ],
    ids=["a list is due", "each time", "the history is gone", "the server went back"],
)
def test_all_is_listed_where_that_is_due_or_nothing_else_proves_anything(
    server: Server, seconds: int, version: int, every: float
) -> None:
    snapshot = noted(server, when=S + timedelta(seconds=seconds), version=version, every=every)
    assert (snapshot.scope, snapshot.resource_version) == (None, "9")


def test_the_stream_is_taken_up_anew_from_where_the_ledger_is() -> None:
    server = at_version(Server(([change(6)], None), ([change(31)], None)), 30)
    written = Written()
    follower = followed(server, written)
    until(follower, lambda: written.versions == ["6"])
    at = Position(cluster_uid="cluster-1", version=30)
    assert caught_up(server, follower, at).snapshot().gapless is True
    until(follower, lambda: written.versions == ["6", "31"])
    assert server.asked == ["5", "30"]
    follower.close()


def test_waiting_can_be_ended() -> None:
    class ToldError(Exception):
        pass

    def told() -> None:
        raise ToldError

    server = at_version(Server(), 8)
    follower = follower_of(server, Written())
    with pytest.raises(ToldError):
        caught_up(server, follower, turn=told).snapshot()
    follower.close()


def test_a_list_alone_says_that_it_may_have_missed_something() -> None:
    server = at_version(Server(), 8)
    at = Position(cluster_uid="cluster-1", version=5)
    snapshot = Alone(server, lambda: at).snapshot()
    assert snapshot == replace(listed(8), after=5, gapless=False)
    assert server.asked == []
