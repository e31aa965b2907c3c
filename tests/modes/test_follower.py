"""The stream's own rules: each change is written once and in its order, whatever breaks."""

import time
from collections.abc import Iterator

import pytest

from reconciler.core.tenant import Snapshot
from reconciler.errors import Expired, LedgerError, SnapshotError
from reconciler.modes.follower import MOST_SETTLING
from tests.modes.streams import SETTLE, Server, Written, bookmark, change, followed, gone, listed, until


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
    follower.listed(listed(20))
    until(follower, lambda: "21" in written.versions)
    assert server.asked == ["5", "20"]
    follower.close()


def test_a_bookmark_moves_the_position_and_writes_nothing() -> None:
    server, written = Server(([bookmark(50)], SnapshotError("cut")), ([change(51)], None)), Written()
    follower = followed(server, written)
    until(follower, lambda: "51" in written.versions, SnapshotError)
    assert (written.versions, server.asked) == (["51"], ["5", "50"])
    follower.close()


def test_what_has_arrived_is_written_at_once_when_asked() -> None:
    server, written = Server(([change(6), change(7)], None)), Written()
    follower = followed(server, written)
    until(follower, lambda: written.versions == ["6", "7"])
    follower.flush()
    assert follower.position == 7
    follower.close()


@pytest.mark.parametrize("breaks", [3])
def test_a_stream_that_breaks_again_and_again_is_opened_after_a_while_that_grows(breaks: int) -> None:
    server, written = Server(*[((), SnapshotError("cut"))] * breaks, ([change(6)], None)), Written()
    follower = followed(server, written)
    raised = until(follower, lambda: written.versions == ["6"], SnapshotError)
    assert raised == ["SnapshotError"] * breaks
    follower.close()


def test_deletions_of_one_burst_are_written_together_when_it_is_over() -> None:
    def burst() -> Iterator[Snapshot]:
        yield change(6)
        for version in range(7, 10):
            yield gone(version, f"u{version}")
            time.sleep(SETTLE / 2)
        yield change(10)

    server, written = Server((burst(), None)), Written()
    follower = followed(server, written)
    until(follower, lambda: "10" in written.versions)
    assert written.groups[0] == ["6"]
    assert written.groups[1][:3] == ["7", "8", "9"]
    assert set(written.served) == {True}
    follower.close()


def test_a_burst_that_does_not_end_is_waited_for_only_so_long() -> None:
    def without_end() -> Iterator[Snapshot]:
        version = 5
        while True:
            version += 1
            yield gone(version, f"u{version}")
            time.sleep(SETTLE / 2)

    server, written = Server((without_end(), None)), Written()
    follower = followed(server, written)
    until(follower, lambda: bool(written.groups))
    assert MOST_SETTLING <= len(written.groups[0]) <= 2 * MOST_SETTLING + 1
    follower.close()


def test_whether_the_resource_is_still_served_is_asked_before_a_deletion_is_written() -> None:
    server, written = Server(([change(6), gone(7), change(8)], None)), Written()
    server.is_served = False
    follower = followed(server, written)
    until(follower, lambda: "8" in written.versions)
    assert (written.groups, written.served) == ([["6"], ["7", "8"]], [True, False])
    follower.close()


def test_a_deletion_that_has_not_settled_is_not_lost_with_its_stream() -> None:
    cut = SnapshotError("cut")
    server, written = Server(([gone(6)], cut), ([change(7)], Expired("410"))), Written()
    follower = followed(server, written)
    until(follower, lambda: not follower.is_on, SnapshotError, Expired)
    follower.flush()
    assert written.versions == ["6", "7"]
    assert server.asked == ["5", "6"]
