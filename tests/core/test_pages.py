"""What is a page of the list of tenants, and what is none."""

import json

import pytest

from reconciler.core.reading import Dialect, NotTheList, read_page, read_tenants
from tests.conftest import RECORDINGS
from tests.core.resources import TENANTS, S, listed, read_list, recorded, recorded_list, resource


@pytest.mark.parametrize("kubectl", [False, True])
def test_a_page_tells_its_resource_version_and_the_next_pages_token(*, kubectl: bool) -> None:
    first = read_page(recorded_list("malformed/list-limit-25-page-1"), TENANTS, kubectl=kubectl)
    assert (len(first.items), first.resource_version) == (25, "715")
    assert first.continue_token
    last = read_page(recorded_list("malformed/list-limit-25-page-4"), TENANTS, kubectl=kubectl)
    assert (last.resource_version, last.continue_token) == ("715", "")
    empty = read_page(recorded_list("list/empty"), TENANTS, kubectl=kubectl)
    assert (list(empty.items), empty.continue_token) == ([], "")


def stdout(case: str) -> bytes:
    """What kubectl printed in that case."""
    rows = {row["name"]: row["stdout"] for row in recorded("kubectl/failures")["rows"]}
    printed: str = rows[case]
    return printed.encode()


def kubectl_printed(name: str) -> bytes:
    return (RECORDINGS / "kubectl" / f"{name}.json").read_bytes()


NO_PAGES = {
    "a table": recorded_list("list/seven-as-table"),
    "metadata only": recorded_list("list/seven-as-partial-metadata"),
    "a Status": recorded_list("errors/list-forbidden-403"),
    "another group's": recorded_list("crd-variants/namespaced--list-all"),
    "text": recorded("errors/crd-missing-404")["response"]["body"].encode(),
    "one tenant": kubectl_printed("kubectl-get-one"),
    "another resource": listed().replace(b"PiecedTenantList", b"PiecedTenantBackupList"),
    "a group whose name begins alike": listed().replace(b"pieced.ch/", b"pieced.ch.example/"),
    "a list without items": b'{"apiVersion": "pieced.ch/v1alpha1", "kind": "PiecedTenantList"}',
    "items that are null": listed().replace(b"[]", b"null"),
    "items that are an object": listed().replace(b"[]", b"{}"),
    "nothing": b"",
    "white space": b" \n",
    "half of it": recorded_list("list/seven")[:-100],
    "two of them": listed() + listed(),
    **{repr(odd): odd for odd in [b"{}", b"[]", b"null", b"7", b'"List"', b"true", b"{", b"\xff"]},
}


@pytest.mark.parametrize("kubectl", [False, True], ids=["from the server", "from kubectl"])
@pytest.mark.parametrize("body", NO_PAGES.values(), ids=NO_PAGES)
def test_what_is_no_list_of_tenants_is_no_page(body: bytes, *, kubectl: bool) -> None:
    with pytest.raises(NotTheList, match=r"."):
        read_page(body, TENANTS, kubectl=kubectl)


@pytest.mark.parametrize(
    "name", ["kubectl-get", "kubectl-get-show-managed-fields", "kubectl-get-selector-none"]
)
def test_a_list_of_kubectl_is_a_page_only_where_kubectl_is_expected(name: str) -> None:
    body = kubectl_printed(name)
    page = read_page(body, TENANTS, kubectl=True)
    assert len(page.items) == len(json.loads(body)["items"])
    assert (page.resource_version, page.continue_token) == ("", "")
    with pytest.raises(NotTheList, match='kind "List", apiVersion "v1" is not PiecedTenantList'):
        read_page(body, TENANTS)


def test_a_list_with_another_kind_in_it_is_not_the_tenants_list() -> None:
    with pytest.raises(NotTheList, match="Namespace"):
        read_list(stdout("two-resources"), kubectl=True)


def test_a_list_of_another_groups_tenants_is_not_the_tenants_list() -> None:
    with pytest.raises(NotTheList, match=r"namespaced\.pieced\.ch"):
        read_list(kubectl_printed("kubectl-get-namespaced-all"), kubectl=True)


@pytest.mark.parametrize("kind", [7, True, [], {}, ["PiecedTenant"], ""])
def test_an_item_of_no_kind_that_there_is_is_not_the_tenants_list(kind: object) -> None:
    with pytest.raises(NotTheList):
        read_list(listed({**resource(), "kind": kind}))


def test_group_kind_and_label_are_settings() -> None:
    other = Dialect(group="example.org", kind="Customer", org_label="example.org/payer")
    body = listed(resource(metadata={"labels": {"example.org/payer": "org-2"}}))
    body = body.replace(b"pieced.ch", b"example.org").replace(b"PiecedTenant", b"Customer")
    tenants, odd = read_tenants(read_page(body, other).items, S, other)
    assert ([one.org for one in tenants], odd) == (["org-2"], [])
    with pytest.raises(NotTheList):
        read_page(body, TENANTS)
