"""The SQL functions against the reckoning, over random ledgers: what differs is told."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from tests.proofs.usage.histories import ZURICH, History, put_in
from tests.proofs.usage.reckoning import Line, Rows, lines, total

TENANTS, MONTHS = 20, 13
DELICATE = ("Europe/Zurich",) * 6 + ("UTC", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe")

_USAGE = """
SELECT zitadel_org_id, tenant_name, lifecycle_id, item, skill_id, days, least_days, most_days, amount_chf
FROM billing_usage(%s, %s, %s, %s, true)
"""
_TOTALS = """
SELECT zitadel_org_id, net_chf, vat_chf, gross_chf FROM billing_totals(%s, %s, %s, %s)
"""


@dataclass(frozen=True)
class Compared:
    """One month of one ledger."""

    seed: int
    start: date
    end: date
    zone: str
    as_of: datetime | None
    tenant_months: int
    skill_days: int
    differences: list[str]


def compared(connection: psycopg.Connection[Any], seed: int) -> Iterator[Compared]:
    """Fills an empty ledger at random, and compares each of its months."""
    chance = random.Random(seed)  # noqa: S311
    # Leap years, and years in which a month begins on any day of the week.
    first = date(chance.randint(2023, 2029), chance.randint(1, 12), 1)
    rows = History(chance, first, MONTHS, TENANTS).rows()
    put_in(connection, rows)
    month = (first - timedelta(days=1)).replace(day=1)
    for _ in range(MONTHS + 1):
        following = (month + timedelta(days=32)).replace(day=1)
        start, end, zone, as_of = month, following, ZURICH, None
        if chance.random() < 0.2:
            start, end = sorted(chance.sample([month + timedelta(days=n) for n in range(28)], 2))
        if chance.random() < 0.3:
            # Often just before or after a deletion was withdrawn.
            withdrawals = {one.withdrawn_by for life in rows.lives for one in life.deletions}
            near = [one for one in rows.passes if one.id in withdrawals or chance.random() < 0.1]
            as_of = chance.choice(near or rows.passes).written_at
            as_of -= timedelta(microseconds=chance.choice([0, 1]))
        if chance.random() < 0.2:
            zone = ZoneInfo(chance.choice(DELICATE))
        yield _compared(connection, rows, seed, start, end, zone, as_of)
        month = following


def _compared(
    connection: psycopg.Connection[Any],
    rows: Rows,
    seed: int,
    start: date,
    end: date,
    zone: ZoneInfo,
    as_of: datetime | None,
) -> Compared:
    asked = (start, end, zone.key, as_of)
    by_sql = {Line(*row) for row in connection.execute(_USAGE, asked)}
    by_hand = set(lines(rows, start, end, zone, as_of))
    differences = [f"only SQL: {line}" for line in sorted(by_sql - by_hand, key=str)]
    differences += [f"only Python: {line}" for line in sorted(by_hand - by_sql, key=str)]
    nets: dict[str, Decimal] = {}
    for line in (line for line in by_hand if line.days):
        nets[line.org] = nets.get(line.org, Decimal(0)) + line.amount
    totals = {(org, net, *total(rows, net)) for org, net in nets.items()}
    found = set(connection.execute(_TOTALS, asked).fetchall())
    differences += [f"totals: {one}" for one in sorted(totals ^ found, key=str)]
    return Compared(
        seed=seed,
        start=start,
        end=end,
        zone=zone.key,
        as_of=as_of,
        tenant_months=TENANTS,
        skill_days=sum(line.days for line in by_hand if line.item == "skill"),
        differences=differences,
    )
