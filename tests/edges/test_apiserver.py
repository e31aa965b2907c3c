"""The fake API server against the recordings of the real one, through the real client."""

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from tests.apiserver import (
    FAULTS,
    RECORDINGS,
    ApiServer,
    Json,
    drip,
    edited,
    instead,
    merged,
    recorded,
    sent,
)

DAY = datetime(2026, 11, 22, 15, 35, tzinfo=UTC)
ORG = "32081547090000000"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def kubernetes(server: ApiServer, tmp_path: Path) -> Iterator[client.ApiClient]:
    with client_of(server, tmp_path) as kubernetes:
        yield kubernetes


def client_of(server: ApiServer, folder: Path, *, token: str | None = None) -> client.ApiClient:
    """The real client; it asks once and says what came of it."""
    configuration = client.Configuration()
    configuration.retries = False
    file = server.kubeconfig(folder / "kubeconfig", "prod", token=token)
    config.load_kube_config(str(file), "prod", configuration)  # type: ignore[no-untyped-call]
    return client.ApiClient(configuration)


def response(
    kubernetes: client.ApiClient, query: Mapping[str, object] = MappingProxyType({}), seconds: float = 3
) -> urllib3.HTTPResponse:
    """The answer to a list, not yet read."""
    answer = client.CustomObjectsApi(kubernetes).list_cluster_custom_object(
        "pieced.ch",
        "v1alpha1",
        "piecedtenants",
        _preload_content=False,
        _request_timeout=(seconds, seconds),
        **cast("dict[str, Any]", query),
    )
    return cast("urllib3.HTTPResponse", answer)


def page(kubernetes: client.ApiClient, **query: object) -> Json:
    """The body of a list."""
    body: Json = json.loads(response(kubernetes, query).data)
    return body


