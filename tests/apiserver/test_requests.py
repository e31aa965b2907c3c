"""Discovery, permissions and the wire, as the real server answers; and replays of what it answered."""

import gzip
import http.client
import json
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from kubernetes import client

from tests.apiserver import RECORDINGS, ApiServer, merged
from tests.apiserver.lists import (
    client_of,
    failure,
    get,
    names,
    page,
    pages,
    recorded_body,
    recorded_response,
    response,
)
from tests.waiting import PATIENCE

# Discovery, permissions, and the wire


def test_discovery_is_as_recorded(server: ApiServer) -> None:
    for name in ("group", "resources", "kube-system-namespace", "version"):
        path = json.loads((RECORDINGS / f"discovery/{name}.json").read_bytes())["request"]["path"]
        assert json.loads(get(server, path)[2]) == recorded_body(f"discovery/{name}.json")
    server.cluster_uid = "another"
    body = json.loads(get(server, "/api/v1/namespaces/kube-system")[2])
    expected = merged(
        recorded_body("discovery/kube-system-namespace.json"), {"metadata": {"uid": "another"}}
    )
    assert body == expected


def test_of_two_versions_the_first_is_preferred() -> None:
    with ApiServer(versions=("v1beta1", "v1alpha1")) as server:
        server.tenants.create("anna", ["mail"])
        body = json.loads(get(server, "/apis/pieced.ch")[2])
        assert body == recorded_body("crd-variants/two-versions--group.json")
        for version in server.versions:
            body = json.loads(get(server, f"/apis/pieced.ch/{version}/piecedtenants")[2])
            assert body["apiVersion"] == body["items"][0]["apiVersion"] == f"pieced.ch/{version}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "discovery/group-crd-missing-404.json"),
        ("/v1alpha1", "discovery/version-crd-missing-404.json"),
        ("/v1alpha1/piecedtenants", "errors/crd-missing-404.json"),
    ],
)
def test_without_the_crd_there_is_a_404_that_is_text(server: ApiServer, path: str, name: str) -> None:
    server.installed = False
    status, headers, body = get(server, f"/apis/pieced.ch{path}")
    assert (status, body.decode()) == (404, recorded_response(name)["body"])
    assert headers["Content-Type"] == recorded_response(name)["headers"]["Content-Type"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/apis/pieced.ch/v1alpha1/piecedtenants"),
        ("PATCH", "/apis/pieced.ch/v1alpha1/piecedtenants/anna"),
        ("DELETE", "/apis/pieced.ch/v1alpha1/piecedtenants/anna"),
        ("GET", "/apis/pieced.ch/v1alpha1/piecedtenants/anna"),
        ("GET", "/apis/pieced.ch/v1alpha1/piecedtenantz"),
        ("GET", "/api/v1/namespaces"),
        ("GET", "/api/v1/namespaces/default"),
    ],
)
def test_nothing_but_the_role_is_allowed(server: ApiServer, method: str, path: str) -> None:
    status, _, body = get(server, path, method)
    assert status == 403
    assert json.loads(body)["reason"] == "Forbidden"


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    with ApiServer(token="right") as server:
        with client_of(server, tmp_path) as kubernetes:
            assert page(kubernetes)["items"] == []
        assert server.requests[-1].headers["authorization"] == "Bearer right"
        with client_of(server, tmp_path, token="wrong") as kubernetes:
            status, text, _ = failure(kubernetes)
        assert (status, json.loads(text)) == (401, recorded_body("errors/bad-token-401.json"))
        status, _, body = get(server, server.list_path)
        assert (status, json.loads(body)) == (403, recorded_body("errors/no-token-403.json"))


def test_requests_are_kept_as_they_came(server: ApiServer, kubernetes: client.ApiClient) -> None:
    page(kubernetes, limit=500)
    (request,) = server.requests
    assert (request.method, request.path, request.query) == ("GET", server.list_path, {"limit": "500"})
    assert "application/json" in request.headers["accept"]


def test_one_connection_serves_many_requests(server: ApiServer) -> None:
    with closing(
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    ) as connection:
        connection.request("POST", server.list_path, body=b"{}")
        assert connection.getresponse().read()
        kept = connection.sock
        for _ in range(3):
            connection.request("GET", server.list_path)
            assert connection.getresponse().read()
        assert connection.sock is kept


def test_a_body_is_compressed_when_asked_for_and_large(server: ApiServer) -> None:
    server.tenants.create("anna", ["mail"])
    assert get(server, server.list_path, **{"Accept-Encoding": "gzip"})[1]["Content-Encoding"] is None
    for number in range(250):
        server.tenants.create(f"tenant-{number:03}", ["mail"])
    _, headers, plain = get(server, server.list_path)
    assert headers["Content-Encoding"] is None
    assert len(plain) > 128 * 1024
    _, headers, body = get(server, server.list_path, **{"Accept-Encoding": "deflate, gzip"})
    assert gzip.decompress(body) == plain
    expected = recorded_response("list/large-accept-encoding-gzip.json")["headers"]
    for name in ("Content-Encoding", "Vary", "Transfer-Encoding", "Content-Type"):
        assert headers[name] == expected[name]


def test_the_servers_clock_can_be_wrong(server: ApiServer) -> None:
    for skew in (0, -90.0, 3600.0):
        server.clock_skew = skew
        date = parsedate_to_datetime(get(server, "/version")[1]["Date"])
        assert abs((date - datetime.now(UTC)).total_seconds() - skew) < 2
    created = server.tenants.create("anna", [])["metadata"]["creationTimestamp"]
    assert (datetime.fromisoformat(created) - datetime.now(UTC)).total_seconds() > 3590


def test_a_closed_server_refuses_connections(tmp_path: Path) -> None:
    with ApiServer() as server:
        path = server.kubeconfig(tmp_path / "kubeconfig")
        assert json.loads(path.read_text())["clusters"][0]["cluster"]["server"] == server.url
    with pytest.raises(ConnectionRefusedError):
        get(server, "/version")


# Replays


def test_recorded_exchanges_are_answered_again_with_their_date(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    for number in (1, 2, 3):
        server.replay(f"list/seven-limit-3-page-{number}.json")
    assert [item for body in pages(kubernetes, limit=500) for item in names(body)] == names(
        recorded_body("list/seven.json")
    )
    server.replay(RECORDINGS / "v1.20/version.json")
    _, headers, body = get(server, "/version")
    assert json.loads(body) == recorded_body("v1.20/version.json")
    assert headers["Date"] == recorded_response("v1.20/version.json")["headers"]["Date"]
    server.heal()
    assert page(kubernetes)["items"] == []


def test_the_list_can_be_any_body(server: ApiServer, kubernetes: client.ApiClient) -> None:
    body = {"kind": "List", "items": [None, {"metadata": {"name": "\ud7ff\u0000"}}]}
    server.serve_list(body)
    assert page(kubernetes) == body
    server.serve_list(b"\xff\xfe")
    assert response(kubernetes).data == b"\xff\xfe"
