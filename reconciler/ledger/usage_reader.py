"""Reads what the events add up to. The reckoning itself is SQL: `schema/40-usage.sql`."""

import logging
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.history import Span
from reconciler.core.text import quoted, stamp
from reconciler.core.times import CLOCK_TOLERANCE
from reconciler.core.usage import Correction, Item, Line, Period, Total, Usage, differences, in_order
from reconciler.errors import LedgerError, UsageError
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database, Transaction

log = logging.getLogger(__name__)

_LINES: Final = """
SELECT to_char(u.month, 'YYYY-MM'), u.zitadel_org_id, u.tenant_name, u.lifecycle_id, u.item, u.skill_id,
       u.days, u.least_days, u.most_days, u.month_days,
       u.price_chf, u.amount_chf, u.least_amount_chf, u.most_amount_chf, u.priced
FROM billing_usage(%s, %s, %s, %s, %s) AS u
WHERE (%s::text IS NULL OR u.zitadel_org_id = %s)
  AND (%s::text IS NULL OR u.lifecycle_id IN (
      SELECT l.id FROM tenant_billing_lifecycle l WHERE l.tenant_name = %s OR l.tenant_uid = %s))
"""

_VAT: Final = """
SELECT v.vat_rate_chli, v.vat_chf, v.gross_chf
FROM unnest(%s::numeric[]) WITH ORDINALITY AS net (chf, place)
CROSS JOIN LATERAL billing_vat(net.chf) AS v ORDER BY net.place
"""


class Question(Struct, frozen=True, kw_only=True):
    """What is to be reckoned, and of whom."""

    period: Period
    time_zone: str = "Europe/Zurich"
    """Whose calendar days are billed."""
    as_of: datetime | None = None
    """Leaves out what later passes wrote; None: nothing."""
    org: str | None = None
    tenant: str | None = None
    """By name or uid."""
    bounds: bool = False
    """Also the least and the most days that the intervals of the rows allow."""
    prices: bool = False
    """Also amounts, at the prices of today."""


def usage(database: Database, question: Question) -> Usage:
    """What the events add up to. Raises LedgerError; UsageError where the question makes no sense."""
    question = _settled(database, question)
    with database.transaction(read_only=True) as transaction:
        return _usage(transaction, database, question)


def day(transaction: Transaction, date: date, time_zone: str) -> Span:
    """A calendar day, of 23, 24 or 25 hours. Raises UsageError for a zone that nobody knows."""
    _check_time_zone(transaction, time_zone)
    ends = "SELECT billing_midnight(%s, %s), billing_midnight(%s, %s)"
    return Span(*transaction.rows(ends, date, time_zone, date + timedelta(days=1), time_zone)[0])


def corrections(database: Database, question: Question) -> Sequence[Correction]:
    """What passes later than its `as_of` made of it. Raises as `usage` does."""
    question = _settled(database, question)
    with database.transaction(read_only=True) as transaction:
        before = _usage(transaction, database, question)
        now = _usage(transaction, database, replace(question, as_of=None))
    return list(differences(before.lines, now.lines))


def _settled(database: Database, question: Question) -> Question:
    """Once nothing can be written any more that would count as of then."""
    if question.as_of is None:
        return question
    with database.transaction(read_only=True) as transaction:
        # A pass in hand has its time already, and its rows cannot be seen yet.
        transaction.lock(lambda: log.warning("a pass is being written; waiting for it"))
        now = transaction.value("SELECT clock_timestamp()")
    if question.as_of > now + CLOCK_TOLERANCE:
        raise UsageError(
            f"as of {stamp(question.as_of)}: that lies ahead, and what will be written "
            "until then is not known"
        )
    return replace(question, as_of=min(question.as_of, now))


def _usage(transaction: Transaction, database: Database, question: Question) -> Usage:
    _check(transaction, database, question)
    period, as_of = question.period, question.as_of
    last = transaction.rows("SELECT pass_id, observed_at FROM billing_last_pass(%s)", as_of)
    if not last:
        then = "" if as_of is None else f" that was written by {stamp(as_of)}"
        raise LedgerError(f"{database} holds no pass{then}: nobody looked, and nothing can be counted")
    rows = transaction.rows(
        _LINES,
        *(period.start, period.end, question.time_zone, as_of, question.bounds),
        *(question.org, question.org, question.tenant, question.tenant, question.tenant),
    )
    lines = sorted((_line(row, prices=question.prices) for row in rows), key=in_order)
    return Usage(
        period=period,
        time_zone=question.time_zone,
        as_of=as_of,
        last_pass=last[0][0],
        until=last[0][1],
        lines=lines,
        totals=_totals(transaction, lines) if question.prices else (),
    )


def _check(transaction: Transaction, database: Database, question: Question) -> None:
    schema.check_current(transaction, database)
    period = question.period
    if period.end <= period.start:
        raise UsageError(f"from {period.start} to {period.end}: expected a later day to end before")
    _check_time_zone(transaction, question.time_zone)
    for what, value, known in (
        ("org", question.org, "zitadel_org_id = %s"),
        ("tenant", question.tenant, "%s IN (tenant_name, tenant_uid)"),
    ):
        ask = f"SELECT FROM tenant_billing_lifecycle WHERE {known} LIMIT 1"
        if value is not None and not transaction.rows(ask, value):
            raise UsageError(f"the ledger knows no {what} {quoted(value)}")


def _check_time_zone(transaction: Transaction, time_zone: str) -> None:
    if not transaction.rows("SELECT FROM pg_timezone_names WHERE name = %s", time_zone):
        raise UsageError(
            f"the database knows no time zone {quoted(time_zone)}; expected one like Europe/Zurich"
        )


def _line(row: Sequence[Any], *, prices: bool) -> Line:
    *who, item, skill, days, least, most, month_days, price, amount, lowest, highest, priced = row
    month, org, tenant, lifecycle_id = who
    line = Line(
        month=month,
        zitadel_org_id=org,
        tenant_name=tenant,
        lifecycle_id=lifecycle_id,
        item=Item(item),
        skill_id=skill,
        days=days,
        least_days=least,
        most_days=most,
        month_days=month_days,
    )
    if not prices:
        return line
    return replace(
        line,
        price_chf=price,
        amount_chf=amount,
        least_amount_chf=lowest,
        most_amount_chf=highest,
        priced=priced,
    )


def _totals(transaction: Transaction, lines: Sequence[Line]) -> Sequence[Total]:
    nets: dict[tuple[str, str], Decimal] = {}
    for line in lines:
        key = line.month, line.zitadel_org_id
        nets[key] = nets.get(key, Decimal("0.00")) + (line.amount_chf or 0)
    vat = transaction.rows(_VAT, list(nets.values()))
    return [
        Total(
            month=month,
            zitadel_org_id=org,
            net_chf=net,
            vat_rate_chli=rate,
            vat_chf=added,
            gross_chf=gross,
        )
        for ((month, org), net), (rate, added, gross) in zip(nets.items(), vat, strict=True)
    ]
