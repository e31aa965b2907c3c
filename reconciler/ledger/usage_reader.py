"""Reads what the events add up to. The reckoning is SQL: `schema/40-days.sql`, `schema/41-usage.sql`."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.groups import By, Group, Grouped, Sort, grouped, ordered, total
from reconciler.core.text import quoted, stamp
from reconciler.core.times import CLOCK_TOLERANCE
from reconciler.core.usage import (
    Corrections,
    Doubt,
    Item,
    Line,
    Period,
    Usage,
    differences,
    doubts_of,
    in_order,
    totals,
)
from reconciler.errors import LedgerError, UsageError
from reconciler.ledger import schema
from reconciler.ledger.calendar import check_time_zone, date_at
from reconciler.ledger.decisions import org_names
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("usage_reader")


class Question(Struct, frozen=True, kw_only=True):
    """What is to be reckoned, and of whom."""

    period: Period
    time_zone: str = "Europe/Zurich"
    """Whose calendar days are billed."""
    as_of: datetime | None = None
    """Leaves out what was written later, prices too; None: nothing."""
    as_of_pass: int | None = None
    """The same by position: the number of the last pass or price change that counts."""
    org: str | None = None
    tenant: str | None = None
    """By name, or by a uid that it has or had."""
    bounds: bool = False
    """Also the least and the most days that the intervals of the rows allow."""
    longest_gap: timedelta = timedelta(minutes=15)
    """Between two passes, beyond which it is in doubt what was made and undone."""
    prices: bool = False
    """Also amounts, each day at the prices that are valid on it."""
    prices_of: date | datetime | None = None
    """Instead at the prices of the day of this: what the days would have cost."""


def usage(database: Database, question: Question) -> Usage:
    """What the events add up to. Raises LedgerError; UsageError where the question makes no sense."""
    question = _settled(database, question)
    with database.transaction(read_only=True) as transaction:
        return usage_in(transaction, database, question)


def groups(
    database: Database, question: Question, by: By, *, sort: Sort | None, top: int | None
) -> tuple[Usage, Grouped]:
    """The lines, and what they come to by organisation, tenant, skill, day or month.

    Raises as `usage` does.
    """
    question = _settled(database, question)
    with database.transaction(read_only=True) as transaction:
        found = usage_in(transaction, database, question)
        if by is not By.DAY:
            return found, grouped(found.lines, by, names=found.names.get, sort=sort, top=top)
        period, lives = found.period, _lives(transaction, question)
        rows = transaction.rows(
            _SQL["by_day"],
            *(period.start, (period.end - period.start).days),
            *(period.start, period.end, found.time_zone, found.as_of_pass, lives),
        )
    days = [
        Group(key=day.isoformat(), tenants=tenants, tenant_days=tenants, skill_days=skills)
        for day, tenants, skills in rows
    ]
    return found, ordered(days, total(found.lines), by, sort=sort, top=top)


def corrections(database: Database, question: Question) -> Corrections:
    """What was written later than its `as_of` made of it. Raises as `usage` does."""
    question = _settled(database, question)
    with database.transaction(read_only=True) as transaction:
        return corrections_in(transaction, database, question)


def corrections_in(transaction: Transaction, database: Database, question: Question) -> Corrections:
    """`corrections` in a transaction."""
    before = usage_in(transaction, database, question)
    now = usage_in(transaction, database, replace(question, as_of=None, as_of_pass=None))
    return Corrections(
        period=question.period,
        time_zone=question.time_zone,
        as_of=question.as_of,
        as_of_pass=before.as_of_pass,
        now_pass=now.as_of_pass,
        lines=list(differences(before.lines, now.lines)),
    )


def _settled(database: Database, question: Question) -> Question:
    """Once nothing can be written any more that would count as of then."""
    if question.as_of is None:
        return question
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        # What is being written has its time already, and cannot be seen yet.
        transaction.rows(_SQL["wait"])
        now = transaction.value("SELECT clock_timestamp()")
        ((is_standby, written),) = transaction.rows(_SQL["written_until"])
    if is_standby and (written is None or question.as_of > written):
        known = "nothing yet" if written is None else f"what was written up to {stamp(written)}"
        raise UsageError(
            f"as of {stamp(question.as_of)}: this standby knows {known}; ask the primary, or as "
            "of an earlier time"
        )
    if question.as_of > now + CLOCK_TOLERANCE:
        raise UsageError(f"as of {stamp(question.as_of)}: that is in the future")
    return replace(question, as_of=min(question.as_of, now))


def usage_in(transaction: Transaction, database: Database, question: Question) -> Usage:
    """`usage` in a transaction. An `as_of` has to lie far enough back that nothing is being written."""
    _check(transaction, database, question)
    period, as_of, prices_of = question.period, question.as_of, question.prices_of
    lives = _lives(transaction, question)
    if isinstance(prices_of, datetime):
        prices_of = date_at(transaction, prices_of, question.time_zone)
    position = _position(transaction, database, question)
    if transaction.value(_SQL["is_uncounted"]):
        # What is joined row by row because it seems to be empty takes thirty times as long.
        transaction.execute("SET LOCAL enable_nestloop = off")
    ((last_pass, until),) = transaction.rows(_SQL["last_look"], position)
    rows = transaction.rows(
        _SQL["lines"],
        *(period.start, period.end, question.time_zone, position, lives),
        *(True, prices_of, question.prices),
    )
    bounded = sorted((_line(row, prices=question.prices) for row in rows), key=in_order)
    lines = bounded if question.bounds else [_unbounded(line) for line in bounded if line.days]
    doubts = transaction.rows(
        _SQL["doubts"],
        *(period.start, period.end, question.time_zone, position, question.org, question.longest_gap),
        *(question.tenant, question.tenant, lives),
    )
    return Usage(
        period=period,
        time_zone=question.time_zone,
        as_of=as_of,
        as_of_pass=position,
        prices_of=prices_of,
        last_pass=last_pass,
        until=until,
        lines=lines,
        totals=list(totals(lines)),
        doubts=[*(_doubt(row) for row in doubts), *doubts_of(bounded)],
        names=org_names(transaction),
    )


def _position(transaction: Transaction, database: Database, question: Question) -> int:
    """The last pass or price change that counts."""
    if why := voided(transaction, question.as_of, question.as_of_pass):
        raise UsageError(f"as of {_told(question)}: {why}")
    last = transaction.value(_SQL["position"], question.as_of)
    position = last if question.as_of_pass is None else question.as_of_pass
    if last is None or not transaction.rows(_SQL["last_look"], position):
        then = ""
        if question.as_of is not None:
            then = f" that was written by {stamp(question.as_of)}"
        elif question.as_of_pass is not None:
            then = f" up to {question.as_of_pass}"
        raise LedgerError(f"{database} has no pass{then}, so there is nothing to count")
    if position > last:
        raise UsageError(f"as of pass {position}: the last pass is {last}")
    return int(position)


def voided(transaction: Transaction, as_of: datetime | None, as_of_pass: int | None) -> str | None:
    """If passes up to a time or a position were voided: when, by whom and why."""
    why: str | None = transaction.value(_SQL["voided"], as_of, as_of_pass)
    return why


def _told(question: Question) -> str:
    return stamp(question.as_of) if question.as_of else f"pass {question.as_of_pass}"


def _check(transaction: Transaction, database: Database, question: Question) -> None:
    schema.check_current(transaction, database)
    period = question.period
    if period.end <= period.start:
        raise UsageError(f"from {period.start} to {period.end}: --to must be after --from")
    check_time_zone(transaction, question.time_zone)
    if question.org is not None and not transaction.rows(_SQL["org"], question.org):
        raise UsageError(f"the ledger has no org {quoted(question.org)}")


def _lives(transaction: Transaction, question: Question) -> list[int] | None:
    """The lifecycles that are asked for; None: all. Raises UsageError for an unknown tenant."""
    if question.tenant is None:
        lives: list[int] | None = transaction.value(_SQL["lives"], question.org)
        return lives
    rows = transaction.rows(_SQL["tenant"], *[question.tenant] * 3)
    if not rows:
        raise UsageError(f"the ledger has no tenant {quoted(question.tenant)}")
    return [id_ for id_, org in rows if question.org in (None, org)]


def _doubt(row: Sequence[Any]) -> Doubt:
    kind, is_ready, org, tenant, lifecycle_id, since, until = row
    return Doubt(
        kind=kind,
        is_ready=is_ready,
        zitadel_org_id=org,
        tenant_name=tenant,
        lifecycle_id=lifecycle_id,
        since=since,
        until=until,
    )


def _unbounded(line: Line) -> Line:
    return replace(line, least_days=None, most_days=None, least_amount_chf=None, most_amount_chf=None)


def _line(row: Sequence[Any], *, prices: bool) -> Line:
    *who, item, skill, days, least, most, month_days = row[:10]
    price, amount, lowest, highest, priced, start, end, vat_rate = row[10:]
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
        period_start=start,
        period_end=end,
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
        vat_rate_chli=vat_rate,
    )
