"""A report says what `usage` says, to the Rappen and to the day."""

import random
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from reconciler.core.report import Bits, covered, strip, touched
from reconciler.core.usage import Item, Period
from reconciler.ledger.report_reader import fleet, statement
from reconciler.ledger.usage_reader import Question, usage, usage_in
from tests.conftest import Command, open_database
from tests.proofs.usage.histories import ZURICH, History, put_in
from tests.reports.ledgers import MONTH, fill

Connection = psycopg.Connection[Any]


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 11, day, hour, tzinfo=UTC)


def test_each_day_has_its_letter() -> None:
    bits = Bits(best="1100010", least="1000010", most="1110010")
    letters = strip(bits, alive="1111110", active="1110010", unseen="0000101")
    assert letters == "cuusxcx"


def test_a_span_touches_the_days_in_which_it_has_an_instant() -> None:
    midnights = [at(day) for day in (1, 2, 3, 4)]
    assert touched(at(1, 5), at(2), midnights) == "100"
    assert touched(at(1, 5), at(2, 1), midnights) == "110"
    assert touched(at(2), at(2), midnights) == "010"
    assert touched(at(3, 23), None, midnights) == "001"
    assert covered([(at(1), at(2, 12)), (at(3), at(4))], midnights) == "101"


@pytest.mark.parametrize("seed", range(3))
def test_a_statement_has_the_lines_and_days_of_usage(
    ledger: Connection, ledger_url: str, seed: int
) -> None:
    rows = History(random.Random(seed), date(2025, 3, 1), 2, 20).rows()  # noqa: S311
    put_in(ledger, rows)
    uncertain = 0
    with closing(open_database(ledger_url)) as database:
        for org in sorted({one.org for one in rows.lives}):
            for month in (3, 4, 5):
                question = Question(
                    period=Period.month(2025, month),
                    time_zone=ZURICH.key,
                    org=org,
                    prices=True,
                    bounds=True,
                )
                expected, made = usage(database, question), statement(database, question)
                assert made.standing.usage == expected
                subjects = [one for tenant in made.tenants for one in tenant.subjects]
                assert [line for one in subjects for line in one.lines] == list(expected.lines)
                for one in subjects:
                    if one.item is Item.SET_UP_FEE:
                        continue
                    sure, unsure = one.strip.count("c"), one.strip.count("u")
                    least, most = one.bounds
                    assert sure <= least <= one.days <= most <= sure + unsure
                    uncertain += unsure
                net = sum((total.net_chf for total in expected.totals), Decimal(0))
                assert sum((tenant.amount for tenant in made.tenants), Decimal(0)) == net
    assert uncertain > 10


@pytest.mark.parametrize("seed", range(2))
def test_the_fleet_adds_up_to_usage(ledger: Connection, ledger_url: str, seed: int) -> None:
    rows = History(random.Random(seed), date(2025, 3, 1), 2, 20).rows()  # noqa: S311
    put_in(ledger, rows)
    with closing(open_database(ledger_url)) as database:
        question = Question(period=Period.month(2025, 4), time_zone=ZURICH.key, prices=True)
        expected, made = usage(database, question), fleet(database, question)
        billable = sum(line.days for line in expected.lines if line.item is Item.MONTHLY_FEE)
        assert sum(one.active for one in made.days) == billable
        created = sum(line.item is Item.SET_UP_FEE for line in expected.lines)
        assert sum(one.created for one in made.days) >= created
        assert sum((one.net for one in made.orgs), Decimal(0)) == sum(
            (total.net_chf for total in expected.totals), Decimal(0)
        )
        assert sum(one.days for one in made.skills) == sum(
            line.days for line in expected.lines if line.skill_id is not None
        )
        for one in made.days:
            assert 0 <= one.suspended <= one.alive
            assert one.alive - one.suspended <= one.active
        assert any(one.suspended for one in made.days)
        for one, after in zip(made.days, made.days[1:], strict=False):
            assert after.alive == one.alive + after.created - after.deleted


def test_a_ledger_that_postgres_has_not_counted_yet_is_not_joined_row_by_row(
    ledger_url: str, ledger: Connection
) -> None:
    fill(ledger_url, tenants=30)
    question = Question(period=Period.month(2025, 10), org="org-0", prices=True)

    def joins_row_by_row() -> str:
        with closing(open_database(ledger_url)) as database, database.transaction() as transaction:
            usage_in(transaction, database, question)
            told: str = transaction.value("SHOW enable_nestloop")
            return told

    assert joins_row_by_row() == "off"
    ledger.execute("ANALYZE tenant_skill_events")
    assert joins_row_by_row() == "on"


def test_the_command_writes_the_file_whole_and_says_what_it_needs(
    command: Command, ledger_url: str
) -> None:
    fill(ledger_url, tenants=3)
    file = command.folder / "statement.html"
    done = command("report", "--month", MONTH, "--org", "org-0", "--output", file)
    assert (done.status, done.out) == (0, "")
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "tenant-00002" in command("report", "--month", MONTH, "--org", "org-0").out
    assert [one.name for one in command.folder.glob(".statement*")] == []
    assert command("report", "--month", MONTH, "--org", "nobody").status == 2
    unwritable = command("report", "--month", MONTH, "--output", command.folder / "no" / "file.html")
    assert unwritable.status == 1
    assert "cannot write" in unwritable.err
