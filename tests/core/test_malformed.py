"""What no schema kept out, recorded and made up: it quarantines its own tenant and no other."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from reconciler.core.reading import Dialect, NotTheList
from reconciler.core.watch_events import read_event
from tests.conftest import RECORDINGS
from tests.core.resources import NEW_YEAR, ORG, listed, read_list, recorded, recorded_list, resource

# The recorded tenants without a schema

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


# Text that is no text

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


reads_deeply = pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="since Python 3.12 no decoder goes that deep: such a tenant is quarantined, alone",
)


@pytest.mark.parametrize(
    "packages",
    [HALF_A_PAIR, NO_UTF_8, TOO_BIG, pytest.param(DEEP, marks=reads_deeply)],
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


@reads_deeply
@pytest.mark.parametrize(
    "deep", [b'"mail"], "extra": [' + DEEP, b'"mail"], "suspend": null, "x": [' + DEEP]
)
def test_a_field_that_is_not_read_may_hold_anything(deep: bytes) -> None:
    tenants, odd = read_list(listed(GOOD, odd_with(deep)))
    assert ([one.name for one in tenants], odd) == (["aare", "birs"], [])


@reads_deeply
@pytest.mark.parametrize("where", ["metadata", "spec", "status"])
def test_something_deep_in_place_of_an_object_quarantines_that_tenant_alone(where: str) -> None:
    key = json.dumps(where).encode()
    deep = json.dumps(ODD).encode()[:-1] + b", " + key + b": " + DEEP + b"}"
    tenants, (odd,) = read_list(listed(GOOD, deep))
    assert [one.name for one in tenants] == ["aare"]
    assert odd.reason.startswith(f"{where}: ")


def nested(depth: int) -> bytes:
    return listed(GOOD, odd_with(b'{"a":' * depth + b"{}" + b"}" * depth))


@pytest.mark.parametrize("depth", [10_000, 14_000, 24_000, 100_000])
def test_a_tenant_of_any_depth_hides_no_other_and_ends_no_process(depth: int) -> None:
    """An API server reads objects that are nested 10,000 deep, and no deeper."""
    tenants, (odd,) = read_list(nested(depth))
    assert ([one.name for one in tenants], odd.uid, odd.name) == (["aare"], "B", "birs")


def test_a_list_that_is_deep_outside_of_its_items_is_refused() -> None:
    with pytest.raises(NotTheList, match="recursion"):
        read_list(
            b'{"kind": "PiecedTenantList", "items": [], "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
        )


def test_the_recursion_limit_is_raised_only_while_something_deep_is_read() -> None:
    shown = "import sys; before = sys.getrecursionlimit(); import reconciler.core.watch_events; "
    subprocess.run(
        [sys.executable, "-c", f"{shown}assert sys.getrecursionlimit() == before"], check=True
    )
    before = sys.getrecursionlimit()
    read_list(nested(10_000))
    assert sys.getrecursionlimit() == before


def test_a_watched_tenant_may_be_as_deep() -> None:
    deep = odd_with(b'{"a":' * 10_000 + b"{}" + b"}" * 10_000)
    event = b'{"type":"MODIFIED","object":' + deep + b"}"
    with pytest.raises(NotTheList, match="without a resourceVersion"):
        read_event(event, NEW_YEAR, Dialect())


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
