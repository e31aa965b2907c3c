"""The days that count, as the README has them and as a slow and obvious reckoning finds them."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.command_line.snapshots import apply, snapshot, tenant
from tests.proofs.usage.comparison import DELICATE, compared
from tests.proofs.usage.histories import MICROSECOND, ZURICH, put_in
from tests.proofs.usage.measure import Scale, fill, measured
from tests.proofs.usage.reckoning import (
    Deletion,
    Event,
    Life,
    Pass,
    Price,
    Reckoning,
    Rows,
    each_day,
    first_instant,
)

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


BLOCKS = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM billing_usage(%s, %s, org => %s)"


def test_of_one_organisation_no_more_is_read_than_what_is_its_own(ledger: Ledger) -> None:
    """Two of a thousand tenants: what it reads is far from what all of them take."""
    fill(ledger, Scale(tenants=1_000, events=100_000))

    def blocks(org: str | None) -> int:
        asked = "2026-10-01", "2026-11-01", org
        for _ in range(2):  # the first reads the catalog
            ((((plan,),),),) = (ledger.execute(BLOCKS, asked).fetchall(),)
        read: int = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        return read

    assert blocks("org-7") * 20 < blocks(None)


@pytest.mark.parametrize("seed", range(20))
def test_the_true_days_lie_between_the_least_and_the_most(seed: int) -> None:
    """Of changes that passes could see: no subject changes twice between two of them."""
    truth, ledger = lived_and_seen(random.Random(seed))  # noqa: S311
    for month in (1, 2, 3):
        start, end = date(2026, month, 1), date(2026, month + 1, 1)
        for skill in (None, "mail", "wiki"):
            true, least, most = (
                sum(of.counts(day, skill) for day in each_day(start, end))
                for of in (
                    Reckoning(truth, truth.lives[0], ZURICH, None, "best"),
                    Reckoning(ledger, ledger.lives[0], ZURICH, None, "least"),
                    Reckoning(ledger, ledger.lives[0], ZURICH, None, "most"),
                )
            )
            assert least <= true <= most


def lived_and_seen(chance: random.Random) -> tuple[Rows, Rows]:
    """A tenant's rows with the times at which things happened, and as passes wrote them."""
    looks = sorted({at("01-03 00:00") + timedelta(hours=chance.randrange(24 * 90)) for _ in range(60)})
    passes = [
        Pass(id=number, asked_at=look, observed_at=look, written_at=look)
        for number, look in enumerate(looks, start=1)
    ]
    created = at("01-02 08:00")
    true: list[Event] = []
    seen: list[Event] = []
    for skill in (None, "mail", "wiki"):
        since, ordinal = created, 0
        for one in passes:
            if chance.random() < 0.2:
                ordinal += 1
                moment = since + chance.random() * (one.observed_at - since)
                is_first_sight = one.id == 1 and skill is not None
                event = Event(
                    id=len(true) + 1,
                    tenant="ada",
                    skill=skill,
                    on=ordinal % 2 == 1,
                    at=moment,
                    lifecycle=1,
                    ordinal=ordinal,
                    not_before=since,
                    observed_at=one.observed_at,
                    source="creation" if is_first_sight else "observed",
                    pass_id=one.id,
                )
                true.append(event)
                seen.append(replace(event, at=created if is_first_sight else one.observed_at))
            since = one.observed_at
    life = Life(id=1, org="org", tenant="ada", created_at=created, pass_id=1)
    gone = looks[-1] - timedelta(days=chance.randrange(3))
    before = max((look for look in looks if look <= gone), default=created)
    deleted = before + chance.random() * (gone - before)
    ended = Deletion(at=gone, not_before=before, observed_at=looks[-1], pass_id=passes[-1].id)
    return (
        Rows(passes=passes, lives=[replace(life, deletions=[replace(ended, at=deleted)])], events=true),
        Rows(passes=passes, lives=[replace(life, deletions=[ended])], events=seen),
    )


@pytest.mark.parametrize("zone", sorted({*DELICATE, "Asia/Beirut", "America/Asuncion"}))
def test_a_day_begins_with_its_first_instant_also_where_clocks_change_at_midnight(
    ledger: Ledger, zone: str
) -> None:
    found = ledger.execute(
        "SELECT day::date, billing_midnight(day::date, %s)"
        " FROM generate_series('2023-01-01', '2028-12-31', interval '1 day') AS day",
        [zone],
    )
    assert [(day, at) for day, at in found if at != first_instant(day, ZoneInfo(zone))] == []


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
        prices=[
            price(2, "tenant_setup_fee_chf", "100"),
            price(3, "tenant_monthly_fee_chf", "31"),
        ],
    )


def price(number: int, column: str, value: str) -> Price:
    """One that was always valid."""
    return Price(
        id=number,
        column=column,
        skill=None,
        value=Decimal(value),
        valid_from=None,
        recorded_at=LAST.written_at,
    )


def test_what_the_portal_wrote_twice_breaks_nothing(ledger: Ledger) -> None:
    twice = [("10-02 08:00", "+"), ("10-03 08:00", "+"), ("10-05 08:00", "-"), ("10-06 08:00", "-")]
    put_in(ledger, rows(twice, ("01-01 00:00", None), by_portal=True))
    assert skill_days(ledger) == [4]


