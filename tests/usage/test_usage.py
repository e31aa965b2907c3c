"""The days that count, as the README has them and as a slow and obvious reckoning finds them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.usage.comparison import compared
from tests.usage.histories import put_in
from tests.usage.measure import Scale, measured
from tests.usage.reckoning import Deletion, Event, Life, Pass, Rows

Ledger = psycopg.Connection[Any]


# Over random histories ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100, 104))
def test_sql_and_python_agree_to_the_last_digit(ledger: Ledger, seed: int) -> None:
    """`make usage` does it for more than 10,000 tenant-months."""
    months = list(compared(ledger, seed))
    assert sum(one.tenant_months for one in months) >= 250
    assert sum(one.skill_days for one in months) > 500
    assert [one for one in months if one.differences] == []


def test_the_time_a_month_takes_can_be_measured(ledger: Ledger) -> None:
    told = list(measured(ledger, Scale(tenants=20, events=4_000)))
    assert sum("times as long" in line for line in told) == 4


# Case by case ------------------------------------------------------------------------------------


def at(text: str) -> datetime:
    """Of 2026, UTC: `10-25 00:30`."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


LAST = Pass(
    id=1, asked_at=at("12-31 12:00"), observed_at=at("12-31 12:00"), written_at=at("12-31 12:01")
)


class Case(NamedTuple):
    """One tenant, and its days of October in Zurich, where midnight is 22:00 UTC until the 25th."""

    switches: Sequence[tuple[str, str]]
    """`+` and `-`: the skill; `(` and `)`: the suspension."""
    days: int
    skill_days: int
    life: tuple[str, str | None] = ("01-01 00:00", None)


