"""Calendar days of a time zone, as the database knows it. They need no table of the ledger."""

from datetime import date, datetime, timedelta
from typing import Final

from reconciler.core.history import Span
from reconciler.core.text import quoted
from reconciler.errors import UsageError
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("calendar")


def day(transaction: Transaction, date: date, time_zone: str) -> Span:
    """A calendar day, of 23, 24 or 25 hours. Raises UsageError for an unknown zone."""
    check_time_zone(transaction, time_zone)
    (starts,), (ends,) = transaction.rows(_SQL["midnights"], time_zone, [date, date + timedelta(days=1)])
    return Span(starts, ends)


def date_at(transaction: Transaction, instant: datetime, time_zone: str) -> date:
    """The calendar day at an instant. Raises UsageError for an unknown zone."""
    check_time_zone(transaction, time_zone)
    found: date = transaction.value(_SQL["date_at"], instant, time_zone)
    return found


def check_time_zone(transaction: Transaction, time_zone: str) -> None:
    """Raises UsageError for an unknown zone."""
    if not transaction.rows(_SQL["zone"], time_zone):
        raise UsageError(
            f"the database has no time zone {quoted(time_zone)}; expected one like Europe/Zurich"
        )
