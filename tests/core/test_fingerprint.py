"""What a fingerprint covers, what it does not, and what has none."""

import json
from typing import Any

import pytest
from msgspec.structs import fields

from reconciler.core import fingerprint, reading
from reconciler.core.fingerprint import LENGTH, is_ahead
from reconciler.core.reading import Dialect, read_page
from tests.conftest import RECORDINGS
from tests.core.resources import ORG, TENANTS, S, listed, resource


def of(dialect: Dialect = TENANTS, **changes: Any) -> bytes | None:
    return dialect.printer.item(json.dumps(resource(**changes)).encode())


WHAT_COUNTS: list[dict[str, Any]] = [
    {"metadata": {"uid": "B"}},
    {"metadata": {"name": "reuss"}},
    {"metadata": {"namespace": "a"}},
    {"metadata": {"creationTimestamp": "2026-11-22T15:00:01Z"}},
    {"metadata": {"deletionTimestamp": "2026-11-22T15:30:00Z"}},
    {"metadata": {"labels": {ORG: "org-2"}}},
    {"metadata": {"labels": {}}},
    {"metadata": {"labels": ...}},
    {"spec": {"packages": ["mail", "wiki"]}},
    {"spec": {"packages": []}},
    {"spec": {"packages": ...}},
    {"spec": {"suspend": True}},
    {"spec": {"suspend": False}},
    {"status": {"suspendedAt": "2026-11-22T15:30:00Z"}},
]


@pytest.mark.parametrize("changes", WHAT_COUNTS, ids=str)
def test_what_counts_changes_it(changes: dict[str, Any]) -> None:
    assert of(**changes) not in (None, of())


def test_no_two_changes_have_the_same_fingerprint() -> None:
    found = [of(), *(of(**changes) for changes in WHAT_COUNTS)]
    # No labels and no label of the org are the same: nobody pays.
    assert len(set(found)) == len(found) - 1
    assert {len(one or b"") for one in found} == {LENGTH}


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"resourceVersion": "8", "generation": 3}},
        {"metadata": {"managedFields": []}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"labels": {ORG: "org-1", "team": "x"}}},
        {"spec": {"contact": "a@b.ch"}},
        {"status": {"heartbeat": "2026-11-22T15:30:00Z", "conditions": [{"type": "Ready"}]}},
        {"status": None},
    ],
    ids=str,
)
def test_what_does_not_count_leaves_it(changes: dict[str, Any]) -> None:
    assert of(**changes) == of()


@pytest.mark.parametrize(
    "dialect",
    [Dialect(org_label="team"), Dialect(kind="Tenant"), Dialect(group="example.org")],
    ids=str,
)
def test_another_reader_has_other_fingerprints(dialect: Dialect) -> None:
    both: dict[str, Any] = {"metadata": {"labels": {ORG: "org-1", "team": "org-1"}}}
    assert of(dialect, **both) not in (None, of(**both))


def test_it_covers_every_field_that_a_tenant_is_read_from_but_the_evidence() -> None:
    """Whoever reads another field has to add it here, or passes would not see it change."""

    def names(kind: Any) -> set[str]:
        return {one.encode_name for one in fields(kind)}

    item = TENANTS.printer.item_type
    (metadata,) = (one.type for one in fields(item) if one.name == "metadata")
    assert names(item) == names(reading._Resource)
    assert names(metadata) == names(reading._Metadata) - {"managedFields"}
    assert names(fingerprint._Spec) == names(reading._Spec)
    assert names(fingerprint._Status) == names(reading._Status)


def test_values_do_not_run_into_each_other() -> None:
    assert of(metadata={"name": "ab", "namespace": "c"}) != of(metadata={"name": "a", "namespace": "bc"})


@pytest.mark.parametrize(
    "odd", [b"null", b'"x"', b"[]", json.dumps(resource(metadata=[])).encode()], ids=repr
)
def test_what_is_no_resource_has_none_and_the_others_of_its_page_keep_theirs(odd: bytes) -> None:
    assert TENANTS.printer.item(odd) is None
    body = listed(resource(), odd)
    assert TENANTS.printer.page(body) is None
    ours = of()
    assert ours is not None
    page = read_page(body, TENANTS, known=frozenset({ours}))
    assert (page.unchanged, page.fingerprints, page.size) == ([ours], [None], 2)


def test_a_page_without_news_is_not_split() -> None:
    body = listed(resource(), resource(metadata={"uid": "B", "name": "reuss"}))
    read = read_page(body, TENANTS, known=frozenset())
    assert len(read.items) == 2
    assert read.unchanged == []
    known = frozenset(one for one in read.fingerprints if one is not None)
    again = read_page(body, TENANTS, known=known)
    assert not again.items
    assert set(again.unchanged) == known
    assert again.resource_version == read.resource_version == "7"
    assert again.newest == b'"2026-11-22T15:00:00Z"'


def test_a_creation_after_the_snapshot_has_to_be_read() -> None:
    assert not is_ahead(b"", S)
    assert not is_ahead(b'"2026-11-22T16:00:00Z"', S)
    assert is_ahead(b'"2026-11-22T17:00:00Z"', S)


def test_a_default_of_the_crd_changes_it_under_the_same_resource_version() -> None:
    """What a real API server answered before and after a default was added to the CRD."""
    folder = RECORDINGS / "crd-variants"
    before, after = (
        json.loads((folder / f"default-added--{which}.json").read_bytes())["response"]["body"]
        for which in ("1-before", "2-after")
    )
    versions = [
        [one["metadata"]["resourceVersion"] for one in page["items"]] for page in (before, after)
    ]
    assert versions[0] == versions[1]
    read = read_page(json.dumps(before).encode(), TENANTS, known=frozenset())
    known = frozenset(one for one in read.fingerprints if one is not None)
    assert len(known) == len(before["items"])
    changed = [
        one["metadata"]["name"]
        for one, other in zip(before["items"], after["items"], strict=True)
        if one.get("spec") != other.get("spec")
    ]
    again = read_page(json.dumps(after).encode(), TENANTS, known=known)
    assert [json.loads(bytes(item))["metadata"]["name"] for item in again.items] == changed
    assert changed
