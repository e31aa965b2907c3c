"""The fake API server's watch against the recordings of real ones, through the real client."""

import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from tests.apiserver import (
    FAULTS,
    RECORDINGS,
    ApiServer,
    Conflict,
    Json,
    Tenants,
    error_event,
    recorded,
)

DAY = datetime(2026, 11, 22, 15, 37, tzinfo=UTC)
LABEL = "pieced.ch/zitadel-org-id"
ORG = "32081547092000000"
GONE: Json = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is gone"}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def recording(name: str) -> Json:
    exchange: Json = json.loads((RECORDINGS / name).read_bytes())
    return exchange


def recorded_events(name: str) -> list[Json]:
    return [json.loads(text) for text in recording(name)["response"]["stream"]]


@dataclass
class Stream:
    """A watch by the real client, read in a thread of its own."""

    query: Json
    lines: list[bytes] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    headers: Json = field(default_factory=dict)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.configuration = client.Configuration()
        self.configuration.retries = False
        self.thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        try:
            with client.ApiClient(self.configuration) as kubernetes:
                api = client.CustomObjectsApi(kubernetes)
                names = ("pieced.ch", "v1alpha1", "piecedtenants")
                answer = cast(
                    "urllib3.HTTPResponse",
                    api.list_cluster_custom_object(
                        *names, watch=True, _preload_content=False, **self.query
                    ),
                )
                self.headers = dict(answer.headers)
                rest = b""
                for part in answer.stream(1 << 16):
                    *lines, rest = (rest + part).split(b"\n")
                    self.lines += lines
                    self.received += [time.monotonic()] * len(lines)
                assert not rest
        except (HTTPError, ApiException) as error:
            self.error = error

    def end(self, seconds: float = 10) -> "Stream":
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the stream does not end"
        return self

    @property
    def events(self) -> list[Json]:
        return [json.loads(text) for text in self.lines]

    def until(self, count: int) -> list[Json]:
        until(lambda: len(self.lines) >= count or not self.thread.is_alive())
        return self.events


Open = Callable[..., Stream]


@pytest.fixture
def watch(server: ApiServer, tmp_path: Path) -> Iterator[Open]:
    """Opens a watch with that query, from the latest resourceVersion unless it says otherwise."""
    file = server.kubeconfig(tmp_path / "kubeconfig")
    opened: list[Stream] = []

    def watch(*, read_timeout: float = 5, **query: object) -> Stream:
        query = {"resource_version": str(server.tenants.revision), "timeout_seconds": 30, **query}
        wanted = {name: value for name, value in query.items() if value is not None}
        stream = Stream(wanted | {"_request_timeout": (5, read_timeout)})
        config.load_kube_config(str(file), "test", stream.configuration)  # type: ignore[no-untyped-call]
        before = len(server.requests)
        stream.thread.start()
        opened.append(stream)
        until(lambda: len(server.requests) > before and (stream.headers or stream.error))
        return stream

    yield watch
    server.stop()
    for stream in opened:
        stream.end()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.002)


