"""What a stream of the fake API server says, against the recordings of the real one."""

import http.client
import json
import time
from contextlib import closing

import pytest

from tests.apiserver import ApiServer
from tests.apiserver.watches import (
    Open,
    ask,
    kinds,
    names,
    recorded_events,
    recording,
    write_the_three,
    write_what_was_watched,
)


def test_the_same_writes_are_told_as_recorded(server: ApiServer, watch: Open) -> None:
    write_the_three(server.tenants)
    stream = watch()
    write_what_was_watched(server.tenants)
    assert stream.until(16) == recorded_events("watch/basic.json")
    expected = recording("watch/basic.json")["response"]["headers"]
    for header in ("Content-Type", "Transfer-Encoding", "Cache-Control"):
        assert stream.headers[header] == expected[header]


def test_what_was_written_before_the_watch_is_told_from_the_log(server: ApiServer, watch: Open) -> None:
    write_the_three(server.tenants)
    write_what_was_watched(server.tenants)
    expected = recorded_events("watch/basic.json")
    assert watch(resource_version="447").until(16) == expected
    later = watch(resource_version="457").until(7)
    assert later == [
        event for event in expected if int(event["object"]["metadata"]["resourceVersion"]) > 457
    ]


def test_a_bookmark_comes_shortly_before_the_end(server: ApiServer, watch: Open) -> None:
    write_the_three(server.tenants)
    stream = watch(timeout_seconds=3, allow_watch_bookmarks=True)
    began = time.monotonic()
    write_what_was_watched(server.tenants)
    assert stream.end().events == recorded_events("watch/with-bookmarks.json")
    assert 1 < stream.received[-1] - began < time.monotonic() - began - 0.5


@pytest.mark.parametrize(("seconds", "marks"), [(1, 0), (2, 0), (3, 1), (4, 1)])
def test_the_last_bookmark_is_due_two_seconds_before_the_end_or_never(
    server: ApiServer, watch: Open, seconds: int, marks: int
) -> None:
    stream = watch(timeout_seconds=seconds, allow_watch_bookmarks=True)
    server.tenants.write_elsewhere()
    ask(server, "limit=1")
    assert kinds(stream.end()) == ["BOOKMARK"] * marks


def test_a_bookmark_says_what_a_list_made_the_cache_learn(server: ApiServer, watch: Open) -> None:
    server.tenants.create("anna", ["mail"])
    stream = watch(timeout_seconds=3, allow_watch_bookmarks=True)
    began = time.monotonic()
    server.tenants.write_elsewhere(7)
    listed = json.loads(ask(server, "limit=1")[2])["metadata"]["resourceVersion"]
    server.tenants.write_elsewhere(7)
    (bookmark,) = stream.until(1)
    assert bookmark["object"]["metadata"] == {"resourceVersion": listed}
    assert stream.received[0] - began > 1


def test_writes_elsewhere_make_no_bookmark_unless_the_cache_learns_of_them(
    server: ApiServer, watch: Open
) -> None:
    server.watches.bookmark_interval = 0.05
    stream = watch(timeout_seconds=1, allow_watch_bookmarks=True)
    server.tenants.write_elsewhere(7)
    assert stream.end().lines == []


def test_bookmarks_come_at_an_interval_where_the_cluster_moves_on(
    server: ApiServer, watch: Open
) -> None:
    server.watches.bookmark_interval = 0.05
    server.watches.cache.progress_every = 0
    quiet = watch(timeout_seconds=1, allow_watch_bookmarks=True).end()
    assert quiet.lines == []

    stream = watch(allow_watch_bookmarks=True)
    revision = server.tenants.write_elsewhere(7)
    stream.until(3)
    assert {(one["type"], str(one["object"]["metadata"])) for one in stream.events} == {
        ("BOOKMARK", f"{{'resourceVersion': '{revision}'}}")
    }


@pytest.mark.parametrize("name", ["without-resource-version", "resource-version-0"])
def test_without_a_resource_version_it_starts_with_all_there_is(
    server: ApiServer, watch: Open, name: str
) -> None:
    asked = recording(f"watch/{name}.json")["request"]["query"]
    write_the_three(server.tenants)
    stream = watch(
        resource_version=asked.get("resourceVersion"),
        allow_watch_bookmarks="allowWatchBookmarks" in asked or None,
        timeout_seconds=3,
    )
    expected = recorded_events(f"watch/{name}.json")
    stream.until(4 if "allowWatchBookmarks" in asked else 3)
    write_what_was_watched(server.tenants)
    assert stream.end().events == expected


