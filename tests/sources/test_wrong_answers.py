"""Whatever is wrong with an answer: no snapshot, and a message that says what to do."""

import gzip
import re
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.sources.cluster import ClusterSource
from tests.apiserver import FAULTS, Answer, ApiServer, instead
from tests.sources.source import (
    BEFORE_THE_LIST,
    GROUP,
    KUBE_SYSTEM,
    SEVEN,
    failure,
    lists,
    names,
    source_of,
    to,
)

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
    failure(source_of(kubeconfig, read_timeout=0.2))
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
    [
        *(b"no gzip", b"", COMPRESSED[:-20], COMPRESSED[:20] + b"\xff" * 20 + COMPRESSED[40:]),
        *(COMPRESSED + gzip.compress(b"{}"), COMPRESSED + b"more", COMPRESSED[:-4] + b"\1\0\0\0"),
    ],
    ids=["no gzip", "empty", "cut", "overwritten", "two", "more behind it", "of another size"],
)
def test_a_page_whose_gzip_is_damaged_is_no_page(
    server: ApiServer, source: ClusterSource, body: bytes
) -> None:
    server.fail(lambda *_: Answer(headers=GZIP, body=body), on=2)
    assert failure(source)


@pytest.mark.parametrize("body", [b"", b"forbidden"])
def test_a_refusal_under_a_gzip_that_is_none_is_told_as_one(
    server: ApiServer, source: ClusterSource, body: bytes
) -> None:
    server.fail(lambda *_: Answer(status=403, headers=GZIP, body=body), on=2)
    assert "403" in failure(source)


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


# Patience


@pytest.mark.parametrize("path", [*BEFORE_THE_LIST, f"{GROUP}/v1alpha1/piecedtenants"])
@pytest.mark.parametrize("fault", ["silence", "silence in the middle"])
def test_silence_ends_within_the_read_timeout(
    server: ApiServer, kubeconfig: Path, path: str, fault: str
) -> None:
    server.fail(FAULTS[fault], on=to(path))
    started = time.monotonic()
    assert "--read-timeout" in failure(source_of(kubeconfig, read_timeout=0.2))
    assert time.monotonic() - started >= 0.2


def test_a_list_that_drips_ends_within_the_list_timeout(server: ApiServer, kubeconfig: Path) -> None:
    server.fail(FAULTS["drip"], on=2)
    started = time.monotonic()
    assert "--list-timeout" in failure(source_of(kubeconfig, read_timeout=0.3, list_timeout=0.4))
    assert time.monotonic() - started >= 0.4


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
    assert time.monotonic() - started >= 0.2