def ask(server: ApiServer, query: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """A watch by hand, read to its end."""
    with closing(
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    ) as connection:
        connection.request("GET", f"{server.list_path}?{query}", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def kinds(stream: Stream) -> list[str]:
    return [event["type"] for event in stream.events]


def names(events: list[Json]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def at(seconds: int) -> datetime:
    return DAY + timedelta(seconds=seconds)


def write_the_three(tenants: Tenants) -> None:
    """What there is when the recorded watches begin."""
    for event in recorded_events("watch/without-resource-version.json")[:3]:
        tenants.revision = int(event["object"]["metadata"]["resourceVersion"]) - 1
        tenants.put_object(event["object"])


def write_what_was_watched(tenants: Tenants) -> None:
    """The writes that the recorded watches tell of, at the same times and resourceVersions."""
    uids = [
        event["object"]["metadata"]["uid"]
        for event in recorded_events("watch/basic.json")
        if event["type"] == "ADDED"
    ]
    tenants.write_elsewhere()
    tenants.create("dora", ["wiki"], suspend=False, org=f"{ORG}9", uid=uids[0], created=at(46))
    tenants.patch("anna", spec={"packages": ["mail", "wiki"]}, manager="gitops", at=at(47))
    tenants.patch("bert", spec={"suspend": True}, at=at(48))
    tenants.set_status("bert", {"suspendedAt": "2026-11-22T15:37:48Z"}, at=at(48))
    tenants.patch("bert", metadata={"labels": {LABEL: "320815470920000077"}}, at=at(49))
    tenants.patch("bert", metadata={"labels": None}, at=at(49))
    tenants.patch("bert", metadata={"labels": {LABEL: f"{ORG}1"}}, at=at(50))
    tenants.patch("cleo", metadata={"finalizers": ["pieced.ch/cleanup"]}, at=at(51))
    tenants.delete("cleo", at=at(51))
    tenants.patch("cleo", metadata={"finalizers": None}, at=at(52))
    tenants.write_elsewhere()
    tenants.delete("dora", at=at(53))
    tenants.create("dora", ["wiki"], suspend=False, org=f"{ORG}9", uid=uids[1], created=at(53))
    for packages in (["mail"], ["mail", "wiki"], ["mail"], ["mail", "wiki"]):
        tenants.patch("anna", spec={"packages": packages}, at=at(54))


# What a stream says


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
    stream = watch(timeout_seconds=2, allow_watch_bookmarks=True)
    began = time.monotonic()
    write_what_was_watched(server.tenants)
    assert stream.end().events == recorded_events("watch/with-bookmarks.json")
    assert 0.2 < stream.received[-1] - began < 1.5
    assert 1.8 < time.monotonic() - began < 3


def test_bookmarks_come_at_an_interval_where_the_cluster_moves_on(
    server: ApiServer, watch: Open
) -> None:
    server.watches.bookmark_interval = 0.05
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
        timeout_seconds=2,
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


# How it begins and ends


def test_nothing_happens_and_the_end_comes_without_a_word(server: ApiServer, watch: Open) -> None:
    began = time.monotonic()
    stream = watch(timeout_seconds=1).end()
    assert (stream.lines, stream.error) == ([], None)
    assert stream.lines == recording("watch/nothing-happens.json")["response"]["stream"]
    assert 0.9 < time.monotonic() - began < 2
    assert len(server.watches) == 0


def test_a_compacted_resource_version_is_an_error_within_a_200(server: ApiServer, watch: Open) -> None:
    server.tenants.create("anna", ["mail"])
    server.tenants.revision = 278
    server.tenants.compact()
    stream = watch(resource_version="1").end()
    assert stream.error is None
    assert stream.events == recorded_events("watch/resource-version-compacted-error-410.json")
    latest = watch()
    server.tenants.create("bert", ["mail"])
    assert names(latest.until(1)) == [("ADDED", "bert")]


def test_a_compaction_does_not_disturb_an_open_stream(server: ApiServer, watch: Open) -> None:
    stream = watch()
    server.tenants.create("anna", ["mail"])
    stream.until(1)
    server.tenants.compact()
    server.tenants.create("bert", ["mail"])
    assert names(stream.until(2)) == [("ADDED", "anna"), ("ADDED", "bert")]


def test_after_a_mere_restart_what_was_before_is_too_old(server: ApiServer, watch: Open) -> None:
    server.tenants.create("anna", ["mail"])
    server.tenants.revision = 1289
    before = server.url
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "watch=true")
    server.start()
    assert server.url == before
    assert server.tenants.revision == 1300
    stream = watch(resource_version="1289").end()
    assert stream.events == recorded_events("watch/resource-version-from-before-restart.json")
    assert names(watch(resource_version=None).until(1)) == [("ADDED", "anna")]
    assert watch().error is None


@pytest.mark.parametrize("times", [3])
def test_it_can_be_restarted_again_and_again(server: ApiServer, watch: Open, times: int) -> None:
    for number in range(times):
        stream = watch()
        server.tenants.create(f"tenant-{number}", ["mail"])
        stream.until(1)
        server.stop()
        assert isinstance(stream.end().error, ProtocolError)
        server.start()
    assert len(server.tenants.current) == times


def test_an_orderly_stop_breaks_the_stream(server: ApiServer, watch: Open) -> None:
    stream = watch(allow_watch_bookmarks=True)
    server.tenants.create("anna", ["mail"])
    stream.until(1)
    server.stop()
    stream.end()
    assert "the middle of the chunked body" in recording("watch/server-stops.json")["ended"]
    assert kinds(stream) == ["ADDED"]
    assert isinstance(stream.error, ProtocolError)


def test_a_resource_version_of_the_future_is_silence(server: ApiServer, watch: Open) -> None:
    server.watches.bookmark_interval = 0.05
    stream = watch(resource_version="999999999", timeout_seconds=1, allow_watch_bookmarks=True)
    server.tenants.create("anna", ["mail"])
    assert (stream.end().lines, stream.error) == ([], None)
    assert recorded_events("watch/resource-version-future.json") == []


def test_after_a_restore_from_backup_the_old_resource_version_is_silence(
    server: ApiServer, watch: Open
) -> None:
    tenants = server.tenants
    tenants.revision = 1449
    tenants.create("otter", ["mail", "wiki"])
    backup = tenants.revision
    tenants.revision = 1516
    tenants.create("puma", ["mail"])
    server.stop()
    tenants.restore(backup)
    server.start()
    stream = watch(resource_version="1517", timeout_seconds=1, allow_watch_bookmarks=True)
    tenants.patch("otter", spec={"packages": ["mail"]})
    assert (stream.end().lines, stream.error) == ([], None)
    assert recorded_events("restored-from-backup/3-watch-from-before.json") == []


def test_a_resource_version_that_is_no_number_is_500(watch: Open) -> None:
    error = watch(resource_version="newest").end().error
    assert isinstance(error, ApiException)
    expected = recording("watch/resource-version-not-a-number-500.json")["response"]
    assert error.body is not None
    assert (error.status, json.loads(error.body)) == (500, expected["body"])


@pytest.mark.parametrize(
    "name",
    [
        "watch/bad-token-401.json",
        "watch/forbidden-403.json",
        "errors/crd-missing-watch-404.json",
        "errors/overload-watch-429.json",
    ],
)
def test_a_watch_is_refused_as_recorded_while_the_list_is_not(
    server: ApiServer, watch: Open, name: str
) -> None:
    server.fail(recorded(name), on=server.is_watch)
    assert ask(server, "limit=1")[0] == 200
    error = watch().end().error
    expected = recording(name)["response"]
    assert isinstance(error, ApiException)
    assert error.body is not None
    body = error.body if isinstance(expected["body"], str) else json.loads(error.body)
    assert (error.status, body) == (expected["status"], expected["body"])
    assert watch().error is None


def test_without_the_crd_or_the_token_there_is_no_watch(server: ApiServer, watch: Open) -> None:
    server.installed = False
    error = watch().end().error
    assert isinstance(error, ApiException)
    assert error.status == 404
    with ApiServer(token="right") as guarded:
        assert ask(guarded, "watch=true")[0] == 403


@pytest.mark.parametrize("query", ["labelSelector=a", "fieldSelector=a", "timeoutSeconds=soon"])
def test_what_no_recording_covers_is_501(server: ApiServer, query: str) -> None:
    assert ask(server, f"watch=true&{query}")[0] == 501


# What a test can do to a stream


def test_all_streams_can_be_cut(server: ApiServer, watch: Open) -> None:
    streams = [watch(), watch()]
    server.watches.wait_for(2)
    assert server.watches.cut() == 2
    for stream in streams:
        assert isinstance(stream.end().error, ProtocolError)
        assert stream.lines == []
    server.watches.wait_for(0)


def test_a_stream_can_be_cut_in_the_middle_of_a_line(server: ApiServer) -> None:
    server.watches.delay = 60
    with closing(
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    ) as connection:
        connection.request("GET", f"{server.list_path}?watch=true&resourceVersion=1")
        answer = connection.getresponse()
        server.tenants.create("anna", ["mail"])
        server.watches.cut(mid_line=True)
        partial = answer.read1()
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    assert partial.startswith(b'{"type":"ADDED"')
    assert not partial.endswith(b"\n")


def test_a_stream_can_be_reset(server: ApiServer, watch: Open) -> None:
    stream = watch()
    server.watches.cut(reset=True)
    assert "reset" in str(stream.end().error)


def test_an_error_can_come_at_any_time_within_a_200(server: ApiServer, watch: Open) -> None:
    stream = watch()
    server.tenants.create("anna", ["mail"])
    stream.until(1)
    server.watches.send_error(GONE)
    assert stream.end().error is None
    assert stream.events[1:] == [{"type": "ERROR", "object": GONE}]

    server.fail(error_event(GONE), on=server.is_watch)
    assert watch().end().events == [{"type": "ERROR", "object": GONE}]


def test_a_stalled_stream_neither_speaks_nor_ends(server: ApiServer, watch: Open) -> None:
    server.watches.bookmark_interval = 0.05
    stalled = watch(timeout_seconds=1, allow_watch_bookmarks=True, read_timeout=1.5)
    assert server.watches.stall() == 1
    server.tenants.create("anna", ["mail"])
    other = watch(resource_version="1")
    assert names(other.until(1)) == [("ADDED", "anna")]
    assert isinstance(stalled.end().error, ReadTimeoutError)
    assert stalled.lines == []


def test_silence_is_total_and_ends_in_the_ordinary_way(server: ApiServer, watch: Open) -> None:
    server.watches.bookmark_interval = 0.05
    server.watches.silent = True
    stream = watch(timeout_seconds=1, allow_watch_bookmarks=True)
    server.tenants.create("anna", ["mail"])
    assert (stream.end().lines, stream.error) == ([], None)
    assert recorded_events("watch/etcd-stands-still.json") == []

    stream = watch(resource_version="1")
    server.heal()
    assert names(stream.until(1)) == [("ADDED", "anna")]


def test_delivery_can_be_late(server: ApiServer, watch: Open) -> None:
    server.watches.delay = 0.3
    stream = watch()
    server.tenants.create("anna", ["mail"])
    written = time.monotonic()
    stream.until(1)
    assert 0.25 < stream.received[0] - written < 1


def test_a_client_that_hangs_up_is_no_longer_counted(server: ApiServer) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET {server.list_path}?watch=1 HTTP/1.1\r\n\r\n".encode())
        server.watches.wait_for(1)
    server.watches.wait_for(0)


def test_the_faults_of_requests_strike_watches_too(server: ApiServer, watch: Open) -> None:
    for fault in ("reset", "closed without an answer"):
        server.fail(FAULTS[fault], on=server.is_watch)
        assert isinstance(watch().end().error, ProtocolError)
    server.fail(FAULTS["silence"], on=server.is_watch)
    assert isinstance(watch(read_timeout=0.2).end().error, ReadTimeoutError)


def test_every_request_is_seen_in_order(server: ApiServer, watch: Open) -> None:
    ask(server, "limit=1")
    watch(timeout_seconds=7, allow_watch_bookmarks=True)
    listed, watched = server.requests
    assert server.is_list(listed)
    assert server.is_watch(watched)
    assert (watched.method, watched.path) == ("GET", server.list_path)
    assert watched.query == {
        "watch": "true",
        "resourceVersion": "1",
        "timeoutSeconds": "7",
        "allowWatchBookmarks": "true",
    }
    assert watched.headers["user-agent"].startswith("OpenAPI-Generator/")


# Writes


def test_applies_take_a_share_as_recorded(server: ApiServer) -> None:
    tenants = server.tenants
    one = recording("tenants/two-managers--3-same-value-by-portal.json")["response"]["body"]
    after = recording("tenants/two-managers--4-same-value-applied-by-flux.json")["response"]["body"]
    tenants.put_object(one)
    name = one["metadata"]["name"]
    packages = one["spec"]["packages"]
    shared = tenants.apply(name, spec={"packages": packages})
    assert shared["metadata"]["managedFields"] == after["metadata"]["managedFields"]
    with pytest.raises(Conflict):
        tenants.apply(name, spec={"packages": ["crm"]})
    again = tenants.apply(name, spec={"packages": packages})
    assert again == shared


def test_what_an_applier_leaves_out_is_taken_away(server: ApiServer) -> None:
    tenants = server.tenants
    created = tenants.apply("anna", manager="gitops", at=at(0), spec={"packages": ["mail"]})
    assert [entry["operation"] for entry in created["metadata"]["managedFields"]] == ["Apply"]
    left = tenants.apply("anna", manager="gitops", at=at(9), metadata={"labels": {LABEL: f"{ORG}1"}})
    assert left["spec"] == {}
    (entry,) = left["metadata"]["managedFields"]
    assert entry["time"] == "2026-11-22T15:37:09Z"
    assert entry["fieldsV1"] == {"f:metadata": {"f:labels": {f"f:{LABEL}": {}}}}


def test_many_threads_write_and_every_write_is_told_once_and_in_order(
    server: ApiServer, watch: Open
) -> None:
    tenants = server.tenants
    stream = watch()
    written: list[int] = []

    def write(thread: int) -> None:
        for number in range(100):
            name = f"tenant-{thread}-{number % 10}"
            one = (
                tenants.patch(name, spec={"packages": [str(number)]})
                if name in tenants.current
                else tenants.create(name, ["mail"])
            )
            written.append(int(one["metadata"]["resourceVersion"]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [int(event["object"]["metadata"]["resourceVersion"]) for event in stream.until(400)]
    assert told == sorted(written)


def test_a_change_is_delivered_within_milliseconds(server: ApiServer, watch: Open) -> None:
    for number in range(1000):
        server.tenants.create(f"tenant-{number:03}", ["mail"])
    stream, written = watch(), list[float]()
    for number in range(100):
        written.append(time.monotonic())
        server.tenants.patch(f"tenant-{number:03}", spec={"packages": ["wiki"]})
        time.sleep(0.02)
    stream.until(100)
    lags = [after - before for before, after in zip(written, stream.received, strict=True)]
    assert statistics.median(lags) < 0.02  # A few milliseconds where the machine is idle.
