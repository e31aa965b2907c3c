"""The cluster as a source: the real `kubernetes` client against an API server over real HTTP."""

import gzip
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reconciler.core.evidence import NOTHING
from reconciler.core.plan import plan
from reconciler.core.reading import Dialect, read_page, read_tenants
from reconciler.core.rfc3339 import instant
from reconciler.core.tenant import KnownState, Snapshot
from reconciler.errors import ReconcilerError, SnapshotError, UsageError
from reconciler.sources.cluster import MOST_RESTARTS, ClusterSettings, ClusterSource
from tests.apiserver import (
    FAULTS,
    LATEST,
    RECORDINGS,
    Answer,
    ApiServer,
    Connection,
    Fault,
    Json,
    Request,
    edited,
    instead,
    merged,
    read_token,
    sent,
)

TOKEN = "token-of-the-reconciler"
SEVEN = ("anna", "bert", "cleo", "dora", "emil", "finn", "gisa")
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
GROUP = "/apis/pieced.ch"
VERSION = "/version"
DISCOVERY = (GROUP, VERSION)
BEFORE_THE_LIST = (KUBE_SYSTEM, GROUP)
"""Without an answer to these there is no snapshot."""
TWO_SECONDS = timedelta(seconds=2)


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run in, they are outside a cluster, and behind no proxy."""
    names = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HTTP_PROXY", "HTTPS_PROXY")
    for name in (*names, *map(str.lower, names)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """Seven tenants: by threes, three pages. Whatever a test does, only reads are asked for."""
    with ApiServer(token=TOKEN) as server:
        for name in SEVEN:
            server.tenants.create(name, ["mail"])
        yield server
        check_requests(server)


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def source(kubeconfig: Path) -> ClusterSource:
    return source_of(kubeconfig)


def clocks(instants: Sequence[datetime]) -> tuple[Callable[[], datetime], Callable[[], float]]:
    """A clock and its ticks that say when the list was asked for, and when it arrived."""
    return iter(instants[::2]).__next__, iter([one.timestamp() for one in instants]).__next__


def source_of(
    kubeconfig: Path | None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ticks: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> ClusterSource:
    """The source, three tenants a page and impatient."""
    usual: dict[str, Any] = {
        "dialect": Dialect(),
        "plural": "piecedtenants",
        "version": None,
        "kubeconfig": None if kubeconfig is None else str(kubeconfig),
        "context": None,
        "page_size": 3,
        "connect_timeout": 1.0,
        "read_timeout": 2.0,
        "list_timeout": 20.0,
    }
    return ClusterSource(ClusterSettings(**usual | settings), now=now, ticks=ticks)


def check_requests(server: ApiServer) -> None:
    """Reads of three kinds only, and never of a state that is stale or never was."""
    for request in server.requests:
        assert request.method == "GET"
        assert request.path in (KUBE_SYSTEM, *DISCOVERY, server.list_path)
        assert request.query.keys() <= {"limit", "continue"}
        if token := request.query.get("continue"):
            assert read_token(token)[0] != LATEST, "the inconsistent token was used"


def lists(server: ApiServer) -> Sequence[Request]:
    return [request for request in server.requests if server.is_list(request)]


def names(snapshot: Snapshot) -> Sequence[str]:
    return [tenant.name for tenant in snapshot.tenants]


def gathered(source: ClusterSource) -> Snapshot:
    """A snapshot that can be planned: it is the plan that finds a uid twice."""
    snapshot = source.snapshot()
    plan(snapshot, KnownState())
    return snapshot


def failure(source: ClusterSource, error: type[ReconcilerError] = SnapshotError) -> str:
    """The message of a snapshot that fails: one line, without the token."""
    with pytest.raises(error) as raised:
        gathered(source)
    message = str(raised.value)
    assert message.isprintable()
    assert TOKEN not in message
    return message


def to(path: str) -> Callable[[Request], bool]:
    return lambda request: request.path == path


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


def test_progress_tells_how_many_tenants_were_read(kubeconfig: Path) -> None:
    told: list[int] = []
    source = source_of(kubeconfig)
    source._progress = told.append
    source.snapshot()
    assert told == [3, 6, 7, 0]


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


# What may be wrong with one page

WRONG = {
    "401": "with 401 .*Unauthorized",
    "403": "with 403 .*cannot list resource",
    "404 as text": "with 404 .*page not found",
    "406": "with 406 .*media types",
    "429 as text": "with 429 .*Too many requests",
    "429 while storage initializes": "with 429 .*initializing",
    "500": "with 500",
    "503": "with 503",
    "504 as text": r"with 504 \(Timeout: request did not complete",
    "reset": "connection ended",
    "closed without an answer": "connection ended",
    "cut": "connection ended",
    "cut by its last byte": "connection ended",
    "cut in a chunk": "connection ended",
    "cut by its last chunk": "connection ended",
    "silence": "--read-timeout",
    "silence in the middle": "--read-timeout",
    "drip": "--list-timeout",
    "no JSON": "200, but not with the tenants: .*JSON",
    "no body": "200, but not with the tenants: empty",
    "a Table": '200, but not with the tenants: kind "Table"',
    "metadata only": '200, but not with the tenants: kind "PartialObjectMetadataList"',
    "a Status under 200": '200, but not with the tenants: kind "Status"',
    "page 1 again": "metadata.uid .* twice",
    "another resourceVersion": "page . is of resourceVersion",
    "a uid twice": "metadata.uid .* twice",
}
"""Every fault but the one that is no failure, and what its message says."""

WHAT_TO_DO = (
    r"renew the token|allow this account|CRD is not installed|try(?: it)? again|see --\w|"
    r"\b(?:check|use|raise|lower|run|look|remove|repair)\b"
)
"""What a message may ask of its reader."""


def test_every_fault_is_in_the_table() -> None:
    assert {*WRONG, "410"} == FAULTS.keys()


@pytest.mark.parametrize(
    ("fault", "page"),
    [
        (fault, page)
        for fault in WRONG
        for page in (1, 2, 3)
        if (fault, page) != ("page 1 again", 1)  # which is right
    ],
)
def test_a_list_with_a_page_that_is_wrong_is_no_snapshot(
    server: ApiServer, kubeconfig: Path, fault: str, page: int
) -> None:
    server.fail(FAULTS[fault], on=page)
    source = source_of(kubeconfig, read_timeout=0.2, list_timeout=0.5)
    assert re.search(WRONG[fault], failure(source))
    server.heal()
    assert names(source.snapshot()) == [*SEVEN]


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_told_with_what_to_do(server: ApiServer, kubeconfig: Path, fault: str) -> None:
    server.fail(FAULTS[fault], on=2)
    message = failure(source_of(kubeconfig, read_timeout=0.2, list_timeout=0.5))
    assert re.search(WHAT_TO_DO, message), message


@pytest.mark.parametrize("fault", ["429 as text", "503", "reset", "silence"])
def test_a_request_that_fails_is_not_sent_again(server: ApiServer, kubeconfig: Path, fault: str) -> None:
    server.fail(FAULTS[fault], forever=True)
    started = time.monotonic()
    failure(source_of(kubeconfig, read_timeout=0.2))
    assert time.monotonic() - started < 5  # whatever Retry-After says
    assert len(lists(server)) == 1


def test_a_redirection_is_not_followed(server: ApiServer, source: ClusterSource) -> None:
    with ApiServer() as elsewhere:
        there = {"Location": f"{elsewhere.url}{elsewhere.list_path}"}
        server.fail(lambda *_: Answer(status=302, headers=there, body=b""))
        failure(source)
        assert not elsewhere.requests


GZIP = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
COMPRESSED = gzip.compress(
    b'{"apiVersion":"pieced.ch/v1alpha1","kind":"PiecedTenantList","items":[]}', mtime=0
)


@pytest.mark.parametrize(
    "body",
    [b"no gzip", b"", COMPRESSED[:-20], COMPRESSED[:20] + b"\xff" * 20 + COMPRESSED[40:]],
    ids=["no gzip", "empty", "cut", "overwritten"],
)
def test_a_page_whose_gzip_is_damaged_is_no_page(
    server: ApiServer, source: ClusterSource, body: bytes
) -> None:
    server.fail(lambda *_: Answer(headers=GZIP, body=body), on=2)
    assert failure(source)


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"kind":"PiecedTenantList"}',
        b'{"kind":"List","apiVersion":"v1","items":[],"metadata":{"resourceVersion":"8"}}',
        b'{"kind":"PiecedTenantList","apiVersion":"other.io/v1","items":[],"metadata":{"resourceVersion":"8"}}',
        b'{"kind":"PiecedTenantList","apiVersion":"pieced.ch/v1alpha1","metadata":{"resourceVersion":"8"}}',
        b'{"kind":"PiecedTenantList","apiVersion":"pieced.ch/v1alpha1","items":[]}',
    ],
)
def test_a_200_is_a_page_of_the_tenants_or_nothing(
    server: ApiServer, source: ClusterSource, body: bytes
) -> None:
    server.fail(instead(body), on=2)
    assert "200, but not with the tenants" in failure(source)


def test_a_tenant_that_cannot_be_read_is_quarantined_on_whatever_page(
    server: ApiServer, source: ClusterSource
) -> None:
    server.tenants.patch("bert", spec={"packages": "mail"})
    server.tenants.patch("gisa", metadata={"labels": None})
    snapshot = source.snapshot()
    assert names(snapshot) == ["anna", "cleo", "dora", "emil", "finn"]
    assert [one.name for one in snapshot.unreadable] == ["bert", "gisa"]


# What may be wrong before the list

WRONG_BEFORE = [
    *("401", "403", "404 as text", "410", "429 as text", "500", "503", "504 as text"),
    *("reset", "closed without an answer", "cut", "cut in a chunk", "silence", "silence in the middle"),
    *("no JSON", "no body", "a Status under 200"),
]


@pytest.mark.parametrize("path", BEFORE_THE_LIST)
@pytest.mark.parametrize("fault", WRONG_BEFORE)
def test_without_the_cluster_or_the_version_there_is_no_snapshot(
    server: ApiServer, kubeconfig: Path, path: str, fault: str
) -> None:
    server.fail(FAULTS[fault], on=to(path))
    message = failure(source_of(kubeconfig, read_timeout=0.2))
    assert ("kube-system" if path == KUBE_SYSTEM else "versions of pieced.ch") in message
    assert not lists(server)


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"{}", b'{"kind":"Namespace"}', b'{"kind":"Namespace","metadata":{"uid":""}}'),
        *(b'{"kind":"Namespace","metadata":[]}', b'{"kind":"Pod","metadata":{"uid":"a"}}'),
    ],
)
def test_a_cluster_without_a_uid_is_none(server: ApiServer, source: ClusterSource, body: bytes) -> None:
    server.fail(instead(body), on=to(KUBE_SYSTEM))
    assert "kube-system" in failure(source)


def test_a_right_that_is_missing_is_named(server: ApiServer, source: ClusterSource) -> None:
    server.fail(FAULTS["403"])
    assert "list on piecedtenants.pieced.ch" in failure(source)
    server.fail(FAULTS["403"], on=to(KUBE_SYSTEM))
    assert "get on namespaces, resourceNames [kube-system]" in failure(source)
    server.fail(FAULTS["403"], on=to(GROUP))
    assert "--api-version" in failure(source)


def test_a_crd_that_is_not_installed_is_told(server: ApiServer, source: ClusterSource) -> None:
    server.installed = False
    assert "the CRD is not installed" in failure(source)


# Whether managedFields can be believed


def believed(snapshot: Snapshot) -> bool:
    return any(tenant.evidence != NOTHING for tenant in snapshot.tenants)


@pytest.mark.parametrize(
    ("major", "minor", "expected"),
    [("1", "20", False), ("1", "24+", False), ("1", "25", True), ("1", "27+", True), ("2", "0", True)],
)
def test_managed_fields_are_believed_from_kubernetes_1_25_on(
    server: ApiServer, source: ClusterSource, major: str, minor: str, *, expected: bool
) -> None:
    server.fail(edited(lambda body: body | {"major": major, "minor": minor}), on=to(VERSION))
    assert believed(source.snapshot()) == expected


@pytest.mark.parametrize("fault", ["403", "410", "503", "reset", "no JSON", "a Status under 200"])
def test_of_a_server_that_does_not_tell_its_version_managed_fields_are_not_believed(
    server: ApiServer, source: ClusterSource, fault: str
) -> None:
    server.fail(FAULTS[fault], on=to(VERSION))
    snapshot = source.snapshot()
    assert names(snapshot) == [*SEVEN]
    assert not believed(snapshot)


# Patience


@pytest.mark.parametrize("path", [*BEFORE_THE_LIST, f"{GROUP}/v1alpha1/piecedtenants"])
@pytest.mark.parametrize("fault", ["silence", "silence in the middle"])
def test_silence_ends_within_the_read_timeout(
    server: ApiServer, kubeconfig: Path, path: str, fault: str
) -> None:
    server.fail(FAULTS[fault], on=to(path))
    started = time.monotonic()
    assert "--read-timeout" in failure(source_of(kubeconfig, read_timeout=0.2))
    assert 0.2 <= time.monotonic() - started < 5


def test_a_list_that_drips_ends_within_the_list_timeout(server: ApiServer, kubeconfig: Path) -> None:
    server.fail(FAULTS["drip"], on=2)
    started = time.monotonic()
    assert "--list-timeout" in failure(source_of(kubeconfig, read_timeout=0.3, list_timeout=0.4))
    assert 0.4 <= time.monotonic() - started < 5


def test_a_connection_that_nobody_takes_ends_within_the_connect_timeout(
    server: ApiServer, kubeconfig: Path
) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as deaf,
        closing(socket.create_connection(deaf.getsockname())),  # Now its queue is full.
    ):
        address = "http://{}:{}".format(*deaf.getsockname())
        kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
        started = time.monotonic()
        message = failure(source_of(kubeconfig, connect_timeout=0.2))
    assert address in message
    assert "--connect-timeout" in message
    assert 0.2 <= time.monotonic() - started < 5


# Times


@pytest.mark.parametrize("skew", [3600.0, -3600.0, 10.0, -10.0])
def test_a_snapshot_is_dated_by_the_servers_clock(
    server: ApiServer, source: ClusterSource, caplog: pytest.LogCaptureFixture, skew: float
) -> None:
    server.clock_skew = skew
    answered: list[datetime] = []

    def note(server: ApiServer, request: Request) -> Answer:
        answered.append(server.now())
        return server.answer(request)

    server.fail(note)
    server.tenants.create("hans", ["mail"])
    snapshot = source.snapshot()
    assert snapshot.asked_at <= answered[0] <= snapshot.observed_at
    assert snapshot.observed_at - snapshot.asked_at <= TWO_SECONDS
    assert "hans" in names(snapshot)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{-skew:+.0f} s off" in record.message or f"{-skew + 1:+.0f} s off" in record.message


@pytest.mark.parametrize("skew", [0.8, 0.0, -0.8])
def test_two_clocks_that_agree_to_two_seconds_leave_us_our_own(
    server: ApiServer, kubeconfig: Path, caplog: pytest.LogCaptureFixture, skew: float
) -> None:
    server.clock_skew = skew
    now = datetime.now(UTC)
    instants = [now, now + timedelta(milliseconds=7)]
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert [snapshot.asked_at, snapshot.observed_at] == instants
    assert not caplog.records


def dated(date: str | None) -> Fault:
    """The right answer with another Date, or with none."""

    def send(connection: Connection, head: bytes, payload: bytes) -> None:
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]
        if date is not None:
            lines.insert(1, f"Date: {date}".encode())
        connection.write(b"\r\n".join(lines) + payload)

    return sent(send)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 15:35:25 GMT", "0"])
def test_a_server_that_does_not_tell_the_time_leaves_us_our_own(
    server: ApiServer, kubeconfig: Path, date: str | None
) -> None:
    now = datetime.now(UTC)
    instants = [now, now + timedelta(milliseconds=7)]
    server.fail(dated(date))
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert [snapshot.asked_at, snapshot.observed_at] == instants


def test_an_answer_that_takes_long_to_arrive_is_no_difference_of_clocks(
    server: ApiServer, kubeconfig: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.clock_skew = -4  # The answer was dated when we asked, and has arrived four seconds later.
    now = datetime.now(UTC)
    instants = [now - timedelta(seconds=4), now]
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert [snapshot.asked_at, snapshot.observed_at] == instants
    assert not caplog.records


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_clock_that_is_set_while_we_wait_changes_nothing(kubeconfig: Path, step: float) -> None:
    now = datetime.now(UTC)
    instants = iter([now, now + timedelta(seconds=step)])
    snapshot = source_of(kubeconfig, instants.__next__).snapshot()
    assert snapshot.asked_at == now
    assert timedelta() <= snapshot.observed_at - now < timedelta(seconds=30)


# Which cluster, and as whom


class Odd(NamedTuple):
    """What is changed in a right kubeconfig, and what the message must contain."""

    change: Callable[[Json], object]
    names: str


def user(**fields: object) -> Callable[[Json], object]:
    return lambda config: config["users"][0].update(user=fields)


def cluster(**fields: object) -> Callable[[Json], object]:
    return lambda config: config["clusters"][0]["cluster"].update(
        {name.replace("_", "-"): value for name, value in fields.items()}
    )


ODD_KUBECONFIGS = {
    "it has no contexts": Odd(lambda config: config.pop("contexts"), "contexts"),
    "its contexts are null": Odd(lambda config: config.update(contexts=None), "contexts"),
    "it has no current context": Odd(lambda config: config.pop("current-context"), "current-context"),
    "its current context does not exist": Odd(
        lambda config: config.update({"current-context": "prod"}), "prod"
    ),
    "its cluster does not exist": Odd(
        lambda config: config["contexts"][0]["context"].update(cluster="prod"), "prod"
    ),
    "its server is a number": Odd(cluster(server=7), "kubeconfig"),
    "its CA is nowhere": Odd(cluster(certificate_authority="/no-such/ca.crt"), "/no-such/ca.crt"),
    "its CA is none": Odd(cluster(certificate_authority_data="aGVsbG8="), "certificate"),
    "its proxy is none": Odd(cluster(proxy_url="nonsense"), ""),
}


@pytest.mark.parametrize("odd", ODD_KUBECONFIGS.values(), ids=ODD_KUBECONFIGS)
def test_a_kubeconfig_that_names_no_cluster_is_told(kubeconfig: Path, odd: Odd) -> None:
    config = json.loads(kubeconfig.read_text().replace("http:", "https:"))
    odd.change(config)
    kubeconfig.write_text(json.dumps(config))
    assert odd.names in failure(source_of(kubeconfig), ReconcilerError)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"hello", b"{", b"a: [", b"\0", b"a: \xff"],
    ids=["empty", "a list", "a word", "cut JSON", "cut YAML", "a NUL", "no UTF-8"],
)
def test_a_kubeconfig_that_is_none_is_named(kubeconfig: Path, content: bytes) -> None:
    kubeconfig.write_bytes(content)
    message = failure(source_of(kubeconfig), UsageError)
    assert str(kubeconfig) in message
    assert "--kubeconfig" in message


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        message = failure(source_of(path), UsageError)
        assert str(path) in message
        assert "--kubeconfig" in message


def test_a_context_is_taken_from_those_of_the_kubeconfig(kubeconfig: Path) -> None:
    assert names(source_of(kubeconfig, context="test").snapshot()) == [*SEVEN]
    message = failure(source_of(kubeconfig, context="staging"), UsageError)
    assert "staging" in message
    assert str(kubeconfig) in message
    assert "--context" in message


def test_a_wrong_token_and_none_are_told_apart(server: ApiServer, tmp_path: Path) -> None:
    wrong = server.kubeconfig(tmp_path / "wrong", token="wrong")
    assert "renew the token" in failure(source_of(wrong))
    none = server.kubeconfig(tmp_path / "none")
    none.write_text(none.read_text().replace(f'"token": "{TOKEN}"', ""))
    assert "allow this account" in failure(source_of(none))


@pytest.mark.parametrize(
    "token",
    [f"{TOKEN}\n", f"{TOKEN}\r\n", f"a\n{TOKEN}", f"{TOKEN}\0", f"{TOKEN}…", f"\ud83d\ude00{TOKEN}"],
    ids=["newline", "CR LF", "two lines", "NUL", "ellipsis", "emoji"],
)
def test_a_token_that_cannot_be_sent_is_told_without_it(kubeconfig: Path, token: str) -> None:
    config = json.loads(kubeconfig.read_text())
    user(token=token)(config)
    kubeconfig.write_text(json.dumps(config))
    assert failure(source_of(kubeconfig), ReconcilerError)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://no-such-host.invalid", "cannot be resolved"),
        ("http://127.0.0.1:99999", "99999"),
        ("ftp://127.0.0.1", "ftp"),
    ],
)
def test_a_server_that_is_not_there_is_named(
    server: ApiServer, kubeconfig: Path, address: str, says: str
) -> None:
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
    message = failure(source_of(kubeconfig))
    assert address in message
    assert says in message


def test_a_password_in_the_servers_address_is_not_told(server: ApiServer, kubeconfig: Path) -> None:
    address = server.url.replace("//", f"//me:{TOKEN}@")
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
    server.fail(FAULTS["503"])
    assert server.url in failure(source_of(kubeconfig))


# Inside a cluster


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself; its key is beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    files = ["-out", str(folder / "ca.crt"), "-keyout", str(folder / "tls.key")]
    alias = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *request.split(), *alias, *files], check=True, capture_output=True)
    return folder / "ca.crt"


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[ApiServer]:
    """The server as the pods of its cluster reach it."""
    server = ApiServer(token=TOKEN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("tls.key"))
    server._listener.socket = context.wrap_socket(server._listener.socket, server_side=True)
    with server:
        server.tenants.create("anna", ["mail"])
        yield server
        check_requests(server)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the kubelet puts the account of a pod; nothing is there yet."""
    for file in ("TOKEN", "CERT"):
        name = {"TOKEN": "token", "CERT": "ca.crt"}[file]
        constant = f"kubernetes.config.incluster_config.SERVICE_{file}_FILENAME"
        monkeypatch.setattr(constant, str(tmp_path / name))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    return tmp_path


