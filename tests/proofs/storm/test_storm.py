"""The storm's truth against what the store and its log say."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.apiserver import ApiServer, Tenants
from tests.proofs.storm.writer import Storm
from tests.simulation import Kind

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


def test_the_truth_adds_up_to_what_is_there(store: Tenants) -> None:
    truth = blown(store).truth
    states: dict[str, tuple[set[str | None], bool]] = {}
    for change in truth.changes:
        skills, suspended = states.setdefault(change.uid, (set(), False))
        match change.kind:
            case Kind.ENABLED:
                skills.add(change.skill)
            case Kind.DISABLED:
                skills.remove(change.skill)
            case Kind.SUSPENDED | Kind.RESUMED:
                states[change.uid] = skills, not suspended
            case Kind.DELETED:
                del states[change.uid]
    assert states == {
        resource["metadata"]["uid"]: (
            set(resource["spec"].get("packages", ())),
            resource["spec"].get("suspend", "suspendedAt" in resource.get("status", {})),
        )
        for resource in store.current.values()
        if "deletionTimestamp" not in resource["metadata"]
    }


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


def test_it_is_no_faster_than_its_rate_and_ends_with_its_context(store: Tenants) -> None:
    storm = Storm(store, 1, tenants=20, rate=200)
    storm.fill()
    before, began = store.revision, time.monotonic()
    with storm:
        while store.revision < before + 100:
            assert storm.is_blowing
            time.sleep(0.01)
    assert (store.revision - before) / (time.monotonic() - began) < 220
    assert not storm.is_blowing


def test_a_watch_tells_all_of_a_storm_across_cuts(server: ApiServer) -> None:
    """Whoever watches on from what was seen last gets every event once, whatever becomes of streams."""
    storm = Storm(server.tenants, 3, tenants=50, rate=500, changes=1500)
    storm.fill()
    start = server.tenants.revision
    seen: list[int] = []
    with storm:
        while storm.is_blowing or (seen or [start])[-1] < server.tenants.log[-1].revision:
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
