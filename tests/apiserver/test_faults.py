"""The faults that the fake API server is told to make, through the real client."""

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from kubernetes import client
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from tests.apiserver import FAULTS, ApiServer, drip, edited, instead, meanwhile, merged, recorded, sent
from tests.apiserver.lists import (
    by_name,
    failure,
    get,
    names,
    page,
    recorded_body,
    recorded_response,
    response,
    write_the_seven,
)


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
        server.__exit__()  # It would wait for ever.


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


def test_a_list_can_take_its_time_while_tenants_change(
    server: ApiServer, kubernetes: client.ApiClient
) -> None:
    server.tenants.create("anna", ["mail"])
    server.fail(meanwhile(lambda: server.tenants.create("bert", ["mail"])))
    before = page(kubernetes)
    assert names(before) == ["anna"]
    assert int(before["metadata"]["resourceVersion"]) == server.tenants.revision - 1
    assert names(page(kubernetes)) == ["anna", "bert"]
