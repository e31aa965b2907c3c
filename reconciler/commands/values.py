"""Reads the values of the command line. Raises UsageError, which names the flag."""

import getpass
import os
import re
from datetime import date, datetime, timedelta
from typing import Final

from reconciler.commands.parts import Parts
from reconciler.core.history import Span
from reconciler.core.rfc3339 import instant
from reconciler.core.text import quoted
from reconciler.core.usage import Period
from reconciler.errors import UsageError
from reconciler.ledger import calendar

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def given_time(parts: Parts, flag: str, text: str | None) -> datetime | None:
    """A TIME: RFC 3339, a day (its start in the time zone), or `now`. None if it was not given."""
    if text is None or text == "now":
        return None if text is None else parts.now
    if _DAY.fullmatch(text):
        return day_span(parts, _date(flag, text)).start
    return _instant(flag, text)


def given_span(parts: Parts, flag: str, text: str) -> Span:
    """A TIME, where a day stands for all of it; any other one is the span of that instant."""
    if _DAY.fullmatch(text):
        return day_span(parts, _date(flag, text))
    time = parts.now if text == "now" else _instant(flag, text)
    return Span(time, time + timedelta(microseconds=1))


def given_day(parts: Parts, flag: str, text: str) -> date:
    """A DAY: like 2026-10-01, `now` for today, or RFC 3339 where a day starts then in the time zone."""
    day = given_day_of(parts, flag, text)
    assert day is not None  # noqa: S101 - it was given
    if not _DAY.fullmatch(text) and text != "now" and day_span(parts, day).start != instant(text):
        raise UsageError(
            f"{flag} {quoted(text)}: whole days are counted, and {day} of {parts.settings.time_zone} "
            f"starts at another time; give the day, like {day}"
        )
    return day


def given_day_of(parts: Parts, flag: str, text: str | None) -> date | None:
    """A TIME, as the day in which it falls in the time zone. None if it was not given."""
    if text is None:
        return None
    if _DAY.fullmatch(text):
        return _date(flag, text)
    time = parts.now if text == "now" else _instant(flag, text)
    with parts.database.transaction(read_only=True) as transaction:
        return calendar.date_at(transaction, time, parts.settings.time_zone)


def given_month(flag: str, text: str) -> Period:
    """A month like 2026-10."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text, re.ASCII):
        raise UsageError(f"{flag} {quoted(text)}: expected a month like 2026-10")
    year, month = map(int, text.split("-"))
    _check_year(flag, text, year)
    return Period.month(year, month)


def day_span(parts: Parts, day: date) -> Span:
    """A calendar day of the time zone."""
    with parts.database.transaction(read_only=True) as transaction:
        return calendar.day(transaction, day, parts.settings.time_zone)


def decided_by(name: str | None) -> str:
    """Who goes on record for a decision: `--by`, or the user of the operating system."""
    if name is not None and name.strip():
        return name.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _date(flag: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag} {quoted(text)}: there is no such day") from None
    _check_year(flag, text, day.year)
    return day


def _instant(flag: str, text: str) -> datetime:
    try:
        time = instant(text)
    except ValueError:
        raise UsageError(
            f"{flag} {quoted(text)}: expected a time like 2026-11-01T06:00:00Z, a day like "
            "2026-11-01, or `now`"
        ) from None
    _check_year(flag, text, time.year)
    return time


def _check_year(flag: str, text: str, year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise UsageError(f"{flag} {quoted(text)}: expected a year from {FIRST_YEAR} to {LAST_YEAR}")