def test_what_the_portal_wrote_ahead_is_void_once_ours_says_otherwise(ledger: Ledger) -> None:
    by_portal = rows([("10-05 08:00", "+"), ("10-20 08:00", "+")], ("01-01 00:00", None), by_portal=True)
    ours = Event(
        id=3,
        tenant="ada",
        skill="mail",
        on=False,
        at=at("10-10 08:00"),
        lifecycle=1,
        ordinal=0,
        not_before=at("10-10 08:00"),
        observed_at=at("10-10 08:00"),
        source="observed",
        pass_id=1,
    )
    put_in(ledger, replace(by_portal, events=[*by_portal.events, ours]))
    assert skill_days(ledger) == [6]


def test_as_of_the_instant_in_which_a_pass_was_written_it_counts(ledger: Ledger) -> None:
    """Ada is deleted by the pass of the 10th, and the one of the 12th withdraws that."""
    noon = {number: at(f"10-{number:02} 12:00") for number in (8, 10, 12)}
    passes = [
        Pass(id=number, asked_at=noon[day], observed_at=noon[day], written_at=noon[day])
        for number, day in enumerate(noon, start=1)
    ]
    deleted = at("10-09 12:00")
    deletion = Deletion(at=deleted, not_before=deleted, observed_at=noon[10], pass_id=2, withdrawn_by=3)
    ada = Life(
        id=1, org="org", tenant="ada", created_at=at("10-01 08:00"), pass_id=1, deletions=[deletion]
    )
    put_in(ledger, Rows(passes=passes, lives=[ada], events=[]))
    days = "SELECT days FROM billing_tenant_days('2026-10-01', '2026-11-01', as_of => %s)"
    found = [
        ledger.execute(days, [noon[day] - before]).fetchall()
        for day in noon
        for before in (MICROSECOND, timedelta(0))
        if (day, before) != (8, MICROSECOND)
    ]
    assert found == [[(8,)], [(8,)], [(9,)], [(9,)], [(12,)]]
    with pytest.raises(psycopg.errors.NoDataFound, match="has no pass"):
        ledger.execute(days, [noon[8] - MICROSECOND])


def skill_days(ledger: Ledger, bound: str = "best") -> list[int]:
    statement = "SELECT days FROM billing_skill_days('2026-10-01', '2026-11-01', bound => %s)"
    return [days for (days,) in ledger.execute(statement, [bound])]


def test_the_current_month_ends_at_the_last_pass(ledger: Ledger) -> None:
    now = at("10-14 05:00")
    last = Pass(id=1, asked_at=now, observed_at=now, written_at=now)
    put_in(ledger, rows([("01-01 00:00", "+")], ("01-01 00:00", None), by_portal=True, passes=[last]))
    assert skill_days(ledger) == [14]


def test_without_a_pass_nobody_looked_and_that_is_said(ledger: Ledger) -> None:
    put_in(ledger, rows([("01-01 00:00", "+")], ("01-01 00:00", None), by_portal=True, passes=[]))
    with pytest.raises(psycopg.errors.NoDataFound, match="nothing to count"):
        skill_days(ledger)


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
        ("setup_fee", date(2026, 10, 1), Decimal(100)),
        ("monthly_fee", date(2026, 10, 1), Decimal(1)),
        ("monthly_fee", date(2026, 11, 1), Decimal(31)),
    ]


def test_as_of_a_pass_nothing_counts_that_a_later_one_found_to_have_been_before(
    ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    def days(as_of: datetime | None = None) -> list[tuple[Any, ...]]:
        query = """
            SELECT tenant_name, days FROM billing_tenant_days('2026-10-01', '2026-11-01', as_of => %s)
            ORDER BY tenant_name
        """
        return ledger.execute(query, (as_of,)).fetchall()

    first, second = "2026-10-01T00:00:00Z", "2026-10-12T00:00:00Z"
    apply(ledger_url, snapshot(tmp_path, "20261010T000000Z", tenant("ada", "mail", created=first)))
    # Neither can be read.
    odd = tenant("ada", 7, created=first), tenant("bea", 7, created=second)
    apply(ledger_url, snapshot(tmp_path, "20261020T000000Z", *odd))
    ((then,),) = ledger.execute("SELECT clock_timestamp()").fetchall()
    before = days()
    assert before == [("ada", 20)]
    ended = tenant("ada", "mail", created=first, deleted="2026-10-15T00:00:00Z")
    begun = tenant("bea", "mail", created=second)
    apply(ledger_url, snapshot(tmp_path, "20261030T000000Z", ended, begun))
    assert days() == [("ada", 15), ("bea", 19)]
    assert days(then) == before


def test_a_range_that_ends_before_it_begins_is_refused(ledger: Ledger) -> None:
    for end in ("2026-10-01", "2026-10-02"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="later day"):
            ledger.execute("SELECT FROM billing_skill_days('2026-10-02', %s)", (end,))
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="least or most"):
        skill_days(ledger, "worst")
