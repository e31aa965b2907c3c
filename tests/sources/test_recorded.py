"""Lists that real API servers answered with, replayed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.reading import Dialect, read_page, read_tenants
from reconciler.core.rfc3339 import instant
from reconciler.core.tenant import Snapshot
from tests.apiserver import RECORDINGS, ApiServer, Json
from tests.sources.source import TOKEN, believed, failure, gathered, lists, names, source_of


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
