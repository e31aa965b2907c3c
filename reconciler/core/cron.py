"""A CronJob's `schedule`, read as Kubernetes reads it (github.com/robfig/cron/v3, its standard parser).

Days of the week count from Sunday, 0 or 7. Where both the day of the month and the day of the week are
restricted, either will do; a field that begins with `*` and has no step restricts nothing.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST: Final = 5 * 366
"""Days that a schedule is looked ahead for; 29 February comes within them, except around 2100."""


class _Field(Struct, frozen=True):
    name: str
    lowest: int
    highest: int
    names: Sequence[str] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


class Schedule(Struct, frozen=True):
    """The times at which something is due, to the minute, in UTC."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    either_day: bool
    """Whether one of the two kinds of day is enough."""

    def after(self, time: datetime) -> datetime | None:
        """The first one after that time; None where there is none within five years."""
        start = time.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for number in range(_LONGEST):
            day = start.replace(hour=0, minute=0) + timedelta(days=number)
            if self._has_day(day):
                for due in self._of_day(day):
                    if due >= start:
                        return due
        return None

    def _has_day(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        found = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return any(found) if self.either_day else all(found)

    def _of_day(self, day: datetime) -> Iterator[datetime]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                yield day.replace(hour=hour, minute=minute)


def parse(text: str) -> Schedule:
    """Raises ValueError, which says what is wrong."""
    if re.match(r"(CRON_)?TZ=", text.strip()):
        raise ValueError("a time zone is not possible; like a CronJob's schedule, it is in UTC")
    if text.strip().startswith("@"):
        text = MACROS.get(text.strip(), "")
        if not text:
            raise ValueError(f"expected one of {', '.join(MACROS)}, or --interval for a fixed time")
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"expected five fields, got {len(parts)}")
    read = [_read(part, field) for part, field in zip(parts, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = (numbers for numbers, _ in read)
    return Schedule(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not (read[2][1] or read[4][1]),
    )


def _read(text: str, field: _Field) -> tuple[frozenset[int], bool]:
    """The numbers of a field, and whether it restricts nothing."""
    numbers: set[int] = set()
    is_any = False
    for part in filter(None, text.split(",")):
        span, slash, by = part.partition("/")
        first, dash, last = span.partition("-")
        step = _number(by, ()) if slash else 1
        is_star = span in ("*", "?")
        low: int | None
        high: int | None
        if is_star:
            # The 7 is another name of day 0 only.
            low, high = field.lowest, 6 if field.names is _DAYS else field.highest
        else:
            low = _number(first, field.names, field.lowest)
            high = _number(last, field.names, field.lowest) if dash else low
            if slash and not dash:
                high = 6 if field.names is _DAYS else field.highest
        if step is None or low is None or high is None:
            raise ValueError(f"{part} is no {field.name}")
        if step == 0 or not field.lowest <= low <= high <= field.highest:
            raise ValueError(
                f"{part} is no {field.name}: expected {field.lowest} to {field.highest}, "
                "the lower one first, and a step above 0"
            )
        is_any = is_any or (is_star and step == 1)
        numbers.update(range(low, high + 1, step))
    if not numbers:
        raise ValueError(f"{text} is no {field.name}")
    return frozenset(numbers), is_any


def _number(text: str, names: Sequence[str], lowest: int = 0) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + lowest
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else None
