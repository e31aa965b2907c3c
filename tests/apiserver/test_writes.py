"""Writes to the fake API server leave what they leave in a real one."""

import pytest
from kubernetes import client

from tests.apiserver import ApiServer, merged
from tests.apiserver.lists import at, page


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
