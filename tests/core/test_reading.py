"""A resource is read into a tenant, or quarantined alone, by name and field."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.evidence import NOTHING
from reconciler.core.reading import Dialect, read_page, read_tenants
from reconciler.core.tenant import Tenant, Unreadable
from tests.core.resources import ORG, S, listed, read, read_list, recorded_list, resource


def test_a_tenant_is_read() -> None:
    found = read(
        metadata={"deletionTimestamp": "2026-11-22T15:30:00Z"},
        spec={"packages": ["wiki", "mail", "wiki"], "suspend": True},
        status={"suspendedAt": "2026-11-22T16:20:00.5+01:00"},
    )
    assert isinstance(found, Tenant)
    assert replace(found, evidence=NOTHING) == Tenant(
        uid="A",
        name="aare",
        org="org-1",
        created_at=datetime(2026, 11, 22, 15, tzinfo=UTC),
        skills=("mail", "wiki"),
        suspended=True,
        suspended_at=datetime(2026, 11, 22, 15, 20, 0, 500_000, tzinfo=UTC),
        deleted_at=datetime(2026, 11, 22, 15, 30, tzinfo=UTC),
    )


EARLY = "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("changes", "skills", "suspended"),
    [
        ({"spec": {"packages": []}}, (), False),
        ({"spec": {"packages": None}}, (), False),
        ({"spec": {"packages": ...}}, (), False),
        ({"spec": None}, (), False),
        ({"spec": {"packages": ["b", "a", "b"]}}, ("a", "b"), False),
        ({"spec": {"packages": ["a", "A", " a", " "]}}, (" ", " a", "A", "a"), False),
        ({"spec": {"packages": ["\U0001f98a", "\uffee", "e\u0301", "\u00e9"]}}, None, False),
        ({"spec": {"suspend": True}}, ("mail",), True),
        ({"spec": {"suspend": False}}, ("mail",), False),
        # spec.suspend decides; where it says nothing, whether there is a time
        ({"spec": {"suspend": False}, "status": {"suspendedAt": EARLY}}, ("mail",), False),
        ({"spec": {"suspend": None}, "status": {"suspendedAt": EARLY}}, ("mail",), True),
        ({"status": {"suspendedAt": EARLY}}, ("mail",), True),
        ({"status": {"suspendedAt": None}}, ("mail",), False),
        ({"status": None}, ("mail",), False),
        ({"spec": {"suspend": True}, "status": None}, ("mail",), True),
        # Evidence is never an error
        ({"metadata": {"managedFields": "odd"}}, ("mail",), False),
        ({"metadata": {"managedFields": [{"time": 7, "fieldsV1": []}, None]}}, ("mail",), False),
    ],
)
def test_skills_and_suspension(
    changes: dict[str, Any],
    skills: tuple[str, ...] | None,
    *,
    suspended: bool,
) -> None:
    found = read(**changes)
    assert isinstance(found, Tenant)
    assert found.skills == (tuple(sorted(changes["spec"]["packages"])) if skills is None else skills)
    assert found.suspended is suspended


def each(field: str, *values: Any, said: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The field that the reason should name, and the change that puts one of the values there."""
    part, _, key = field.partition(".")
    return [(said or field, {part: {key: value} if key else value}) for value in values]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        *each("metadata", "aare", 7, 1.5, True, ["aare"], None),
        *each("metadata.uid", ..., None, "", 7, ["A"], "A\0", "A" * 129),
        *each("metadata.name", ..., None, "", 7, {}, "a\0", "a" * 254),
        *each("metadata.namespace", "", 7, [], "a\0", "a" * 64),
        *each(
            "metadata.creationTimestamp", ..., None, "", "yesterday", 1767225600, "2026-11-22T15:00:00"
        ),
        *each("metadata.deletionTimestamp", "", "soon", 0, False, [], "2026-11-22T15:00:00Z\0"),
        *each("metadata.labels", "org-1", 7, [], True),
        *each("metadata.labels", ..., None, {}, {"other": "org-1"}, said=f"metadata.labels[{ORG}]"),
        *each(
            "metadata.labels",
            *({ORG: value} for value in ["", None, 7, ["org-1"], "org\0", "1" * 64]),
            said=f"metadata.labels[{ORG}]",
        ),
        *each("spec", "mail", ["mail"], 0, False),
        *each("spec.packages", "mail", "", 7, 1.5, False, {}, {"mail": True}),
        *each(
            "spec.packages",
            *(["mail", value] for value in ["", None, 7, 1.5, True, ["wiki"], {"name": "wiki"}, "\0"]),
            said="spec.packages[1]",
        ),
        *each("spec.suspend", "yes", "true", "false", "", 0, 1, 1.5, [], {}),
        *each("status", "suspended", ["suspended"], 7, True),
        *each("status.suspendedAt", "", "yesterday", 1767225600, True, [], {}, "2026-11-22T15:00:00Z\0"),
        # Whether or not spec.suspend decides
        *(
            (field, {**change, "spec": {"suspend": suspend}})
            for field, change in each("status.suspendedAt", "yesterday")
            for suspend in (True, False, None)
        ),
    ],
)
def test_anything_else_quarantines_the_tenant_naming_the_field(
    field: str, changes: dict[str, Any]
) -> None:
    found = read(**changes)
    assert isinstance(found, Unreadable)
    assert found.reason.partition(": ")[0] == field
    assert found.reason.isprintable()
    names_itself = not field.startswith(("metadata.name", "metadata.uid")) and field != "metadata"
    if names_itself:
        assert (found.uid, found.name) == ("A", "aare")