def test_the_limit_is_ignored(server: ApiServer, watch: Open) -> None:
    for event in recorded_events("watch/limit-ignored.json"):
        server.tenants.put_object(event["object"])
    stream = watch(resource_version=None, limit=2)
    expected = recorded_events("watch/limit-ignored.json")
    assert names(stream.until(3)) == names(expected)


def test_a_list_as_a_stream_ends_with_a_bookmark_where_these_are_allowed(server: ApiServer) -> None:
    for event in recorded_events("watch/watch-list.json")[:3]:
        server.tenants.revision = int(event["object"]["metadata"]["resourceVersion"]) - 1
        server.tenants.put_object(event["object"])
    server.tenants.revision = 469
    asked = "watch=true&sendInitialEvents=true&timeoutSeconds=1"
    status, _, body = ask(server, asked)
    assert (status, json.loads(body)) == (
        422,
        recording("watch/watch-list-match-missing-422.json")["response"]["body"],
    )
    asked += "&resourceVersionMatch=NotOlderThan"
    for more, name, count in (
        ("", "watch-list-without-bookmarks", 3),
        ("&allowWatchBookmarks=true", "watch-list", 4),
        ("&allowWatchBookmarks=true&resourceVersion=455", "watch-list-not-older-than", 4),
    ):
        events = [json.loads(text) for text in ask(server, asked + more)[2].splitlines()]
        expected = recorded_events(f"watch/{name}.json")[:count]
        assert [event["type"] for event in events] == [event["type"] for event in expected]
        if name == "watch-list":
            assert events[-1] == expected[-1]


@pytest.mark.parametrize(
    ("value", "is_watch"),
    [("true", True), ("True", True), ("1", True), ("", True), ("false", False), ("0", False)],
)
def test_watch_is_read_as_a_real_server_reads_it(
    server: ApiServer, value: str, *, is_watch: bool
) -> None:
    server.tenants.create("anna", ["mail"])
    timeout = "&timeoutSeconds=1" if is_watch else ""
    body = json.loads(ask(server, f"watch={value}{timeout}")[2])
    assert body.get("type", body.get("kind")) == ("ADDED" if is_watch else "PiecedTenantList")


def test_namespaced_tenants_are_watched_together_or_by_namespace() -> None:
    with ApiServer(namespaced=True) as server:
        tenants = server.tenants
        tenants.create("anna", ["mail"], namespace="north")
        tenants.create("anna", ["mail"], namespace="south")
        assert len(ask(server, "watch=1&resourceVersion=1&timeoutSeconds=1")[2].splitlines()) == 2
        path = server.list_path.replace("/piecedtenants", "/namespaces/south/piecedtenants")
        with closing(http.client.HTTPConnection(server.url.removeprefix("http://"))) as connection:
            connection.request("GET", f"{path}?watch=1&resourceVersion=1&timeoutSeconds=1")
            (text,) = connection.getresponse().read().splitlines()
        assert json.loads(text)["object"]["metadata"]["namespace"] == "south"


def test_a_stream_is_never_compressed(server: ApiServer) -> None:
    for number in range(250):
        server.tenants.create(f"tenant-{number:03}", ["mail"])
    _, headers, body = ask(server, "watch=true&resourceVersion=1&timeoutSeconds=1")
    assert headers["Content-Encoding"] is None
    assert len(body) > 128 * 1024
    assert len(body.splitlines()) == 250


def test_a_deletion_without_finalizers_leaves_no_time(server: ApiServer, watch: Open) -> None:
    before = server.tenants.create("dora", ["wiki"])
    stream = watch()
    gone = server.tenants.delete("dora")
    (event,) = stream.until(1)
    assert event == {"type": "DELETED", "object": gone}
    assert "deletionTimestamp" not in gone["metadata"]
    before["metadata"]["resourceVersion"] = gone["metadata"]["resourceVersion"]
    assert gone == before
