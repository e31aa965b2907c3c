"""Skill-days: in calendar days of Europe/Zurich, each of a skill that was on at some instant of the day.

Reckoned from true changes and from a ledger's rows alike. A skill is on while it is enabled, its tenant
lives, and the tenant is not suspended.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.proofs.truth.evidence import EPOCH


class Event(NamedTuple):
    """In the order of time; of one instant, the deletion comes last."""

    at: int
    kind: str
    uid: str
    skill: str | None


SkillDay = tuple[str, str, int]
"""Tenant's uid, skill, number of the day."""


def skill_days(events: Iterable[Event], end: int) -> set[SkillDay]:
    """The days up to the end, in microseconds."""
    days: set[SkillDay] = set()
    of_tenant: dict[str, list[Event]] = {}
    for event in events:
        of_tenant.setdefault(event.uid, []).append(event)
    for uid, mine in of_tenant.items():
        mine.sort(key=lambda event: (event.at, event.kind == "deleted"))
        enabled: set[str] = set()
        suspended, since = False, 0
        for event in [*mine, Event(end, "deleted", uid, None)]:
            if since < event.at and enabled and not suspended:
                of = range(_day(since), _day(event.at - 1) + 1)
                days.update((uid, skill, day) for skill in enabled for day in of)
            since = event.at
            match event.kind:
                case "enabled":
                    enabled.add(event.skill or "")
                case "disabled":
                    enabled.discard(event.skill or "")
                case "suspended" | "resumed":
                    suspended = event.kind == "suspended"
                case "deleted":
                    break
    return days


def _day(at: int) -> int:
    return bisect_right(_midnights(), at)


@cache
def _midnights() -> list[int]:
    """Zurich's, from 2025 to 2028."""
    zurich, first = ZoneInfo("Europe/Zurich"), datetime(2025, 1, 1)  # noqa: DTZ001 - the zone follows
    days = ((first + timedelta(days=number)).replace(tzinfo=zurich) for number in range(3 * 366))
    return [(day - EPOCH) // datetime.resolution for day in days]
