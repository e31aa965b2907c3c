"""The fake API server lists, page by page, what the recordings of the real one say."""

import json

import pytest
from kubernetes import client

from tests.apiserver import ApiServer
from tests.apiserver.lists import (
    ORG,
    at,
    failure,
    get,
    names,
    page,
    pages,
    recorded_body,
    write_the_seven,
)


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