def test_inside_a_cluster_it_is_the_pods_account_that_asks(
    tls_server: ApiServer, account: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", tls_server.url.rpartition(":")[2])
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes(certificate.read_bytes())
    tls_server.token = None
    assert names(source_of(None).snapshot()) == ["anna"]
    sent_by = {request.headers["authorization"].casefold() for request in tls_server.requests}
    assert sent_by == {f"bearer {TOKEN}"}


def test_a_server_that_the_cluster_did_not_certify_learns_nothing(
    tls_server: ApiServer, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", tls_server.url.rpartition(":")[2])
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
    assert "certificate verify failed" in failure(source_of(None))
    assert not tls_server.requests


def test_an_account_that_is_not_mounted_is_told(account: Path) -> None:
    message = failure(source_of(None), UsageError)
    assert "in-cluster" in message
    assert "token" in message
    (account / "token").write_text(TOKEN)
    assert "certification file" in failure(source_of(None), UsageError)


@pytest.mark.usefixtures("account")
def test_inside_a_cluster_a_kubeconfig_that_is_given_wins(kubeconfig: Path) -> None:
    assert names(source_of(kubeconfig).snapshot()) == [*SEVEN]


# Recorded lists


def recorded(name: str) -> Json:
    response: Json = json.loads((RECORDINGS / name).read_bytes())["response"]
    return response


def replayed(tmp_path: Path, *files: str, group: str = "pieced.ch", **settings: Any) -> Snapshot:
    """The snapshot of a server that answers as was recorded in these files."""
    with ApiServer(group=group, token=TOKEN) as server:
        for file in files:
            server.replay(file)
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        snapshot = gathered(source_of(kubeconfig, dialect=Dialect(group=group), **settings))
        pages = [file for file in files if "list" in file or "page" in file or "removed" in file]
        assert len(lists(server)) == len(pages)
        return snapshot


def check_as_one_list(snapshot: Snapshot, file: str, group: str = "pieced.ch") -> None:
    """It says what the same list says that was recorded in one piece."""
    dialect, body = Dialect(group=group), recorded(file)["body"]
    page = read_page(json.dumps(body).encode(), dialect)
    assert (snapshot.tenants, snapshot.unreadable) == read_tenants(
        page.items, snapshot.observed_at, dialect
    )
    assert snapshot.resource_version == body["metadata"]["resourceVersion"]


SEVEN_BY_THREE = [f"list/seven-limit-3-page-{number}.json" for number in (1, 2, 3)]


def test_seven_recorded_tenants_by_threes(tmp_path: Path) -> None:
    snapshot = replayed(tmp_path, *SEVEN_BY_THREE)
    check_as_one_list(snapshot, "list/seven.json")
    assert [
        (tenant.name, tenant.skills, tenant.suspended, tenant.deleted_at is not None)
        for tenant in snapshot.tenants
    ] == [
        ("aare-fresh", ("threema", "vault"), False, False),
        ("brig-two-managers", ("calendar", "mail", "search"), False, False),
        ("chur-suspended", ("mail",), True, False),
        ("davos-resumed", ("chat", "wiki"), False, False),
        ("emme-empty", (), False, False),
        ("flims-deleting", ("crm",), False, True),
    ]
    assert [one.name for one in snapshot.unreadable] == ["genf-no-org"]


def test_a_recorded_list_is_dated_by_its_first_page(tmp_path: Path) -> None:
    files = [json.loads((RECORDINGS / name).read_bytes()) for name in SEVEN_BY_THREE]
    dates = ["Sat, 01 Nov 2025 15:00:00 GMT", "Sat, 01 Nov 2025 15:01:00 GMT"]
    for exchange, date in zip(files[1:], dates, strict=True):
        exchange["response"]["headers"]["Date"] = date
    with ApiServer() as server:
        for exchange in files:
            server.replay(exchange)
        snapshot = source_of(server.kubeconfig(tmp_path / "kubeconfig")).snapshot()
    assert instant("2026-11-22T15:35:25Z") <= snapshot.observed_at <= instant("2026-11-22T15:35:27Z")


def test_pages_recorded_while_tenants_changed_are_one_state(tmp_path: Path) -> None:
    pages = [f"list/changing-limit-3-page-{number}.json" for number in (1, 2, 3)]
    snapshot = replayed(tmp_path, *pages)
    everyone = sorted([*names(snapshot), *(one.name or "" for one in snapshot.unreadable)])
    assert everyone == sorted(
        item["metadata"]["name"] for item in recorded("list/seven.json")["body"]["items"]
    )


def test_a_list_of_kubernetes_1_20_reads_as_one_of_today_without_its_managed_fields(
    tmp_path: Path,
) -> None:
    pages = [f"v1.20/seven-limit-3-page-{number}.json" for number in (1, 2, 3)]
    old = replayed(tmp_path, "v1.20/version.json", *pages)
    new = replayed(tmp_path, *SEVEN_BY_THREE)
    assert [(one.name, one.org, one.skills) for one in old.tenants] == [
        (one.name, one.org, one.skills) for one in new.tenants
    ]
    assert (believed(old), believed(new)) == (False, True)


@pytest.mark.parametrize(
    "files",
    [
        ["crd-variants/namespaced--list-all.json"],
        [f"crd-variants/namespaced--list-all-limit-1-page-{number}.json" for number in (1, 2, 3)],
    ],
    ids=["at once", "one by one"],
)
def test_namespaced_tenants_are_named_with_their_namespace(tmp_path: Path, files: Sequence[str]) -> None:
    group = "namespaced.pieced.ch"
    snapshot = replayed(tmp_path, *files, group=group)
    check_as_one_list(snapshot, "crd-variants/namespaced--list-all.json", group)
    assert names(snapshot) == ["customer-a/only-a", "customer-a/shared-name", "customer-b/shared-name"]


def test_malformed_tenants_in_four_pages_read_as_in_one(tmp_path: Path) -> None:
    pages = [f"malformed/list-limit-25-page-{number}.json" for number in (1, 2, 3, 4)]
    snapshot = replayed(tmp_path, *pages, page_size=25)
    check_as_one_list(snapshot, "malformed/list.json")
    assert snapshot.tenants
    assert snapshot.unreadable


def test_a_crd_on_its_way_out_is_an_empty_snapshot(tmp_path: Path) -> None:
    """It is the brake that keeps it from deleting everybody."""
    snapshot = replayed(tmp_path, "crd-variants/removed--6-terminating-empty.json")
    assert (snapshot.size, snapshot.resource_version) == (0, "482")


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
def test_the_version_is_the_servers_choice_unless_it_is_set(tmp_path: Path, version: str) -> None:
    group, tenants = (
        "crd-variants/two-versions--group.json",
        f"crd-variants/two-versions--list-{version}.json",
    )
    snapshot = replayed(tmp_path, group, tenants, version=None if version == "v1beta1" else version)
    assert names(snapshot) == ["new", "old"]


def test_a_version_that_is_no_longer_served_is_told(server: ApiServer, kubeconfig: Path) -> None:
    server.replay("crd-variants/two-versions--v1alpha1-not-served-404.json")
    message = failure(source_of(kubeconfig, version="v1alpha1"))
    assert "404" in message
    assert "this version of it is not served" in message
