"""`reconciler coverage`: real gaps, what nobody knows, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import Command

Ledger = psycopg.Connection[Any]
START = datetime(2026, 11, 1, 6, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def stamp(minutes: float) -> str:
    return f"{at(minutes):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def looked(ledger: Ledger) -> Any:
    """Records a pass over a list that was asked for then, and answered a minute later."""

    def looked(asked: float, *, gapless: bool | None = None, since: float | None = None) -> None:
        ledger.execute(
            "INSERT INTO reconciler_passes (source, asked_at, observed_at, tenants_examined,"
            " lifecycle_inserted, lifecycle_deleted, events_inserted, suspension_events_inserted,"
            " program_version, gapless, gap_since)"
            " VALUES ('cluster', %s, %s, 0, 0, 0, 0, 0, 'x', %s, %s)",
            [at(asked), at(asked + 1), gapless, None if since is None else at(since)],
        )

    return looked


def gaps(command: Command, *arguments: str) -> list[tuple[str, str, str]]:
    done = command("coverage", "--to", stamp(600), "--output", "json", *arguments)
    assert done.status == 0, done.err
    return [(one["kind"], one["from"], one["to"]) for one in done.report["gaps"]]


def test_a_list_that_saw_everything_since_the_one_before_leaves_no_gap(
    command: Command, looked: Any
) -> None:
    for asked in (0, 300, 599):
        looked(asked, gapless=None if asked == 0 else True)
    assert gaps(command) == []
    told = command("coverage", "--to", stamp(600)).out
    assert told.splitlines() == [
        (
            f"3 lists from {stamp(0)} to {stamp(600)}: changes may be missing in 0 gaps, "
            "and it is not known in 0 longer than 0:15:00"
        )
    ]


def test_what_a_list_may_have_missed_is_a_gap_however_short(command: Command, looked: Any) -> None:
    looked(0)
    looked(5, gapless=False, since=0)
    looked(598, gapless=True)
    assert gaps(command) == [("lost", stamp(0), stamp(6))]
    assert "changes may be missing" in command("coverage").out.splitlines()[0]


def test_gaps_that_touch_are_one(command: Command, looked: Any) -> None:
    looked(0)
    for asked in (10, 20, 30):
        looked(asked, gapless=False, since=asked - 10)
    looked(598, gapless=True)
    assert gaps(command) == [("lost", stamp(0), stamp(31))]


def test_between_passes_that_say_nothing_it_is_not_known(command: Command, looked: Any) -> None:
    for asked in (0, 10, 40, 580):
        looked(asked)
    assert gaps(command) == [
        ("unknown", stamp(11), stamp(40)),
        ("unknown", stamp(41), stamp(580)),
        ("unknown", stamp(581), stamp(600)),
    ]
    assert gaps(command, "--coverage-gap", "9h") == []


def test_a_period_shows_what_lies_in_it_and_before_the_first_list_nothing_is_known(
    command: Command, looked: Any
) -> None:
    looked(0)
    looked(100, gapless=False, since=0)
    looked(598, gapless=True)
    assert gaps(command, "--from", stamp(50)) == [("lost", stamp(50), stamp(101))]
    assert gaps(command, "--from", stamp(101)) == []
    assert gaps(command, "--from", stamp(-60)) == [
        ("unknown", stamp(-60), stamp(0)),
        ("lost", stamp(0), stamp(101)),
    ]


def test_an_empty_ledger_has_no_gaps(command: Command) -> None:
    assert gaps(command) == []
