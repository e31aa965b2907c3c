"""The recorded malformed tenants: each alone is quarantined, with its field; all others are written."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import ORG_LABEL, Json, recorded, write
from tests.conftest import RECORDINGS, Command

LABEL = f"metadata.labels[{ORG_LABEL}]"

# What each says wrong, by the field that says it. Everything else in the recording can be billed.
MALFORMED = {
    **{
        f"packages-{what}": "spec.packages"
        for what in (
            *(
                "string",
                "string-with-commas",
                "empty-string",
                "number",
                "false",
                "object",
                "object-empty",
            ),
            *("with-number", "with-float", "with-null", "with-empty", "with-true", "nested"),
            *("of-objects", "nul"),
        )
    },
    **{
        f"suspend-{what}": "spec.suspend"
        for what in (
            *("yes", "true-text", "false-text", "empty-text", "one", "zero", "list", "object", "float"),
        )
    },
    **{f"spec-{what}": "spec" for what in ("string", "list", "number")},
    **{
        f"suspended-at-{what}": "status.suspendedAt"
        for what in (
            *(
                "yesterday",
                "number",
                "empty",
                "no-zone",
                "date-only",
                "offset-no-colon",
                "comma",
                "space",
            ),
            *("year-zero", "leap-second", "february-30", "offset-99", "list", "object", "true", "nul"),
            *("bad-not-suspended", "bad-suspend-missing"),
        )
    },
    **{f"status-{what}": "status" for what in ("string", "list")},
    "no-org": LABEL,
    "org-empty": LABEL,
    "zz-deleting-malformed": "spec.packages",
}


@pytest.fixture
def tenants() -> dict[str, Json]:
    items = recorded("malformed/list.json")["response"]["body"]["items"]
    return {item["metadata"]["name"]: item for item in items}


@pytest.mark.parametrize("form", ["kubectl", "list"])
def test_exactly_the_malformed_are_quarantined_and_all_others_written(
    command: Command,
    ledger: "psycopg.Connection[Any]",
    tenants: dict[str, Json],
    tmp_path: Path,
    form: str,
) -> None:
    file = RECORDINGS / "malformed" / "kubectl-get.json"
    if form == "list":
        file = write(tmp_path / "list.json", recorded("malformed/list.json")["response"]["body"])
    done = command(
        "run", "--snapshot", file, "--observed-at", "2026-11-22T16:00:00Z", "--output", "json"
    )
    assert done.status == 4
    report = done.report

    reasons = {one["tenantName"]: one["reason"] for one in report["quarantined"]}
    assert reasons.keys() == MALFORMED.keys()
    for name, field in MALFORMED.items():
        assert reasons[name].startswith((f"{field}: ", f"{field}[")), reasons[name]
    assert report["tenantsExamined"] == len(tenants)

    billed = tenants.keys() - MALFORMED.keys()
    lifecycles = ledger.execute(
        "SELECT tenant_name, tenant_uid, zitadel_org_id FROM tenant_billing_lifecycle"
    )
    assert sorted(lifecycles) == sorted(
        (name, metadata["uid"], metadata["labels"][ORG_LABEL])
        for name, metadata in ((name, tenants[name]["metadata"]) for name in billed)
    )


def test_skills_are_stored_to_the_byte(
    command: Command, ledger: "psycopg.Connection[Any]", tenants: dict[str, Json]
) -> None:
    file = RECORDINGS / "malformed" / "kubectl-get.json"
    command("run", "--snapshot", file, "--observed-at", "2026-11-22T16:00:00Z")
    stored = ledger.execute("SELECT tenant_name, convert_to(skill_id, 'UTF8') FROM tenant_skill_events")
    wanted = {
        (name, skill.encode())
        for name, item in tenants.items()
        if name not in MALFORMED
        for skill in ((item.get("spec") or {}).get("packages") or ())
    }
    assert len(wanted) > 450
    assert sorted(stored) == sorted(wanted)


def test_suspension_is_read_as_the_resource_says(
    command: Command, ledger: "psycopg.Connection[Any]", tenants: dict[str, Json]
) -> None:
    file = RECORDINGS / "malformed" / "kubectl-get.json"
    command("run", "--snapshot", file, "--observed-at", "2026-11-22T16:00:00Z")
    suspended = ledger.execute("SELECT tenant_name, event_kind FROM tenant_suspension_events").fetchall()
    wanted = {
        name
        for name, item in tenants.items()
        if name not in MALFORMED
        for suspend in [(item.get("spec") or {}).get("suspend")]
        if (bool((item.get("status") or {}).get("suspendedAt")) if suspend is None else suspend)
    }
    assert sorted(suspended) == sorted((name, "suspended") for name in wanted)


def test_a_tenant_that_was_readable_once_is_frozen_until_it_is_again(
    command: Command, ledger: "psycopg.Connection[Any]", tenants: dict[str, Json], tmp_path: Path
) -> None:
    """It is neither changed nor taken for deleted, and heals by itself."""
    good, bad = tenants["good-tenant"], tenants["packages-string"]
    sick = json.loads(json.dumps(good))
    sick["spec"]["packages"] = bad["spec"]["packages"]
    healed = {**good, "spec": {"packages": ["wiki"]}}
    told = []
    for time, item in (("160000Z", good), ("160500Z", sick), ("161000Z", sick), ("161500Z", healed)):
        listed = {**recorded("malformed/list.json")["response"]["body"], "items": [item]}
        listed["metadata"] = {"resourceVersion": ""}
        file = write(tmp_path / f"20261122T{time}.json", listed)
        told.append(command("run", "--snapshot", file, "--output", "json"))
    assert [done.status for done in told] == [0, 4, 4, 0]
    assert [done.report["rows"] for done in told[1:3]] == [[], []]
    (row,) = told[3].report["rows"]
    assert (row["kind"], row["skillId"], row["notBefore"]) == (
        "disabled",
        "mail",
        "2026-11-22T16:00:00Z",
    )
    assert ledger.execute("SELECT deleted_at FROM tenant_billing_lifecycle").fetchall() == [(None,)]
