"""How a stream of the fake API server begins and ends, against the recordings of the real one."""

import json
import time

import pytest
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError

from tests.apiserver import ApiServer, recorded
from tests.apiserver.watches import Open, ask, kinds, names, recorded_events, recording
from tests.waiting import until


def test_nothing_happens_and_the_end_comes_without_a_word(server: ApiServer, watch: Open) -> None:
    began = time.monotonic()
    stream = watch(timeout_seconds=1).end()
    assert (stream.lines, stream.error) == ([], None)
    assert stream.lines == recording("watch/nothing-happens.json")["response"]["stream"]
    assert time.monotonic() - began > 0.9
    until(lambda: len(server.watches) == 0)


def test_a_resource_version_that_is_gone_is_an_error_within_a_200(
    server: ApiServer, watch: Open
) -> None:
    server.tenants.create("anna", ["mail"])
    server.tenants.revision = 278
    server.watches.cache.restart()
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
    server.tenants.expire_tokens()
    server.tenants.create("bert", ["mail"])
    assert names(stream.until(2)) == [("ADDED", "anna"), ("ADDED", "bert")]


def test_a_compaction_takes_nothing_from_a_watch(server: ApiServer, watch: Open) -> None:
    for number in range(150):
        server.tenants.create(f"tenant-{number}", ["mail"])
    server.tenants.expire_tokens()
    assert server.tenants.compacted > 151
    assert len(watch(resource_version="1").until(150)) == 150


def test_a_full_buffer_gives_up_what_is_no_longer_fresh(server: ApiServer, watch: Open) -> None:
    server.watches.cache.fresh = 0
    for number in range(100):
        server.tenants.create(f"tenant-{number}", ["mail"])
    assert len(watch(resource_version="1").until(100)) == 100
    server.tenants.create("tenant-100", ["mail"])
    stream = watch(resource_version="1").end()
    assert stream.events[0]["object"]["message"] == "too old resource version: 1 (2)"
    assert len(watch(resource_version="2").until(100)) == 100


def test_a_full_buffer_keeps_what_is_fresh(server: ApiServer, watch: Open) -> None:
    for number in range(1000):
        server.tenants.create(f"tenant-{number}", ["mail"])
    assert len(watch(resource_version="1").until(1000)) == 1000


def test_the_cache_initializes_after_a_restart_and_then_all_before_is_too_old(
    server: ApiServer, watch: Open
) -> None:
    server.tenants.create("anna", ["mail"])
    before = server.tenants.revision
    server.stop()
    server.start(initializing=2)
    expected = json.dumps(recording("errors/storage-initializing-429.json")["response"]["body"])
    for asked in ("limit=1", f"watch=true&resourceVersion={before}"):
        status, headers, body = ask(server, asked)
        assert (status, headers["Retry-After"], json.loads(body)) == (429, "1", json.loads(expected))
    stream = watch(resource_version=str(before)).end()
    assert stream.events[0]["object"]["code"] == 410


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
