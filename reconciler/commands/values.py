"""Reads the values of the command line: times and days. Raises UsageError, which names the flag."""

import re
from datetime import date, datetime
from typing import Final

from reconciler.core.rfc3339 import instant
from reconciler.core.text import quoted
from reconciler.errors import UsageError

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000


def given_time(
    flag: str, text: str | None, now: datetime, expected: str = "RFC 3339 or `now`"
) -> datetime | None:
    """A time of the command line: RFC 3339, or `now`. Raises UsageError."""
    if text is None or text == "now":
        return None if text is None else now
    try:
        time = instant(text)
    except ValueError:
        raise UsageError(f"{flag} {quoted(text)}: expected {expected}") from None
    _check_year(flag, text, time.year)
    return time


def given_day(flag: str, text: str) -> date:
    """A day of the command line, like 2026-10-01. Raises UsageError."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            pass
        else:
            _check_year(flag, text, day.year)
            return day
    raise UsageError(f"{flag} {quoted(text)}: expected a day like 2026-10-01")


def given_day_or_time(flag: str, text: str, now: datetime) -> date | datetime:
    """A day of the command line, or a time: RFC 3339, or `now`. Raises UsageError."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return given_day(flag, text)
    return given_time(flag, text, now, "a day like 2026-10-01, RFC 3339, or `now`") or now


def _check_year(flag: str, text: str, year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise UsageError(f"{flag} {quoted(text)}: expected a year from {FIRST_YEAR} to {LAST_YEAR}")
