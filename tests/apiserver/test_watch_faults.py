"""What a test can do to a stream of the fake API server."""

import http.client
import socket
import time
from contextlib import closing

import pytest
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from tests.apiserver import FAULTS, ApiServer, error_event
from tests.apiserver.watches import GONE, Open, ask, names, recorded_events


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
    assert stream.received[0] - written > 0.25


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