CASES = {
    "a skill that is on counts every day": Case([("01-01 00:00", "+")], 31, 31),
    "once a day, however often it is switched": Case(
        [("10-05 08:00", "+"), ("10-05 09:00", "-"), ("10-05 10:00", "+"), ("10-05 11:00", "-")], 31, 1
    ),
    "switched on and off in the same instant it counts for its day": Case(
        [("10-05 08:00", "+"), ("10-05 08:00", "-")], 31, 1
    ),
    "also in the first instant of the month": Case([("09-30 22:00", "+"), ("09-30 22:00", "-")], 31, 1),
    "switched off at midnight it does not count for the day that begins": Case(
        [("10-04 12:00", "+"), ("10-05 22:00", "-")], 31, 2
    ),
    "switched off an instant later it does": Case(
        [("10-04 12:00", "+"), ("10-05 22:00:00.000001", "-")], 31, 3
    ),
    "the day of 25 hours is one day": Case([("10-24 22:00", "+"), ("10-25 22:59", "-")], 31, 1),
    "its 25th hour belongs to it": Case([("10-25 22:30", "+"), ("10-25 22:59", "-")], 31, 1),
    "a day on which it was suspended throughout counts for nothing": Case(
        [("01-01 00:00", "+"), ("10-04 22:00", "("), ("10-06 22:00", ")")], 29, 29
    ),
    "a day on which it was suspended for a part counts": Case(
        [("01-01 00:00", "+"), ("10-04 22:00", "("), ("10-06 21:59", ")")], 30, 30
    ),
    "a skill that was on only while suspended does not": Case(
        [("10-05 08:00", "("), ("10-05 09:00", "+"), ("10-05 10:00", "-"), ("10-05 11:00", ")")], 31, 0
    ),
    "suspended since September": Case([("01-01 00:00", "+"), ("09-02 00:00", "(")], 0, 0),
    "suspended and resumed in the same instant changes nothing": Case(
        [("01-01 00:00", "+"), ("10-05 08:00", "("), ("10-05 08:00", ")")], 31, 31
    ),
    "created within the month": Case([("10-30 23:30", "+")], 1, 1, life=("10-30 23:30", None)),
    "deleted within the month": Case([("01-01 00:00", "+")], 3, 3, life=("01-01 00:00", "10-03 12:00")),
    "deleted at midnight": Case([("01-01 00:00", "+")], 3, 3, life=("01-01 00:00", "10-03 22:00")),
    "created and deleted in the same instant it counts for its day": Case(
        [("10-05 08:00", "+")], 1, 1, life=("10-05 08:00", "10-05 08:00")
    ),
    "deleted before the month": Case([("01-01 00:00", "+")], 0, 0, life=("01-01 00:00", "09-30 22:00")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_days_of_october(ledger: Ledger, case: Case) -> None:
    put_in(ledger, rows(case.switches, case.life))
    tenant = ledger.execute("SELECT days FROM billing_tenant_days('2026-10-01', '2026-11-01')")
    skill = ledger.execute("SELECT days FROM billing_skill_days('2026-10-01', '2026-11-01')")
    assert [sum(days for (days,) in found) for found in (tenant, skill)] == [case.days, case.skill_days]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_portal_s_own_rows_count_alike(ledger: Ledger, case: Case) -> None:
    put_in(ledger, rows(case.switches, case.life, by_portal=True))
    tenant = ledger.execute("SELECT days FROM billing_tenant_days('2026-10-01', '2026-11-01')")
    skill = ledger.execute("SELECT days FROM billing_skill_days('2026-10-01', '2026-11-01')")
    assert [sum(days for (days,) in found) for found in (tenant, skill)] == [case.days, case.skill_days]


def rows(
    switches: Sequence[tuple[str, str]],
    life: tuple[str, str | None],
    *,
    by_portal: bool = False,
    passes: Sequence[Pass] = (LAST,),
) -> Rows:
    created, deleted = life
    pass_id = None if by_portal else 1
    ordinals = {"+-": 0, "()": 0}
    events = []
    for number, (moment, sign) in enumerate(switches):
        subject = "+-" if sign in "+-" else "()"
        ordinals[subject] += 1
        events.append(
            Event(
                id=number + 1,
                tenant="ada",
                skill="mail" if subject == "+-" else None,
                on=sign in "+(",
                at=at(moment),
                lifecycle=None if by_portal else 1,
                ordinal=None if by_portal else ordinals[subject],
                not_before=None if by_portal else at(moment),
                observed_at=None if by_portal else LAST.observed_at,
                source=None if by_portal else "observed",
                pass_id=pass_id,
            )
        )
    deletion = deleted and Deletion(
        at=at(deleted), not_before=at(deleted), observed_at=LAST.observed_at, pass_id=1
    )
    return Rows(
        passes=passes,
        lives=[
            Life(
                id=1,
                org="org",
                tenant="ada",
                created_at=at(created),
                pass_id=pass_id,
                deletions=[deletion] if deletion else [],
            )
        ],
        events=events,
        set_up_fee=Decimal(100),
        monthly_fee=Decimal(31),
    )


def test_what_the_portal_wrote_twice_breaks_nothing(ledger: Ledger) -> None:
    twice = [("10-02 08:00", "+"), ("10-03 08:00", "+"), ("10-05 08:00", "-"), ("10-06 08:00", "-")]
    put_in(ledger, rows(twice, ("01-01 00:00", None), by_portal=True))
    assert skill_days(ledger) == [4]


def skill_days(ledger: Ledger, bound: str = "best") -> list[int]:
    statement = "SELECT days FROM billing_skill_days('2026-10-01', '2026-11-01', bound => %s)"
    return [days for (days,) in ledger.execute(statement, [bound])]


def test_the_current_month_ends_at_the_last_pass(ledger: Ledger) -> None:
    now = at("10-14 05:00")
    last = Pass(id=1, asked_at=now, observed_at=now, written_at=now)
    put_in(ledger, rows([("01-01 00:00", "+")], ("01-01 00:00", None), by_portal=True, passes=[last]))
    assert skill_days(ledger) == [14]


def test_without_a_pass_nobody_looked_and_nothing_counts(ledger: Ledger) -> None:
    put_in(ledger, rows([("01-01 00:00", "+")], ("01-01 00:00", None), by_portal=True, passes=[]))
    assert skill_days(ledger) == []


@pytest.fixture
def fees(ledger: Ledger) -> list[tuple[str, date, Decimal]]:
    """Of a tenant that was created on 31 October in Zurich, the 30th in UTC; over two months."""
    put_in(ledger, rows([], ("10-30 23:30", None)))
    return ledger.execute(
        "SELECT item, month, amount_chf FROM billing_usage('2026-10-01', '2026-12-01')"
        " ORDER BY month, item DESC"
    ).fetchall()


def test_the_set_up_fee_falls_in_the_month_of_creation_and_the_monthly_fee_is_prorated(
    fees: list[tuple[str, date, Decimal]],
) -> None:
    assert fees == [
        ("set-up-fee", date(2026, 10, 1), Decimal(100)),
        ("monthly-fee", date(2026, 10, 1), Decimal(1)),
        ("monthly-fee", date(2026, 11, 1), Decimal(31)),
    ]


def test_a_range_that_ends_before_it_begins_is_refused(ledger: Ledger) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="later day"):
        ledger.execute("SELECT FROM billing_skill_days('2026-10-02', '2026-10-01')")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="least or most"):
        skill_days(ledger, "worst")
