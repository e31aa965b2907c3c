"""Was it billable then, and why? Answered from the rows of a lifecycle alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.history import Answer, Span, WrittenLifecycle, WrittenRow, answer, within
from reconciler.core.kinds import Kind

START = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=20)


def day(number: float) -> datetime:
    """So many days after the first."""
    return START + timedelta(days=number)


ON, OFF, PAUSED, RESUMED = Kind.ENABLED, Kind.DISABLED, Kind.SUSPENDED, Kind.RESUMED


def lifecycle(
    *rows: tuple[float, Kind], created: float = 1, deleted: float | None = None
) -> WrittenLifecycle:
    """Of a tenant with one skill."""
    told = [WrittenRow(kind=Kind.CREATED, occurred_at=day(created))]
    told += [
        WrittenRow(kind=kind, occurred_at=day(at), skill_id="mail" if kind in (ON, OFF) else None)
        for at, kind in rows
    ]
    if deleted is not None:
        told.append(WrittenRow(kind=Kind.DELETED, occurred_at=day(deleted)))
    return WrittenLifecycle(
        id=1,
        tenant_name="aare",
        tenant_uid="A",
        zitadel_org_id="org",
        cluster_uid=None,
        created_at=day(created),
        deleted_at=None if deleted is None else day(deleted),
        rows=told,
    )


def asked(one: WrittenLifecycle, on: float, length: float = 1) -> Answer:
    return answer(one, Span(day(on), day(on + length)), UNTIL)


LIVES: dict[str, tuple[WrittenLifecycle, bool, bool]] = {
    "it lives, with the skill": (lifecycle((1, ON)), True, True),
    "it lives, without": (lifecycle(), True, False),
    "it is not there yet": (lifecycle((6, ON), created=6), False, False),
    "it is created that day": (lifecycle((5.9, ON), created=5.9), True, True),
    "it is deleted before": (lifecycle((1, ON), deleted=4), False, False),
    "it is deleted as the day begins": (lifecycle((1, ON), deleted=5), False, False),
    "it is deleted that day": (lifecycle((1, ON), deleted=5.1), True, True),
    "it lives for an instant of that day": (lifecycle((5.5, ON), created=5.5, deleted=5.5), True, True),
    "the skill goes before": (lifecycle((1, ON), (5, OFF)), True, False),
    "the skill goes that day": (lifecycle((1, ON), (5.1, OFF)), True, True),
    "the skill comes after": (lifecycle((6, ON)), True, False),
    "the skill comes and goes that day": (lifecycle((5.1, ON), (5.2, OFF)), True, True),
    "the skill comes and goes in one instant": (lifecycle((5.1, ON), (5.1, OFF)), True, True),
    "it is suspended throughout": (lifecycle((1, ON), (4, PAUSED)), False, False),
    "it is suspended to the day's end": (lifecycle((1, ON), (5, PAUSED), (6, RESUMED)), False, False),
    "it is suspended for a part": (lifecycle((1, ON), (5, PAUSED), (5.9, RESUMED)), True, True),
    "it is suspended from its creation": (lifecycle((1, ON), (1, PAUSED)), False, False),
    "the skill was on only while suspended": (
        lifecycle((4, PAUSED), (5.1, ON), (5.2, OFF), (5.5, RESUMED)),
        True,
        False,
    ),
    "it is suspended and resumed in one instant": (
        lifecycle((1, ON), (5.1, PAUSED), (5.1, RESUMED)),
        True,
        True,
    ),
}


@pytest.mark.parametrize(("one", "tenant", "skill"), LIVES.values(), ids=LIVES)
def test_a_day_counts_where_it_was_so_at_some_instant_of_it(
    one: WrittenLifecycle, *, tenant: bool, skill: bool
) -> None:
    told = asked(one, 5)
    assert told.is_billable is tenant
    assert any(of.is_billable for of in told.skills) is skill


def told_of(rows: Sequence[WrittenRow]) -> list[tuple[Kind, datetime]]:
    return [(row.kind, row.occurred_at) for row in rows]


def test_the_rows_that_make_it_so_are_the_last_before_and_those_within() -> None:
    one = lifecycle((1, ON), (2, OFF), (3, ON), (5.5, OFF), (7, ON), (4, PAUSED), (4.5, RESUMED))
    told = asked(one, 5)
    assert told_of(told.rows) == [(Kind.CREATED, day(1)), (RESUMED, day(4.5))]
    assert told_of(told.skills[0].rows) == [(ON, day(3)), (OFF, day(5.5))]
    assert told.because == "it lived, and was not suspended"


def test_an_instant_is_asked_about_as_a_day_is() -> None:
    one = lifecycle((1, ON), (5.5, OFF))
    moment = 1 / 86_400_000_000
    assert asked(one, 5.4, moment).skills[0].is_billable
    assert not asked(one, 5.5, moment).skills[0].is_billable


def test_a_span_shows_who_lived_in_it_with_the_rows_of_it() -> None:
    gone, there = lifecycle((1, ON), deleted=3), lifecycle((3, ON), (5, OFF), created=3)
    (shown,) = within([gone, there], Span(day(4), day(9)))
    assert told_of(shown.rows) == [(OFF, day(5))]
