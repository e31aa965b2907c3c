"""A list is followed page by page, and is of one state or no snapshot."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.sources.cluster import MOST_RESTARTS, ClusterSource
from tests.apiserver import (
    FAULTS,
    Answer,
    ApiServer,
    Connection,
    Json,
    Request,
    edited,
    merged,
    read_token,
    sent,
)
from tests.sources.source import (
    GROUP,
    KUBE_SYSTEM,
    SEVEN,
    TOKEN,
    VERSION,
    clocks,
    failure,
    lists,
    names,
    source_of,
)

# What is asked for


def test_a_list_is_followed_page_by_page_to_its_end(server: ApiServer, source: ClusterSource) -> None:
    snapshot = source.snapshot()
    assert names(snapshot) == [*SEVEN]
    assert not snapshot.unreadable
    assert snapshot.resource_version == str(server.tenants.revision)
    assert snapshot.cluster_uid == server.cluster_uid
    starts = [read_token(request.query.get("continue", ""))[1] for request in lists(server)[1:]]
    assert starts == ["cleo\0", "finn\0"]


@pytest.mark.parametrize("page_size", [1, 2, 6, 7, 8, 500])
def test_the_size_of_a_page_changes_nothing(server: ApiServer, kubeconfig: Path, page_size: int) -> None:
    whole, paged = (
        source_of(kubeconfig, page_size=size).snapshot().tenants for size in (500, page_size)
    )
    assert paged == whole
    pages = lists(server)[1:]
    assert len(pages) == -(-len(SEVEN) // page_size)
    assert {request.query["limit"] for request in pages} == {str(page_size)}


def test_no_tenant_is_a_snapshot_of_nobody(kubeconfig: Path, server: ApiServer) -> None:
    for name in SEVEN:
        server.tenants.delete(name)
    assert source_of(kubeconfig).snapshot().size == 0


def test_the_cluster_is_asked_for_its_uid_its_versions_and_its_tenants_and_nothing_else(
    server: ApiServer, source: ClusterSource
) -> None:
    source.snapshot()
    asked = [(request.path, sorted(request.query)) for request in server.requests]
    first, rest = (server.list_path, ["limit"]), (server.list_path, ["continue", "limit"])
    assert sorted(asked[:3]) == [(KUBE_SYSTEM, []), (GROUP, []), (VERSION, [])]
    assert asked[3:] == [first, rest, rest]


def test_a_version_that_is_set_is_not_discovered(server: ApiServer, kubeconfig: Path) -> None:
    source_of(kubeconfig, version="v1alpha1").snapshot()
    assert GROUP not in [request.path for request in server.requests]


def test_every_request_asks_for_json_in_gzip_and_says_who_asks(
    server: ApiServer, source: ClusterSource
) -> None:
    source.snapshot()
    for request in server.requests:
        assert request.headers["accept-encoding"] == "gzip"
        assert request.headers["accept"] == "application/json"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_large_page_arrives_in_gzip(server: ApiServer, kubeconfig: Path) -> None:
    answered: list[int] = []

    def count(connection: Connection, head: bytes, payload: bytes) -> None:
        assert b"Content-Encoding: gzip" in head
        answered.append(len(payload))
        connection.write(head + payload)

    for number in range(300):
        server.tenants.create(f"tenant-{number:03}", ["mail"])
    server.fail(sent(count))
    assert source_of(kubeconfig, page_size=500).snapshot().size == 307
    assert answered[0] < 128 * 1024


def test_an_answer_that_nobody_asked_to_compress_is_read_as_it_is(
    server: ApiServer, kubeconfig: Path
) -> None:
    for number in range(300):
        server.tenants.create(f"tenant-{number:03}", ["mail"])
    source = source_of(kubeconfig, page_size=500, compress=False)
    assert source.snapshot().size == 307
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


def test_progress_tells_how_many_tenants_were_listed_and_of_how_many(kubeconfig: Path) -> None:
    told: list[tuple[int, int | None]] = []
    source = source_of(kubeconfig)
    source._progress = lambda *listed: told.append(listed)
    source.snapshot()
    # The last page tells of nothing that remains.
    assert told == [(3, 7), (6, 7), (7, None), (0, None)]


# One state, or none


def test_what_changes_between_the_pages_does_not_show(server: ApiServer, source: ClusterSource) -> None:
    before = source.snapshot()

    def meanwhile(server: ApiServer, request: Request) -> Answer:
        server.tenants.delete("gisa")
        server.tenants.create("dieter", ["mail"])
        server.tenants.patch("emil", spec={"packages": ["wiki"], "suspend": True})
        return server.answer(request)

    server.fail(meanwhile, on=2)
    snapshot = source.snapshot()
    assert snapshot.tenants == before.tenants
    assert snapshot.resource_version == before.resource_version
    assert names(source.snapshot()) == ["anna", "bert", "cleo", "dieter", "dora", "emil", "finn"]


@pytest.mark.parametrize("page", [2, 3])
def test_an_expired_token_starts_the_list_again(
    server: ApiServer, source: ClusterSource, page: int
) -> None:
    def meanwhile(server: ApiServer, request: Request) -> Answer:
        server.tenants.delete("anna")
        server.tenants.create("zoe", ["mail"])
        server.tenants.expire_tokens()
        return server.answer(request)

    server.fail(meanwhile, on=page)
    snapshot = source.snapshot()
    assert names(snapshot) == [*SEVEN[1:], "zoe"]
    assert snapshot.resource_version == str(server.tenants.revision)
    assert ["continue" in request.query for request in lists(server)[page:]] == [False, True, True]


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_410_starts_the_list_again(server: ApiServer, source: ClusterSource, page: int) -> None:
    server.fail(FAULTS["410"], on=page)
    assert names(source.snapshot()) == [*SEVEN]
    assert len(lists(server)) == page + 3


def test_a_list_that_starts_again_is_dated_by_the_page_it_starts_with(
    server: ApiServer, kubeconfig: Path
) -> None:
    instants = [datetime.now(UTC) + timedelta(milliseconds=number) for number in range(4)]
    server.fail(FAULTS["410"], on=3)
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert (snapshot.asked_at, snapshot.observed_at) == tuple(instants[2:])


def test_a_list_that_always_expires_is_given_up(server: ApiServer, source: ClusterSource) -> None:
    server.fail(FAULTS["410"], on=lambda request: "continue" in request.query, forever=True)
    message = failure(source)
    assert "410" in message
    assert "--page-size" in message
    assert [sorted(request.query) for request in lists(server)] == [["limit"], ["continue", "limit"]] * (
        1 + MOST_RESTARTS
    )


def test_a_server_that_gives_the_same_page_for_ever_does_not_keep_us_for_ever(
    server: ApiServer, kubeconfig: Path
) -> None:
    server.fail(FAULTS["page 1 again"], on=2, forever=True)
    assert failure(source_of(kubeconfig, list_timeout=0.2))


@pytest.mark.parametrize(
    "token_of_page_2",
    [{"resourceVersion": ""}, {"resourceVersion": None}, {"resourceVersion": "1"}],
    ids=lambda metadata: repr(metadata["resourceVersion"]),
)
def test_every_page_says_of_which_state_it_is(
    server: ApiServer, source: ClusterSource, token_of_page_2: Json
) -> None:
    server.fail(edited(lambda body: merged(body, {"metadata": token_of_page_2})), on=2)
    assert "resourceVersion" in failure(source)
