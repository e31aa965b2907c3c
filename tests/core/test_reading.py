"""One malformed resource is quarantined alone, by name and field; what is no list of tenants is none."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.evidence import NOTHING
from reconciler.core.reading import Dialect, NotTheList, read_page, read_tenant, read_tenants
from reconciler.core.rfc3339 import instant
from reconciler.core.tenant import Tenant, Unreadable
from tests.conftest import RECORDINGS

TENANTS = Dialect()
S = datetime(2026, 11, 22, 16, tzinfo=UTC)
ORG = TENANTS.org_label


def resource(**changes: Any) -> dict[str, Any]:
    """A tenant with that metadata, spec or status; `...` leaves a key out."""
    parts: dict[str, Any] = {
        "metadata": {
            "name": "aare",
            "uid": "A",
            "creationTimestamp": "2026-11-22T15:00:00Z",
            "labels": {ORG: "org-1"},
            "managedFields": [
                {
                    "manager": "portal",
                    "time": "2026-11-22T15:00:00Z",
                    "fieldsV1": {"f:spec": {"f:packages": {}}},
                }
            ],
        },
        "spec": {"packages": ["mail"]},
        "status": {},
    }
    for part, change in changes.items():
        merged = {**parts[part], **change} if isinstance(change, dict) else change
        parts[part] = (
            {key: value for key, value in merged.items() if value is not ...}
            if isinstance(merged, dict)
            else merged
        )
    return {"apiVersion": "pieced.ch/v1alpha1", "kind": "PiecedTenant", **parts}


def read(**changes: Any) -> Tenant | Unreadable:
    return read_tenant(json.dumps(resource(**changes)).encode(), S, TENANTS)


def listed(*items: dict[str, Any] | bytes, kind: str = "PiecedTenantList") -> bytes:
    """A page with these items, of which some are written by hand."""
    api = "v1" if kind == "List" else "pieced.ch/v1alpha1"
    texts = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    head = json.dumps({"apiVersion": api, "kind": kind, "metadata": {"resourceVersion": "7"}})
    return head.encode()[:-1] + b', "items": [' + b", ".join(texts) + b"]}"


def read_list(body: bytes, *, kubectl: bool = False) -> tuple[list[Tenant], list[Unreadable]]:
    return read_tenants(read_page(body, TENANTS, kubectl=kubectl).items, S, TENANTS)


# --- What the fields say ---


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


# --- RFC 3339 ---

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ACCEPTED = {
    "2026-01-01T00:00:00Z": NEW_YEAR,
    "2026-01-01t00:00:00z": NEW_YEAR,
    "2026-01-01T00:00:00.000Z": NEW_YEAR,
    "2026-01-01T00:00:00-00:00": NEW_YEAR,
    "2026-01-01T00:00:00+01:00": datetime(2025, 12, 31, 23, tzinfo=UTC),
    "2026-01-01T00:00:00+14:00": datetime(2025, 12, 31, 10, tzinfo=UTC),
    "2026-01-01T00:00:00+23:59": datetime(2025, 12, 31, 0, 1, tzinfo=UTC),
    "2026-01-01T00:00:00-23:59": datetime(2026, 1, 1, 23, 59, tzinfo=UTC),
    "2026-01-01T00:00:00.1Z": NEW_YEAR + timedelta(microseconds=100_000),
    # Cut to the microsecond, not rounded
    "2026-01-01T00:00:00.123456789Z": NEW_YEAR + timedelta(microseconds=123_456),
    "2026-01-01T00:00:00.1234567890123456789Z": NEW_YEAR + timedelta(microseconds=123_456),
    "2026-01-01T00:00:00.9999999Z": NEW_YEAR + timedelta(microseconds=999_999),
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59Z": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "2028-02-29T12:00:00Z": datetime(2028, 2, 29, 12, tzinfo=UTC),
}
LET_IN_BY_THE_SERVER = {
    "0000-01-01T00:00:00Z",  # no such year
    "2026-01-01T00:00:00,5Z",  # a comma
    "2026-01-01T00:00:00+99:99",  # no such offset
}
REFUSED = {
    *LET_IN_BY_THE_SERVER,
    *("", " ", "now", "yesterday", "1767225600", "2026-01-01", "20260101T000000Z"),
    *("2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T00:00Z", "2026-1-1T0:0:0Z"),
    *("2026-01-01T24:00:00Z", "2026-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z"),
    *("2026-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T00:60:00Z"),
    *("2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+01", "2026-01-01T00:00:00.Z"),
    *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60"),
    *("2026-W01-1T00:00:00Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z"),
    *(" 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "2026-01-01T00:00:00ZZ"),
    *("2026-01-01T00:00:00Z\n", "2026-01-01T00:00:00Z\0", "2026-01-01T00:00:00 Z"),
    # Digits of another script
    "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
    # Inside the calendar where they are, outside it in UTC
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
}


@pytest.mark.parametrize(("text", "expected"), ACCEPTED.items())
def test_an_rfc_3339_time_is_an_instant_in_utc(text: str, expected: datetime) -> None:
    assert instant(text) == expected
    assert instant(text).tzinfo is UTC


@pytest.mark.parametrize("text", sorted(REFUSED))
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is all there is to say
        instant(text)


def test_every_text_that_the_server_was_asked_to_store_as_a_time_is_judged() -> None:
    rows = recorded("tenants/suspended-at-accepted-by-format-date-time")["rows"]
    stored = {row["written"] for row in rows if row["status"] == 200}
    refused = {row["written"] for row in rows if row["status"] == 422}
    assert stored <= ACCEPTED.keys() | LET_IN_BY_THE_SERVER
    assert refused <= REFUSED
    assert stored.isdisjoint(REFUSED - LET_IN_BY_THE_SERVER)


# --- The recorded tenants without a schema ---

MALFORMED = {
    *("packages-string", "packages-string-with-commas", "packages-empty-string", "packages-number"),
    *("packages-false", "packages-object", "packages-object-empty", "packages-with-number"),
    *("packages-with-float", "packages-with-null", "packages-with-empty", "packages-with-true"),
    *("packages-nested", "packages-of-objects", "packages-nul"),
    *("suspend-yes", "suspend-true-text", "suspend-false-text", "suspend-empty-text", "suspend-one"),
    *("suspend-zero", "suspend-list", "suspend-object", "suspend-float"),
    *("spec-string", "spec-list", "spec-number", "status-string", "status-list"),
    *("suspended-at-yesterday", "suspended-at-number", "suspended-at-empty", "suspended-at-no-zone"),
    *("suspended-at-date-only", "suspended-at-offset-no-colon", "suspended-at-comma"),
    *("suspended-at-space", "suspended-at-year-zero", "suspended-at-leap-second"),
    *("suspended-at-february-30", "suspended-at-offset-99", "suspended-at-list", "suspended-at-object"),
    *("suspended-at-true", "suspended-at-nul", "suspended-at-bad-not-suspended"),
    *("suspended-at-bad-suspend-missing", "no-org", "org-empty", "zz-deleting-malformed"),
}
SUSPENDED_BY_STATUS = {"suspended-by-status-alone"}
STORED_OTHERWISE: dict[str, dict[str, Any]] = {
    # The server itself replaces what is no Unicode, and takes the last of two keys.
    "zz-lone-surrogate": {"packages": ["a\ufffdb", "mail"]},
    "zz-bad-utf8": {"packages": ["a\ufffd(b", "mail"]},
    "zz-double-key": {"packages": ["wiki"], "suspend": False},
}


def recorded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_bytes())
    return content


def recorded_list(name: str) -> bytes:
    return json.dumps(recorded(name)["response"]["body"], ensure_ascii=False).encode()


LISTS = {
    "list": [recorded_list("malformed/list")],
    "pages": [recorded_list(f"malformed/list-limit-25-page-{number}") for number in range(1, 5)],
    "kubectl": [(RECORDINGS / "malformed/kubectl-get.json").read_bytes()],
}


@pytest.mark.parametrize("bodies", LISTS.values(), ids=LISTS)
def test_of_the_recorded_tenants_exactly_the_malformed_are_quarantined(bodies: Sequence[bytes]) -> None:
    read_ones = [read_list(body, kubectl=True) for body in bodies]
    tenants = {one.name: one for found, _ in read_ones for one in found}
    odd = {one.name for _, found in read_ones for one in found}
    assert odd == MALFORMED
    stored = {row["tenant"]: row for row in recorded("malformed/sent")["rows"] if row["status"] == 201}
    assert tenants.keys() == stored.keys() - MALFORMED
    for name, tenant in tenants.items():
        spec: dict[str, Any] = STORED_OTHERWISE.get(name) or stored[name]["sent"].get("spec") or {}
        assert set(tenant.skills) == set(spec.get("packages") or ())
        assert len(tenant.skills) == len(set(tenant.skills))
        assert tenant.suspended is (spec.get("suspend") or False or name in SUSPENDED_BY_STATUS)
        assert tenant.deleted_at is None


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("suspended-at-offset", datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        ("suspended-at-fraction", NEW_YEAR + timedelta(microseconds=123_456)),
        ("suspended-at-lower-case", NEW_YEAR),
        ("suspended-at-future", datetime(2099, 1, 1, tzinfo=UTC)),
        ("suspended-at-year-one", datetime(1, 1, 1, tzinfo=UTC)),
        ("suspended-at-before-creation", datetime(2020, 2, 29, 12, tzinfo=UTC)),
        ("suspended-at-null", None),
        ("status-null", None),
    ],
)
def test_the_time_of_a_suspension_is_read_however_odd(name: str, at: datetime | None) -> None:
    (found,) = (one for one in read_list(*LISTS["list"])[0] if one.name == name)
    assert (found.suspended, found.suspended_at) == (True, at)


# --- Text that is no text ---

GOOD, ODD = resource(), resource(metadata={"uid": "B", "name": "birs"})


def odd_with(packages: bytes, *, uid: bytes = b"B", name: bytes = b"birs") -> bytes:
    text = json.dumps(ODD).encode().replace(b'"B"', b'"' + uid + b'"')
    return text.replace(b'"birs"', b'"' + name + b'"').replace(b'["mail"]', b"[" + packages + b"]")


HALF_A_PAIR, NO_UTF_8, TOO_BIG = rb'"a\ud800b"', b'"a\xc3(b"', b"1e400"
DEEP = b"[" * 9_000 + b"]" * 9_000


@pytest.mark.parametrize(
    "packages",
    [HALF_A_PAIR, NO_UTF_8, TOO_BIG, DEEP, rb'"a\u0000b"', b"NaN"],
    ids=["half a surrogate pair", "no UTF-8", "too big a number", "9,000 deep", "NUL", "NaN"],
)
def test_what_cannot_even_be_decoded_quarantines_that_tenant_alone(packages: bytes) -> None:
    tenants, odd = read_list(listed(GOOD, odd_with(packages)))
    assert [one.name for one in tenants] == ["aare"]
    assert [(one.uid, one.name) for one in odd] == [("B", "birs")]


@pytest.mark.parametrize(
    "packages",
    [HALF_A_PAIR, NO_UTF_8, TOO_BIG, DEEP],
    ids=["half a surrogate pair", "no UTF-8", "too big a number", "9,000 deep"],
)
def test_what_cannot_even_be_decoded_is_reported_by_its_field(packages: bytes) -> None:
    (_, (odd,)) = read_list(listed(GOOD, odd_with(packages)))
    assert "spec.packages[0]" in odd.reason


def test_each_of_several_that_cannot_be_decoded_is_quarantined() -> None:
    several = [
        odd_with(packages, uid=b"U%d" % number, name=b"t%d" % number)
        for number, packages in enumerate([HALF_A_PAIR, NO_UTF_8, TOO_BIG, DEEP])
    ]
    tenants, odd = read_list(listed(several[0], GOOD, *several[1:]))
    assert [one.name for one in odd] == ["t0", "t1", "t2", "t3"]
    assert [one.name for one in tenants] == ["aare"]


@pytest.mark.parametrize("text", [rb"\ud800", b"\xff"], ids=["half a surrogate pair", "no UTF-8"])
def test_a_uid_or_a_name_that_is_no_text_is_not_taken_for_one(text: bytes) -> None:
    _, (no_uid,) = read_list(listed(GOOD, odd_with(b'"mail"', uid=text)))
    assert (no_uid.uid, no_uid.name) == (None, "birs")
    _, (no_name,) = read_list(listed(GOOD, odd_with(b'"mail"', name=text)))
    assert (no_name.uid, no_name.name) == ("B", None)


@pytest.mark.parametrize(
    "deep", [b'"mail"], "extra": [' + DEEP, b'"mail"], "suspend": null, "x": [' + DEEP]
)
def test_a_field_that_is_not_read_may_hold_anything(deep: bytes) -> None:
    tenants, odd = read_list(listed(GOOD, odd_with(deep)))
    assert ([one.name for one in tenants], odd) == (["aare", "birs"], [])


@pytest.mark.parametrize("where", ["metadata", "spec", "status"])
def test_something_deep_in_place_of_an_object_quarantines_that_tenant_alone(where: str) -> None:
    key = json.dumps(where).encode()
    deep = json.dumps(ODD).encode()[:-1] + b", " + key + b": " + DEEP + b"}"
    tenants, (odd,) = read_list(listed(GOOD, deep))
    assert [one.name for one in tenants] == ["aare"]
    assert odd.reason.startswith(f"{where}: ")


def test_a_megabyte_is_a_skill_and_no_name() -> None:
    long = "x" * 1_000_000
    tenants, odd = read_list(
        listed(
            resource(spec={"packages": [long, "mail"]}),
            *(resource(metadata={"uid": key, "name": key, key: long}) for key in ("uid", "name")),
            resource(metadata={"uid": "C", "name": "cher", "labels": {ORG: long}}),
            resource(metadata={"uid": "D", "name": "doubs"}, status={"suspendedAt": long}),
            resource(metadata={"uid": "E", "name": "emme"}, spec={"packages": long}),
        )
    )
    assert [set(one.skills) for one in tenants] == [{long, "mail"}]
    assert [(one.uid, one.name) for one in odd] == [
        *((None, "uid"), ("name", None)),
        *(("C", "cher"), ("D", "doubs"), ("E", "emme")),
    ]
    assert all(len(one.reason) < 200 for one in odd)


# --- What is a page, and what is none ---


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
