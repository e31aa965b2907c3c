"""The history of a tenant as a person asks for it: by name, uid or org, for a span, and on a day."""

from typing import Any

import pytest

from tests.command_line.snapshots import apply, snapshot, tenant
from tests.conftest import Command


@pytest.fixture
def told(command: Command, ledger_url: str) -> Command:
    """ada dies and is created anew on 4 December; bea is of another org."""
    bea = tenant("bea", org="org-2")
    days = (
        (1, tenant("ada", "mail", "wiki"), bea),
        (2, tenant("ada", "mail"), bea),
        (3, tenant("ada", "mail", suspend=True), bea),
        (4, tenant("ada", "crm", uid="again", created="2025-12-03T18:00:00Z"), bea),
    )
    files = [snapshot(command.folder, f"202512{day:02}T120000Z", *tenants) for day, *tenants in days]
    apply(ledger_url, *files)
    return command


def lives(report: Any) -> list[tuple[str, str, list[tuple[str, str | None]]]]:
    return [
        (
            one["tenantName"],
            one["tenantUid"],
            [(row["kind"], row.get("skillId")) for row in one["rows"]],
        )
        for one in report["lifecycles"]
    ]


def test_a_tenant_that_was_created_anew_is_told_with_both_of_its_lives(told: Command) -> None:
    report = told("history", "ada", "--output", "json").report
    assert lives(report) == [
        (
            "ada",
            "uid-of-ada",
            [
                ("created", None),
                ("enabled", "mail"),
                ("enabled", "wiki"),
                ("disabled", "wiki"),
                ("suspended", None),
                ("deleted", None),
            ],
        ),
        ("ada", "again", [("created", None), ("enabled", "crm")]),
    ]
    text = told("history", "ada").out
    assert text.count("ada  uid ") == 2
    assert lives(told("history", "again", "--output", "json").report)[0][1] == "again"


def test_an_org_is_told_with_all_its_tenants(told: Command) -> None:
    of_org = lives(told("history", "--org", "org-2", "--output", "json").report)
    assert [name for name, _, _ in of_org] == ["bea"]
    assert "bea  uid uid-of-bea  org org-2" in told("history", "--org", "org-2").out


def test_a_span_shows_what_happened_in_it(told: Command) -> None:
    flags = ("--from", "2025-12-02T00:00:00Z", "--to", "2025-12-03T00:00:00Z")
    report = told("history", "ada", *flags, "--output", "json").report
    assert lives(report) == [("ada", "uid-of-ada", [("disabled", "wiki")])]
    text = told("history", "ada", *flags).out
    assert "2025-12-02" in text
    assert "disabled" in text
    assert "again" not in text


def test_a_day_is_answered_skill_by_skill_with_the_rows_that_make_it_so(told: Command) -> None:
    report = told("history", "ada", "--at", "2025-12-02", "--output", "json").report
    # The day is Zurich's.
    assert (report["from"], report["to"]) == ("2025-12-01T23:00:00Z", "2025-12-02T23:00:00Z")
    first, second = report["lifecycles"]
    assert (first["isBillable"], second["isBillable"]) == (True, False)
    assert second["because"] == "it was not created yet"
    answers = {one["skillId"]: one for one in first["skills"]}
    assert {skill: one["isBillable"] for skill, one in answers.items()} == {"mail": True, "wiki": True}
    on, off = answers["wiki"]["rows"]
    assert (on["kind"], off["kind"], off["notBefore"]) == ("enabled", "disabled", "2025-12-01T12:00:00Z")
    assert off["writtenBy"]["source"] == "tenants-20251202T120000Z.json"
    text = told("history", "ada", "--at", "2025-12-02").out
    assert "  wiki  billable: it was enabled" in text
    assert "observed, not before 2025-12-01T12:00:00Z; pass 2" in text


def test_a_day_is_of_the_time_zone_that_usage_counts_in(told: Command) -> None:
    day = ("history", "ada", "--at", "2025-12-02", "--time-zone")
    report = told(*day, "Asia/Tokyo", "--output", "json").report
    assert (report["from"], report["to"]) == ("2025-12-01T15:00:00Z", "2025-12-02T15:00:00Z")
    unknown = told(*day, "Mars/Olympus")
    assert (unknown.status, unknown.out) == (2, "")
    assert 'no time zone "Mars/Olympus"' in unknown.err


def test_an_instant_is_answered_too(told: Command) -> None:
    report = told("history", "ada", "--at", "2025-12-03T13:00:00Z", "--output", "json").report
    first = report["lifecycles"][0]
    assert (first["isBillable"], first["because"]) == (False, "it was suspended throughout")


def test_a_day_of_25_hours_is_one_day(told: Command) -> None:
    report = told("history", "ada", "--at", "2025-10-26", "--output", "json").report
    assert (report["from"], report["to"]) == ("2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z")
    assert not any(one["isBillable"] for one in report["lifecycles"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give one"),
        (("ada", "--org", "org-1"), "give one"),
        (("--org", "nobody"), "no org"),
        (("nobody",), "no tenant"),
        (("ada", "--at", "tomorrow"), "a day like"),
        (("ada", "--at", "2025-02-30"), "2025-02-30"),
        (("ada", "--at", "9999-12-31"), "expected a year"),
        (("ada", "--at", "9999-12-31T23:59:59.999999Z"), "expected a year"),
        (("ada", "--at", "0001-01-01"), "expected a year"),
        (("\udcff",), "is not UTF-8"),
        (("ada", "--at", "2099-01-01"), "not known yet"),
        (("ada", "--at", "2025-12-02", "--from", "2025-12-01T00:00:00Z"), "give one"),
        (("ada", "--from", "2025-12-05T00:00:00Z", "--to", "2025-12-01T00:00:00Z"), "is not before"),
    ],
)
def test_what_cannot_be_answered_is_exit_2_and_says_why(
    told: Command, arguments: tuple[str, ...], said: str
) -> None:
    done = told("history", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