@pytest.mark.parametrize(
    ("metadata", "uid", "name"),
    [
        ({"uid": 7}, None, "aare"),
        ({"uid": ""}, None, "aare"),
        ({"uid": 7, "namespace": "prod"}, None, "prod/aare"),
        ({"name": 7}, "A", None),
        ({"name": "a\0"}, "A", None),
        ({"namespace": 7}, "A", None),
        ({"uid": 7, "name": 7}, None, None),
        ({"uid": 7, "namespace": ""}, None, None),
    ],
)
def test_a_quarantined_tenant_tells_as_much_of_itself_as_can_be_read(
    metadata: dict[str, Any], uid: str | None, name: str | None
) -> None:
    found = read(metadata=metadata)
    assert isinstance(found, Unreadable)
    assert (found.uid, found.name) == (uid, name)


@pytest.mark.parametrize("odd", [b"null", b"7", b'"aare"', b"[]", b"{}", b'{"metadata": null}'])
def test_what_is_no_resource_at_all_is_quarantined_as_nobody(odd: bytes) -> None:
    (found,) = read_list(listed(resource(), odd))[1]
    assert (found.uid, found.name) == (None, None)


@pytest.mark.parametrize(
    ("after", "is_readable"),
    [
        (timedelta(seconds=-1), True),
        (timedelta(), True),
        (timedelta(seconds=5), True),
        (timedelta(seconds=5, microseconds=1), False),
        (timedelta(days=1), False),
    ],
)
def test_a_creation_more_than_five_seconds_after_the_snapshot_is_unreadable(
    after: timedelta,
    *,
    is_readable: bool,
) -> None:
    found = read(metadata={"creationTimestamp": (S + after).isoformat()})
    if is_readable:
        assert isinstance(found, Tenant)
    else:
        assert isinstance(found, Unreadable)
        assert found.reason.startswith("metadata.creationTimestamp: ")


def test_of_a_namespaced_tenant_the_name_has_its_namespace() -> None:
    page = recorded_list("crd-variants/namespaced--list-all")
    namespaced = Dialect(group="namespaced.pieced.ch")
    tenants, odd = read_tenants(read_page(page, namespaced).items, S, namespaced)
    assert odd == []
    expected = {
        (item["metadata"]["uid"], f"{item['metadata']['namespace']}/{item['metadata']['name']}")
        for item in json.loads(page)["items"]
    }
    assert {(one.uid, one.name) for one in tenants} == expected
    names = [one.name.partition("/")[2] for one in tenants]
    assert len(set(names)) < len(names)
