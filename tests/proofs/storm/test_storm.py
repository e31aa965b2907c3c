"""The storm's truth against what the store and its log say."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.apiserver import ApiServer, Json, Tenants
from tests.proofs.storm import Change, Kind, State, Storm

SUBJECT_STARTS = {Kind.CREATED, Kind.ENABLED, Kind.SUSPENDED}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def store(server: ApiServer) -> Tenants:
    return server.tenants


def blown(store: Tenants, changes: int = 2000, seed: int = 1, most_weak: int | None = None) -> Storm:
    storm = Storm(store, seed, tenants=40, changes=changes, most_weak=most_weak)
    storm.fill()
    with storm:
        storm.join(60)
    return storm


def read(resource: Json, *, deleted: bool = False) -> State:
    metadata, spec = resource["metadata"], resource["spec"]
    return State(
        name=metadata["name"],
        uid=metadata["uid"],
        skills=frozenset(spec["packages"]),
        suspended=spec["suspend"],
        deleted=deleted or "deletionTimestamp" in metadata,
    )


def test_the_truth_adds_up_to_what_is_there(store: Tenants) -> None:
    storm = blown(store)
    live = {uid: state for uid, state in storm.truth.state().items() if not state.deleted}
    assert live == {
        resource["metadata"]["uid"]: read(resource)
        for resource in store.current.values()
        if "deletionTimestamp" not in resource["metadata"]
    }


def test_after_every_write_the_truth_is_what_the_log_says(store: Tenants) -> None:
    """Each event's tenant, until its deletion is committed, is as the truth has it at that revision."""
    storm = blown(store, changes=300)
    ended: set[str] = set()
    for event in store.log:
        state = read(event.resource, deleted=event.kind == "DELETED")
        if state.uid not in ended:
            assert storm.truth.state(event.revision)[state.uid] == state
        if state.deleted:
            ended.add(state.uid)


def test_the_changes_of_a_subject_alternate_and_end_with_the_life(store: Tenants) -> None:
    storm = blown(store)
    for subjects in storm.truth.by_subject().values():
        for changes in subjects.values():
            starts = [change.kind in SUBJECT_STARTS for change in changes]
            assert starts == [number % 2 == 0 for number in range(len(starts))]
        every = [change for changes in subjects.values() for change in changes]
        deletion = [change.revision for change in every if change.kind is Kind.DELETED]
        assert all(change.revision <= min(deletion, default=change.revision) for change in every)


def test_every_kind_happens_and_one_write_can_make_several(store: Tenants) -> None:
    storm = blown(store)
    kinds = Counter(change.kind for change in storm.truth.changes)
    assert kinds.keys() == set(Kind)
    assert len(storm.truth) >= 2000
    writes = Counter((change.uid, change.revision) for change in storm.truth.changes)
    assert max(writes.values()) > 1
    assert {change.weak for change in storm.truth.changes if change.kind is Kind.DELETED} == {
        True,
        False,
    }
    revisions = [change.revision for change in storm.truth.changes]
    assert revisions == sorted(revisions)


def test_a_skill_is_switched_on_and_off_within_a_second(store: Tenants) -> None:
    storm = blown(store)
    flaps = [
        (first, second)
        for subjects in storm.truth.by_subject().values()
        for changes in subjects.values()
        for first, second in pairwise(changes)
        if second.revision == first.revision + 1
    ]
    assert len(flaps) > 50


def test_weak_deletions_are_no_more_than_asked_for(store: Tenants) -> None:
    storm = blown(store, most_weak=3)
    assert sum(change.weak for change in storm.truth.changes) == 3
    weak = [event for event in store.log if event.kind == "DELETED"]
    weak = [event for event in weak if "deletionTimestamp" not in event.resource["metadata"]]
    assert len(weak) == 3


def test_the_same_seed_makes_the_same_changes() -> None:
    def told(seed: int) -> list[tuple[Kind, str, str, str | None]]:
        with ApiServer() as server:
            truth = blown(server.tenants, changes=500, seed=seed).truth
        return [(change.kind, change.name, change.uid, change.skill) for change in truth.changes]

    assert told(5) == told(5)
    assert told(5) != told(6)


def test_the_times_of_a_change_lie_around_its_write(store: Tenants) -> None:
    storm = blown(store, changes=100)
    changes: list[Change] = storm.truth.changes
    assert all(change.began <= change.done for change in changes)
    assert [change.done for change in changes] == sorted(change.done for change in changes)


def test_it_keeps_to_its_rate_and_ends_with_its_context(store: Tenants) -> None:
    storm = Storm(store, 1, tenants=20, rate=200)
    storm.fill()
    before, began = storm.writes, time.monotonic()
    with storm:
        time.sleep(1)
    assert 100 < (storm.writes - before) / (time.monotonic() - began) < 320
    after = storm.writes
    time.sleep(0.05)
    assert storm.writes == after


def test_a_watch_tells_all_of_a_storm_across_cuts(server: ApiServer) -> None:
    """Whoever watches on from what was seen last gets every event once, whatever becomes of streams."""
    storm = Storm(server.tenants, 3, tenants=50, rate=500, changes=1500)
    storm.fill()
    start = server.tenants.revision
    seen: list[int] = []
    with storm:
        while storm._thread.is_alive() or (seen or [start])[-1] < server.tenants.log[-1].revision:
            position = seen[-1] if seen else start
            seen += watched(server, position, cut_after=100)
    assert seen == [event.revision for event in server.tenants.log if event.revision > start]


def watched(server: ApiServer, position: int, cut_after: int) -> list[int]:
    """The revisions that a watch from there tells of, until it is cut after so many of them."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    query = f"watch=true&resourceVersion={position}&timeoutSeconds=1"
    connection.request("GET", f"{server.list_path}?{query}")
    answer, told = connection.getresponse(), list[int]()
    try:
        while text := answer.readline():
            if not text.endswith(b"\n"):
                break
            told.append(int(json.loads(text)["object"]["metadata"]["resourceVersion"]))
            if len(told) == cut_after:
                server.watches.cut(mid_line=True)
    except http.client.HTTPException:
        pass
    finally:
        connection.close()
    return told
