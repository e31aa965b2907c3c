"""The day of a move counts once: for the last org that the tenant moved to and for which it counts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.history import Span, WrittenLifecycle, WrittenRow, answer_of_day
from reconciler.core.kinds import Kind
from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command, Ran

Pass = Callable[..., Ran]
DAY = Span(datetime(2025, 12, 10, tzinfo=UTC), datetime(2025, 12, 10, tzinfo=UTC) + timedelta(days=1))


@pytest.fixture
def at(command: Command, tmp_path: Path) -> Pass:
    """A pass over bea at a time of December 2025, or the command that moves her then."""

    def at(time: str, org: str, *words: str, **spec: Any) -> Ran:
        bea = tenant("bea", "mail", created="2025-12-01T12:00:00Z", org=org, **spec)
        file = snapshot(tmp_path, f"202512{time}Z", bea)
        return command(*(words or ("run",)), "--snapshot", file)

    return at


def lived(*skills: str, org: str) -> WrittenLifecycle:
    """One that lived for the day with these skills."""
    rows = [WrittenRow(kind=Kind.ENABLED, skill_id=one, occurred_at=DAY.start) for one in skills]
    return WrittenLifecycle(
        id=1,
        tenant_name="bea",
        tenant_uid=None,
        zitadel_org_id=org,
        cluster_uid=None,
        created_at=DAY.start,
        deleted_at=None,
        rows=rows,
    )


def test_each_skill_names_the_org_that_its_day_counts_for() -> None:
    """Mail went with her to org-2 and not on to org-3."""
    found = answer_of_day(
        lived("mail", "wiki", "chat", org="org-1"),
        DAY,
        DAY.end,
        [lived("mail", "wiki", org="org-2"), lived("wiki", org="org-3")],
    )
    moved = "the day counts for the org that it moved to, "
    assert (found.is_billable, found.because) == (False, f"{moved}org-3")
    assert {one.skill_id: (one.is_billable, one.because) for one in found.skills} == {
        "chat": (True, "it was enabled"),
        "mail": (False, f"{moved}org-2"),
        "wiki": (False, f"{moved}org-3"),
    }


def move(at: Pass, time: str, org: str, **spec: Any) -> None:
    """The label changed at that time; the operator says so."""
    when = f"2025-12-{time[:2]}T{time[3:5]}:{time[5:7]}:00Z"
    assert at(time, org, **spec).status == 4
    ran = at(time, org, "org", "move", "bea", "--effective", when, **spec)
    assert ran.status == 0, ran.err


def days(command: Command, *flags: str) -> dict[tuple[str, str], tuple[int, int, int]]:
    """By org and item: the days, the fewest and the most."""
    ran = command("usage", "--month", "2025-12", "--bounds", "--output", "json", *flags)
    assert ran.status == 0, ran.err
    return {
        (line["zitadelOrgId"], line["item"]): (line["days"], line["leastDays"], line["mostDays"])
        for line in json.loads(ran.out)["lines"]
        if line["item"] != "setup_fee"
    }


def billable(command: Command, day: str) -> dict[str, Any]:
    """By org: whether the day counts for bea and for her mail."""
    found = json.loads(command("history", "bea", "--at", day, "--output", "json").out)
    return {
        one["zitadelOrgId"]: (one["isBillable"], *(skill["isBillable"] for skill in one["skills"]))
        for one in found["lifecycles"]
    }


def test_two_moves_in_a_day_bill_it_once_and_to_the_last_org(command: Command, at: Pass) -> None:
    at("01T230000", "org-1")
    at("10T080000", "org-1")
    move(at, "10T090000", "org-2")
    move(at, "10T150000", "org-3")
    at("20T230000", "org-3")

    expected = {
        ("org-1", "monthly_fee"): (9, 9, 9),
        ("org-1", "skill"): (9, 8, 9),  # enabled on the 1st, or by the 2nd when it was first seen
        ("org-3", "monthly_fee"): (11, 11, 11),
        ("org-3", "skill"): (11, 11, 11),
    }
    assert days(command) == expected
    assert days(command, "--org", "org-1") == {
        key: of for key, of in expected.items() if key[0] == "org-1"
    }
    assert days(command, "--org", "org-2") == {}
    assert billable(command, "2025-12-09") == {
        "org-1": (True, True),
        "org-2": (False, False),
        "org-3": (False, False),
    }
    assert billable(command, "2025-12-10") == {
        "org-1": (False, False),
        "org-2": (False, False),
        "org-3": (True, True),
    }
    told = command("history", "bea", "--at", "2025-12-10").out
    assert told.count("not billable: the day counts for the org that it moved to, org-3") == 4


def test_a_day_that_does_not_count_for_the_new_org_stays_with_the_old_one(
    command: Command, at: Pass
) -> None:
    at("01T230000", "org-1")
    at("10T080000", "org-1")
    move(at, "10T090000", "org-2", suspend=True)
    at("20T230000", "org-2", suspend=True)
    assert {key: of[0] for key, of in days(command).items() if of[0]} == {
        ("org-1", "monthly_fee"): 10,
        ("org-1", "skill"): 10,
    }
    assert billable(command, "2025-12-10") == {"org-1": (True, True), "org-2": (False, False)}