def failure(kubernetes: client.ApiClient, **query: object) -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers of an answer to a list that is no success."""
    with pytest.raises(ApiException) as error:
        page(kubernetes, **query)
    status, body, headers = error.value.status, error.value.body, error.value.headers
    assert status is not None
    assert body is not None
    return status, body, headers or {}


def pages(kubernetes: client.ApiClient, limit: int) -> Iterator[Json]:
    token = ""
    while True:
        body = page(kubernetes, limit=limit, **({"_continue": token} if token else {}))
        yield body
        if not (token := body["metadata"]["continue"]):
            return


def names(body: Json) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def get(
    server: ApiServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=3)
    ) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def recorded_response(name: str) -> Json:
    answer: Json = json.loads((RECORDINGS / name).read_bytes())["response"]
    return answer


def recorded_body(name: str) -> Json:
    body: Json = recorded_response(name)["body"]
    return body


def at(seconds: int) -> datetime:
    return DAY + timedelta(seconds=seconds)


def write_the_seven(server: ApiServer) -> None:
    """The writes that led to `list/seven`, at the same times and resourceVersions."""
    tenants = server.tenants
    tenants.revision = 218
    uids = {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for item in recorded_body("list/seven.json")["items"]
    }
    for name, packages, suspend, org, more in (
        ("aare-fresh", ["threema", "vault"], False, ORG + "1", {}),
        ("brig-two-managers", ["mail", "search"], False, ORG + "1", {}),
        ("chur-suspended", ["mail"], False, ORG + "2", {}),
        ("davos-resumed", ["wiki", "chat"], False, ORG + "3", {}),
        ("emme-empty", None, None, ORG + "4", {}),
        ("flims-deleting", ["crm"], False, ORG + "5", {"finalizers": ["pieced.ch/cleanup"]}),
        ("genf-no-org", ["mail", "calendar", "files", "office"], False, None, {}),
    ):
        tenants.create(
            name, packages, suspend=suspend, org=org, uid=uids[name], created=at(16), metadata=more
        )
    packages = ["mail", "search", "calendar"]
    tenants.patch("brig-two-managers", spec={"packages": packages}, manager="gitops", at=at(18))
    tenants.patch("chur-suspended", spec={"suspend": True}, at=at(18))
    stamp = {"suspendedAt": "2026-11-22T15:35:19Z"}
    tenants.patch("chur-suspended", status=stamp, manager="operator", at=at(19))
    tenants.patch("davos-resumed", spec={"suspend": True}, at=at(20))
    stamp = {"suspendedAt": "2026-11-22T15:35:21Z"}
    tenants.patch("davos-resumed", status=stamp, manager="operator", at=at(21))
    tenants.revision = 231
    tenants.patch("davos-resumed", spec={"suspend": False}, at=at(23))
    tenants.revision = 233
    tenants.delete("flims-deleting", at=at(24))


# Lists


def test_no_tenant_is_an_empty_list_with_an_empty_token(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    server.tenants.revision = 218
    assert page(kubernetes) == page(kubernetes, limit=500) == recorded_body("list/empty.json")


def test_the_same_writes_read_as_recorded(server: ApiServer, kubernetes: client.ApiClient) -> None:
    write_the_seven(server)
    assert (
        page(kubernetes)
        == page(kubernetes, limit=7)
        == page(kubernetes, limit=-1)
        == recorded_body("list/seven.json")
    )


def test_seven_tenants_by_three_are_the_three_recorded_pages(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    write_the_seven(server)
    assert list(pages(kubernetes, limit=3)) == [
        recorded_body(f"list/seven-limit-3-page-{number}.json") for number in (1, 2, 3)
    ]


def test_pages_are_one_state_and_an_inconsistent_token_mixes_two(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    write_the_seven(server)
    tenants = server.tenants
    tenants.revision = 257
    first = page(kubernetes, limit=3)
    assert first == recorded_body("list/changing-limit-3-page-1.json")

    tenants.delete("genf-no-org")
    tenants.patch("emme-empty", spec={"packages": ["mail"]}, at=at(37))
    uid = "ecfee61f-712c-4bdc-bc15-51bbed1a903b"
    tenants.create("emme-new", ["wiki"], org=ORG + "9", uid=uid, created=at(37))
    second = page(kubernetes, limit=3, _continue=first["metadata"]["continue"])
    third = page(kubernetes, limit=3, _continue=second["metadata"]["continue"])
    assert second == recorded_body("list/changing-limit-3-page-2.json")
    assert third == recorded_body("list/changing-limit-3-page-3.json")
    assert page(kubernetes) == recorded_body("list/changing-afterwards.json")

    tenants.create("brig-later", ["mail"])
    tenants.revision = 281
    tenants.expire_tokens()
    status, body, _ = failure(kubernetes, limit=3, _continue=first["metadata"]["continue"])
    assert (status, json.loads(body)) == (410, recorded_body("errors/continue-expired-410.json"))

    token = json.loads(body)["metadata"]["continue"]
    second = page(kubernetes, limit=3, _continue=token)
    third = page(kubernetes, limit=3, _continue=second["metadata"]["continue"])
    assert second == recorded_body("errors/continue-inconsistent-page-2.json")
    assert third == recorded_body("errors/continue-inconsistent-page-3.json")


def test_a_token_without_a_limit_reads_all_the_rest(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    write_the_seven(server)
    server.tenants.revision = 236
    token = page(kubernetes, limit=3)["metadata"]["continue"]
    assert page(kubernetes, _continue=token) == recorded_body("list/seven-continue-without-limit.json")


def test_resource_version_0_ignores_the_limit(server: ApiServer, kubernetes: client.ApiClient) -> None:
    write_the_seven(server)
    expected = recorded_body("list/seven-resource-version-0-limit-3.json")
    assert page(kubernetes, resource_version="0", limit=3) == expected


def test_what_it_does_not_know_is_not_passed_over_in_silence(server: ApiServer) -> None:
    for query in ("labelSelector=a", "watch=true&labelSelector=a", "resourceVersion=7"):
        assert get(server, f"{server.list_path}?{query}")[0] == 501


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=many", "errors/limit-not-a-number-400.json"),
        ("limit=3&continue=garbage", "errors/continue-garbage-400.json"),
    ],
)
def test_a_bad_query_is_400(server: ApiServer, query: str, name: str) -> None:
    status, _, body = get(server, f"{server.list_path}?{query}")
    assert (status, json.loads(body)) == (400, recorded_body(name))


def test_namespaced_tenants_are_ordered_by_namespace_and_name() -> None:
    folder = "crd-variants/namespaced--"
    everything = recorded_body(f"{folder}list-all.json")
    with ApiServer(group="namespaced.pieced.ch", namespaced=True) as server:
        for item in sorted(
            everything["items"], key=lambda item: str(item["metadata"]["resourceVersion"])
        ):
            server.tenants.revision = int(item["metadata"]["resourceVersion"]) - 1
            server.tenants.put_object(item)

        path = server.list_path
        assert json.loads(get(server, path)[2]) == everything
        token = ""
        for number in (1, 2, 3):
            body = json.loads(get(server, f"{path}?limit=1&continue={token}")[2])
            assert body == recorded_body(f"{folder}list-all-limit-1-page-{number}.json")
            token = body["metadata"]["continue"]
        within = path.replace("/piecedtenants", "/namespaces/customer-b/piecedtenants")
        assert json.loads(get(server, within)[2]) == recorded_body(f"{folder}list-one.json")
        missing = path.replace("/piecedtenants", "/namespaces/no-such/piecedtenants")
        assert json.loads(get(server, missing)[2]) == recorded_body(
            f"{folder}list-missing-namespace.json"
        )
        resources = json.loads(get(server, "/apis/namespaced.pieced.ch/v1alpha1")[2])
        expected = recorded_body(f"{folder}resources.json")
        for body in (resources, expected):
            del body["resources"][0]["storageVersionHash"]  # It is of the group's name.
        assert resources == expected


def test_an_etcd_restored_from_backup_goes_backwards(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    server.tenants.revision = 1449
    for name in ("kauz", "luchs", "marder"):
        server.tenants.create(name, ["mail"], uid=f"uid-of-{name}")
    before = page(kubernetes)
    server.tenants.delete("marder")
    server.tenants.create("puma", ["mail"])
    server.tenants.revision = 1517
    token = page(kubernetes, limit=2)["metadata"]["continue"]

    server.tenants.restore(1452)

    assert page(kubernetes) == before
    status, body, _ = failure(kubernetes, limit=2, _continue=token)
    assert (status, json.loads(body)) == (504, recorded_body("restored-from-backup/3-continue-504.json"))
    server.tenants.delete("marder")
    assert names(page(kubernetes)) == ["kauz", "luchs"]


# Writes


def test_a_tenant_with_a_finalizer_stays_until_that_is_gone(server: ApiServer) -> None:
    tenants = server.tenants
    tenants.create("cleo", ["mail"], metadata={"finalizers": ["pieced.ch/cleanup"]})
    tenants.delete("cleo", at=at(24))
    tenants.delete("cleo", at=at(30))
    tenants.patch("cleo", spec={"packages": []})
    deleting = tenants.current["cleo"]
    assert deleting["metadata"]["deletionTimestamp"] == "2026-11-22T15:35:24Z"
    assert (deleting["metadata"]["generation"], deleting["spec"]) == (3, {"packages": []})

    tenants.patch("cleo", metadata={"finalizers": None})
    assert not tenants.current
    assert [(event.kind, event.revision) for event in tenants.log] == [
        ("ADDED", 2),
        ("MODIFIED", 3),
        ("MODIFIED", 4),
        ("DELETED", 5),
    ]
    assert tenants.log[-1].resource["metadata"]["finalizers"] == ["pieced.ch/cleanup"]


def test_the_log_keeps_every_state(server: ApiServer) -> None:
    tenants = server.tenants
    tenants.create("anna", ["mail"])
    tenants.patch("anna", spec={"suspend": True, "packages": ["wiki"]})
    tenants.delete("anna")
    states = [tenants.at(revision) for revision in (1, 2, 3, 4)]
    assert [state.get("anna", {}).get("spec") for state in states] == [
        None,
        {"packages": ["mail"]},
        {"packages": ["wiki"], "suspend": True},
        None,
    ]


def test_a_field_that_is_taken_away_leaves_no_time(server: ApiServer) -> None:
    server.tenants.create("anna", ["mail"], suspend=True, created=at(0))
    (entry,) = server.tenants.patch("anna", spec={"suspend": None}, at=at(9))["metadata"][
        "managedFields"
    ]
    assert entry["fieldsV1"]["f:spec"] == {".": {}, "f:packages": {}}
    assert entry["time"] == "2026-11-22T15:35:00Z"


def test_a_name_is_taken_until_its_tenant_is_gone(server: ApiServer) -> None:
    first = server.tenants.create("anna", ["mail"])
    with pytest.raises(KeyError, match="anna"):
        server.tenants.create("anna", ["mail"])
    server.tenants.delete("anna")
    assert server.tenants.create("anna", ["mail"])["metadata"]["uid"] != first["metadata"]["uid"]


def test_a_write_that_changes_nothing_is_none(server: ApiServer) -> None:
    before = server.tenants.create("anna", ["mail"])
    assert server.tenants.patch("anna", spec={"packages": ["mail"]}, manager="flux") == before
    assert len(server.tenants.log) == 1


def test_any_object_is_stored_as_it_is(server: ApiServer, kubernetes: client.ApiClient) -> None:
    odd = {"kind": "Other", "metadata": {"name": 7, "uid": None}, "spec": {"packages": {"mail": None}}}
    server.tenants.put_object(odd)
    assert page(kubernetes)["items"] == [
        merged(odd, {"metadata": {"resourceVersion": "2"}}) | {"spec": odd["spec"]}
    ]


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
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=3)
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


# Faults


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("401", "errors/bad-token-401.json"),
        ("403", "errors/list-forbidden-403.json"),
        ("404 as text", "errors/crd-missing-404.json"),
        ("406", "errors/accept-html-406.json"),
        ("410", "errors/continue-expired-410.json"),
        ("429 as text", "errors/overload-429.json"),
        ("429 while storage initializes", "errors/storage-initializing-429.json"),
        ("500", "watch/resource-version-not-a-number-500.json"),
        ("503", "errors/starting-list-admin-503.json"),
        ("504 as text", "errors/etcd-stands-still-list-504.json"),
    ],
)
def test_a_failure_is_answered_as_recorded(
    server: ApiServer, kubernetes: client.ApiClient, fault: str, name: str
) -> None:
    server.fail(FAULTS[fault])
    status, body, headers = failure(kubernetes)
    expected = recorded_response(name)
    assert status == expected["status"]
    assert (body if isinstance(expected["body"], str) else json.loads(body)) == expected["body"]
    for header in ("Content-Type", "Retry-After"):
        assert headers.get(header) == expected["headers"].get(header)
    assert abs(parsedate_to_datetime(headers["Date"]) - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("reset", ProtocolError, "ConnectionResetError"),
        ("closed without an answer", ProtocolError, "RemoteDisconnected"),
        ("cut", ProtocolError, r"IncompleteRead\(2514 bytes read, 2513 more expected\)"),
        ("cut by its last byte", ProtocolError, r"IncompleteRead\(5026 bytes read, 1 more expected\)"),
        ("cut in a chunk", ProtocolError, "IncompleteRead"),
        ("cut by its last chunk", ProtocolError, r"IncompleteRead\(5027 bytes read\)"),
        ("silence", ReadTimeoutError, "timed out"),
        ("silence in the middle", ReadTimeoutError, "timed out"),
    ],
)
def test_the_connection_fails(
    server: ApiServer, kubernetes: client.ApiClient, fault: str, error: type[HTTPError], message: str
) -> None:
    write_the_seven(server)
    server.fail(FAULTS[fault])
    with pytest.raises(error, match=message):
        _ = response(kubernetes, seconds=0.2).data
    assert len(page(kubernetes)["items"]) == 7


def test_a_drip_never_lets_a_read_time_out(server: ApiServer, kubernetes: client.ApiClient) -> None:
    server.fail(sent(drip(0.002)))
    started = time.monotonic()
    body = response(kubernetes, seconds=0.1).data
    assert json.loads(body)["items"] == []
    assert time.monotonic() - started >= 0.002 * len(body) > 0.2


@pytest.mark.parametrize("fault", ["silence", "silence in the middle", "drip"])
def test_a_server_with_a_hanging_client_closes_at_once(fault: str) -> None:
    with (
        ApiServer() as server,
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as idle,
    ):
        server.fail(FAULTS[fault])
        idle.sendall(f"GET {server.list_path} HTTP/1.1\r\n\r\n".encode())
        while not server.requests:
            time.sleep(0.001)
        started = time.monotonic()
        server.__exit__()
        assert time.monotonic() - started < 0.5


def test_a_200_that_is_no_list_is_as_recorded(server: ApiServer, kubernetes: client.ApiClient) -> None:
    write_the_seven(server)
    for fault in ("a Table", "metadata only", "a Status under 200", "no JSON", "no body"):
        server.fail(FAULTS[fault])
    table, metadata_only, status = page(kubernetes), page(kubernetes), page(kubernetes)
    expected = recorded_body("list/seven-as-partial-metadata.json")
    assert by_name(metadata_only["items"]) == by_name(expected.pop("items"))
    assert {key: value for key, value in metadata_only.items() if key != "items"} == expected
    assert table == recorded_body("list/seven-as-table.json")
    assert status == recorded_body("errors/starting-list-admin-503.json")
    with pytest.raises(json.JSONDecodeError):
        page(kubernetes)
    assert response(kubernetes).data == b""


def by_name(items: list[Json]) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in items}


def test_a_page_can_be_wrong_in_itself(server: ApiServer, kubernetes: client.ApiClient) -> None:
    write_the_seven(server)
    token = page(kubernetes, limit=3)["metadata"]["continue"]
    server.tenants.create("aarau", ["mail"])
    right = page(kubernetes, limit=3, _continue=token)
    for fault in ("page 1 again", "another resourceVersion", "a uid twice"):
        server.fail(FAULTS[fault])
    again, elsewhere, twice = (page(kubernetes, limit=3, _continue=token) for _ in range(3))
    assert again == recorded_body("list/seven-limit-3-page-1.json")
    assert elsewhere == merged(right, {"metadata": {"resourceVersion": "235"}})
    uids = [item["metadata"]["uid"] for item in twice["items"]]
    assert (len(uids), len(set(uids)), len(set(names(twice)))) == (4, 3, 4)


def test_a_fault_strikes_where_and_as_often_as_it_is_told(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    def statuses(count: int) -> list[int]:
        return [get(server, server.list_path)[0] for _ in range(count)]

    server.fail(FAULTS["503"], on=2)
    assert get(server, "/version")[0] == 200
    assert statuses(3) == [200, 503, 200]

    server.fail(FAULTS["500"], on=3, forever=True)
    assert statuses(4) == [200, 200, 500, 500]
    server.heal()

    server.fail(FAULTS["403"], on=lambda request: request.path.startswith("/api/"))
    assert statuses(2) == [200, 200]
    assert [get(server, "/api/v1/namespaces/kube-system")[0] for _ in range(2)] == [403, 200]

    server.fail(recorded("errors/overload-429.json"))
    server.fail(instead(b"[]", status=202))
    server.fail(edited(lambda body: body | {"kind": "Other"}))
    assert statuses(2) == [429, 202]
    assert page(kubernetes)["kind"] == "Other"
