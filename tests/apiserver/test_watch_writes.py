"""Applies that share a field, writes by many threads, and how soon a watch tells of them."""

import threading

import pytest

from tests.apiserver import ApiServer, Conflict
from tests.apiserver.watches import LABEL, ORG, Open, at, recording


def test_applies_take_a_share_as_recorded(server: ApiServer) -> None:
    tenants = server.tenants
    one = recording("tenants/two-managers--3-same-value-by-portal.json")["response"]["body"]
    after = recording("tenants/two-managers--4-same-value-applied-by-flux.json")["response"]["body"]
    tenants.put_object(one)
    name = one["metadata"]["name"]
    packages = one["spec"]["packages"]
    shared = tenants.apply(name, spec={"packages": packages})
    assert shared["metadata"]["managedFields"] == after["metadata"]["managedFields"]
    with pytest.raises(Conflict):
        tenants.apply(name, spec={"packages": ["crm"]})
    again = tenants.apply(name, spec={"packages": packages})
    assert again == shared


def test_what_an_applier_leaves_out_is_taken_away(server: ApiServer) -> None:
    tenants = server.tenants
    created = tenants.apply("anna", manager="gitops", at=at(0), spec={"packages": ["mail"]})
    assert [entry["operation"] for entry in created["metadata"]["managedFields"]] == ["Apply"]
    left = tenants.apply("anna", manager="gitops", at=at(9), metadata={"labels": {LABEL: f"{ORG}1"}})
    assert left["spec"] == {}
    (entry,) = left["metadata"]["managedFields"]
    assert entry["time"] == "2026-11-22T15:37:09Z"
    assert entry["fieldsV1"] == {"f:metadata": {"f:labels": {f"f:{LABEL}": {}}}}


def test_many_threads_write_and_every_write_is_told_once_and_in_order(
    server: ApiServer, watch: Open
) -> None:
    tenants = server.tenants
    stream = watch()
    written: list[int] = []

    def write(thread: int) -> None:
        for number in range(100):
            name = f"tenant-{thread}-{number % 10}"
            one = (
                tenants.patch(name, spec={"packages": [str(number)]})
                if name in tenants.current
                else tenants.create(name, ["mail"])
            )
            written.append(int(one["metadata"]["resourceVersion"]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [int(event["object"]["metadata"]["resourceVersion"]) for event in stream.until(400)]
    assert told == sorted(written)


def test_a_change_is_delivered_before_another_is_made(server: ApiServer, watch: Open) -> None:
    stream = watch()
    for number in range(100):
        server.tenants.create(f"tenant-{number:03}", ["mail"])
        assert len(stream.until(number + 1)) == number + 1
