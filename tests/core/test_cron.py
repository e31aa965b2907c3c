"""`--cron` means what a CronJob's schedule means: github.com/robfig/cron/v3, its standard parser."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from reconciler.core.cron import parse

# 22 November 2026 is a Sunday.
START = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)

NEXT = {
    "* * * * *": "2026-11-22 12:31",
    "*/5 * * * *": "2026-11-22 12:35",
    "0 * * * *": "2026-11-22 13:00",
    "@hourly": "2026-11-22 13:00",
    "@daily": "2026-11-23 00:00",
    "@midnight": "2026-11-23 00:00",
    "@weekly": "2026-11-29 00:00",
    "@monthly": "2026-12-01 00:00",
    "@yearly": "2027-01-01 00:00",
    "@annually": "2027-01-01 00:00",
    # Days of the week: 0, 7 and the name are Sunday.
    "0 6 * * 0": "2026-11-29 06:00",
    "0 6 * * 7": "2026-11-29 06:00",
    "0 6 * * sun": "2026-11-29 06:00",
    "0 6 * * SUN": "2026-11-29 06:00",
    "0 6 * * 1": "2026-11-23 06:00",
    "0 6 * * Mon": "2026-11-23 06:00",
    "0 6 * * 1-5": "2026-11-23 06:00",
    "0 6 * * fri-sat": "2026-11-27 06:00",
    "0 6 * * 5-7": "2026-11-27 06:00",
    "0 6 * * 6/1": "2026-11-28 06:00",
    # Both kinds of day restricted: either will do.
    "0 6 1 * 1": "2026-11-23 06:00",
    "0 6 1 * 0": "2026-11-29 06:00",
    "0 6 24 * 5": "2026-11-24 06:00",
    # A star with a step restricts; one without does not, nor does ?.
    "0 6 */2 * 1": "2026-11-23 06:00",
    "0 6 */1 * 1": "2026-11-23 06:00",
    "0 6 ? * 2": "2026-11-24 06:00",
    "0 6 24 * ?": "2026-11-24 06:00",
    "0 6 13 * */3": "2026-11-25 06:00",
    # Names, ranges, lists and steps.
    "0 0 1 jan *": "2027-01-01 00:00",
    "0 0 1 JAN,Mar *": "2027-01-01 00:00",
    "10-20/5 13 * * *": "2026-11-22 13:10",
    "50/5 * * * *": "2026-11-22 12:50",
    "5,40 * * * *": "2026-11-22 12:40",
    "0 0 29 2 *": "2028-02-29 00:00",
    "0 0 31 * *": "2026-12-31 00:00",
}


@pytest.mark.parametrize("text", NEXT)
def test_the_next_time_is_the_cron_job_s(text: str) -> None:
    due = parse(text).after(START)
    assert due is not None
    assert f"{due:%Y-%m-%d %H:%M}" == NEXT[text]


REFUSED = (
    *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *"),
    *("* * * 0 *", "* * * 13 *", "* * * * 8", "* * * * fri-mon", "5-1 * * * *", "*/0 * * * *"),
    *("a * * * *", "* * * * foo", "1-2-3 * * * *", "*/2/3 * * * *", "-1 * * * *", ", * * * *"),
    *("@reboot", "@every 5m", "TZ=Europe/Zurich 0 6 * * *", "CRON_TZ=UTC 0 6 * * *", "* * L * *"),
    *("0 6 * * 1#2", "1.5 * * * *", "0 6 15W * *", "jan * * * *", "* * * * 1/"),
)


@pytest.mark.parametrize("text", REFUSED)
def test_what_a_cron_job_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_a_day_that_never_comes_is_none() -> None:
    assert parse("0 0 31 2 *").after(START) is None


# An oracle that goes through the minutes, and reads each field in a way of its own.


def matches(field: str, value: int, names: str = "", highest: int = 59) -> bool:
    for number, name in enumerate(names.split()):
        field = field.replace(name, str(number if names.startswith("sun") else number + 1))
    for item in field.split(","):
        span, _, step = item.partition("/")
        if span in ("*", "?"):
            low = 1 if highest in (31, 12) else 0
            within = (value - low) % int(step or 1) == 0
        elif "-" in span:
            low, high = map(int, span.split("-"))
            within = low <= value <= high and (value - low) % int(step or 1) == 0
        elif step:
            within = int(span) <= value <= highest and (value - int(span)) % int(step) == 0
        else:
            within = value == int(span)
        if within:
            return True
    return False


def is_due(text: str, time: datetime) -> bool:
    minute, hour, day, month, weekday = text.split()
    names = "sun mon tue wed thu fri sat"
    sunday = time.isoweekday() % 7
    by_day = matches(day, time.day, highest=31)
    by_weekday = matches(weekday, sunday, names, 6) or (sunday == 0 and matches(weekday, 7, names, 6))
    free = {"*", "?", "*/1", "?/1"}
    days = by_day and by_weekday if {day, weekday} & free else by_day or by_weekday
    months = "jan feb mar apr may jun jul aug sep oct nov dec"
    return (
        matches(minute, time.minute)
        and matches(hour, time.hour, highest=23)
        and days
        and matches(month, time.month, months, 12)
    )


def schedules(chance: Random) -> Iterator[str]:
    def field(low: int, high: int, names: str = "") -> str:
        first = chance.randint(low, high)
        last = chance.randint(first, high)
        found = [
            *("*", "*", "?", str(first), f"{first}-{last}", f"{first},{last}"),
            *(f"*/{chance.randint(1, 6)}", f"{first}/{chance.randint(1, 6)}"),
            f"{first}-{last}/{chance.randint(1, 4)}",
        ]
        if names:
            found.append(chance.choice(names.split()))
        return chance.choice(found)

    while True:
        yield " ".join(
            (
                *(field(0, 59), field(0, 23), field(1, 31)),
                field(1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
                field(0, chance.choice((6, 7)), "sun mon tue wed thu fri sat"),
            )
        )


@pytest.mark.parametrize("seed", range(4))
def test_the_times_are_those_of_an_oracle_that_looks_at_every_minute(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - a schedule is no secret
    checked = 0
    for text, _ in zip(schedules(chance), range(60), strict=False):
        schedule, time = parse(text), START + timedelta(minutes=chance.randint(0, 500_000))
        due = schedule.after(time)
        for minutes in range(1, 6 * 1440):
            minute = time + timedelta(minutes=minutes)
            if is_due(text, minute):
                assert due == minute, text
                checked += 1
                break
        else:
            assert due is None or due > time + timedelta(days=5.9), text
    assert checked > 15
