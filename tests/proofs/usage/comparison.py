"""The SQL functions against the reckoning, over random ledgers: what differs is told."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from tests.proofs.usage.histories import ZURICH, History, put_in
from tests.proofs.usage.reckoning import Line, Rows, lines, position, totals

TENANTS, MONTHS = 20, 13
DELICATE = ("Europe/Zurich",) * 6 + ("UTC", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe")

_USAGE = """
SELECT zitadel_org_id, tenant_name, lifecycle_id, item, skill_id, period_start, period_end,
       days, least_days, most_days, price_chf, amount_chf, vat_rate_chli
FROM billing_usage(%(start)s, %(end)s, %(zone)s, %(as_of)s, true, %(org)s, %(as_of_pass)s, %(prices_of)s)
"""
_TOTALS = """
SELECT zitadel_org_id, net_chf, vat_rate_chli, vat_chf, gross_chf
FROM billing_totals(%(start)s, %(end)s, %(zone)s, %(as_of)s, %(org)s, %(as_of_pass)s, %(prices_of)s)
"""


@dataclass(frozen=True)
class Asked:
    """One month, or some days of it."""

    start: date
    end: date
    zone: ZoneInfo
    as_of: datetime | int | None
    org: str | None
    prices_of: date | None


@dataclass(frozen=True)
class Compared:
    """One month of one ledger."""

    seed: int
    asked: Asked
    tenant_months: int
    skill_days: int
    price_changes: int
    """Lines that begin within the month."""
    differences: list[str]


def compared(connection: psycopg.Connection[Any], seed: int) -> Iterator[Compared]:
    """Fills an empty ledger at random, and compares each of its months."""
    chance = random.Random(seed)  # noqa: S311
    # Leap years, and years in which a month begins on any day of the week; none of it lies ahead.
    first = date(chance.randint(2016, 2023), chance.randint(1, 12), 1)
    rows = History(chance, first, MONTHS, TENANTS).rows()
    put_in(connection, rows)
    month = (first - timedelta(days=1)).replace(day=1)
    for _ in range(MONTHS + 1):
        following = (month + timedelta(days=32)).replace(day=1)
        start, end, zone, as_of = month, following, ZURICH, None
        if chance.random() < 0.2:
            start, end = sorted(chance.sample([month + timedelta(days=n) for n in range(28)], 2))
        if chance.random() < 0.4:
            as_of = _position(chance, rows)
        if chance.random() < 0.2:
            zone = ZoneInfo(chance.choice(DELICATE))
        org = chance.choice(sorted({one.org for one in rows.lives})) if chance.random() < 0.2 else None
        prices_of = start + timedelta(days=chance.randrange(-90, 90)) if chance.random() < 0.1 else None
        yield _compared(connection, rows, seed, Asked(start, end, zone, as_of, org, prices_of))
        month = following


def _position(chance: random.Random, rows: Rows) -> datetime | int:
    """Often just before or after a deletion was withdrawn, or a price was recorded."""
    withdrawals = {one.withdrawn_by for life in rows.lives for one in life.deletions}
    near = [one for one in rows.passes if one.id in withdrawals or chance.random() < 0.1] or rows.passes
    written = [(one.id, one.written_at) for one in near]
    written += [(one.id, one.recorded_at) for one in rows.prices]
    number, at = chance.choice(written)
    at -= timedelta(microseconds=chance.choice([0, 1]))
    is_before_all = rows.passes[0].written_at > at
    return number if is_before_all or chance.random() < 0.3 else at


def _compared(connection: psycopg.Connection[Any], rows: Rows, seed: int, asked: Asked) -> Compared:
    known = asked.as_of if isinstance(asked.as_of, int) else position(rows, asked.as_of)
    values = {
        "start": asked.start,
        "end": asked.end,
        "zone": asked.zone.key,
        "as_of": asked.as_of if isinstance(asked.as_of, datetime) else None,
        "as_of_pass": asked.as_of if isinstance(asked.as_of, int) else None,
        "org": asked.org,
        "prices_of": asked.prices_of,
    }
    by_sql = {Line(*row) for row in connection.execute(_USAGE, values)}
    by_hand = {
        line
        for line in lines(rows, asked.start, asked.end, asked.zone, known, asked.prices_of)
        if asked.org in (None, line.org)
    }
    differences = [f"only SQL: {line}" for line in sorted(by_sql - by_hand, key=str)]
    differences += [f"only Python: {line}" for line in sorted(by_hand - by_sql, key=str)]
    found = set(connection.execute(_TOTALS, values).fetchall())
    expected = totals([line for line in by_hand if line.days])
    differences += [f"totals: {one}" for one in sorted(expected ^ found, key=str)]
    return Compared(
        seed=seed,
        asked=asked,
        tenant_months=TENANTS,
        skill_days=sum(line.days for line in by_hand if line.item == "skill"),
        price_changes=sum(line.start > asked.start for line in by_hand),
        differences=differences,
    )
