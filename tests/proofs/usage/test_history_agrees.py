"""`history --at` and `usage` are two readings of the same rows: they say the same of every day."""

import random
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from reconciler.core.history import answer_of_day
from reconciler.ledger.calendar import day
from reconciler.ledger.history_reader import history, moved_to
from tests.conftest import open_database
from tests.proofs.usage.histories import ZURICH, History, put_in

MONTHS, TENANTS = 2, 20


@pytest.mark.parametrize("seed", range(4))
def test_a_skill_is_billable_on_a_day_exactly_where_usage_counts_it(
    ledger: psycopg.Connection[Any], ledger_url: str, seed: int
) -> None:
    first = date(2026, 3, 1)
    rows = History(random.Random(seed), first, MONTHS, TENANTS).rows()  # noqa: S311
    put_in(ledger, rows)
    until = max(one.observed_at for one in rows.passes)
    days = [first + timedelta(days=number) for number in range(-10, 31 * MONTHS + 10)]
    counted = 0
    with closing(open_database(ledger_url)) as database, database.transaction() as transaction:
        lives = [
            life
            for org in sorted({one.org for one in rows.lives})
            for life in history(transaction, org=org)
        ]
        assert len(lives) == len(rows.lives)
        later = moved_to(transaction, lives)
        for one in days:
            usage = transaction.rows(
                "SELECT lifecycle_id, skill_id FROM billing_skill_days(%s, %s)",
                one,
                one + timedelta(days=1),
            )
            asked = day(transaction, one, ZURICH.key)
            answers = [answer_of_day(life, asked, until, later.get(life.id, ())) for life in lives]
            billable = {
                (life.lifecycle_id, skill.skill_id)
                for life in answers
                for skill in life.skills
                if skill.is_billable
            }
            assert billable == set(usage), one
            counted += len(usage)
    assert counted > 500
