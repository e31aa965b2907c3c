"""What the portal's rows add up to before the schema is there to add them up: for a dry run.

The same as `reconciler_portal_lives()` and `reconciler_derived_state()` in SQL, which later know them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.tenant import KnownState, Lifecycle, Snapshot

_MOMENT = timedelta(microseconds=1)


class PortalLifecycle(Struct, frozen=True):
    """A row of tenant_billing_lifecycle."""

    name: str
    org: str
    created_at: datetime
    deleted_at: datetime | None


class PortalEvent(Struct, frozen=True):
    """A row of one of the two tables of events."""

    name: str
    skill: str | None
    """None for a suspension."""
    is_on: bool
    occurred_at: datetime


class PortalLife(Struct, frozen=True):
    """A lifecycle as its rows leave it."""

    lifecycle: Lifecycle
    deleted_at: datetime | None


def lives(
    lifecycles: Iterable[PortalLifecycle], events: Iterable[PortalEvent], now: datetime
) -> Sequence[PortalLife]:
    """The portal's lifecycles, in the order in which they are given.

    Events come in the order of their times. Where a name has lived more than once, those up to the end
    of a life are its own, and those after it are of the next one.
    """
    given = list(lifecycles)
    of_name: dict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(given)), key=lambda number: given[number].created_at):
        of_name[given[number].name].append(number)
    on: dict[int, dict[str | None, bool]] = defaultdict(dict)
    last: dict[int, datetime] = {}
    for event in events:
        numbers = of_name.get(event.name)
        if numbers is not None:
            number = _life_at(event.occurred_at, numbers, given)
            on[number][event.skill] = event.is_on
            last[number] = max(event.occurred_at, last.get(number, event.occurred_at))
    return [_life(row, on[number], last.get(number), now) for number, row in enumerate(given)]


def _life_at(occurred_at: datetime, numbers: Sequence[int], given: Sequence[PortalLifecycle]) -> int:
    for number, following in pairwise(numbers):
        if occurred_at <= (given[number].deleted_at or given[following].created_at - _MOMENT):
            return number
    return numbers[-1]


def _life(
    row: PortalLifecycle, on: Mapping[str | None, bool], last: datetime | None, now: datetime
) -> PortalLife:
    lifecycle = Lifecycle(
        id=None,
        uid=None,
        name=row.name,
        org=row.org,
        created_at=row.created_at,
        skills=tuple(sorted(skill for skill, is_on in on.items() if is_on and skill is not None)),
        suspended=on.get(None, False),
        # The portal may have written times that have not come yet.
        changed_at=min(max(row.created_at, last or row.created_at), now),
        read_at=row.deleted_at,
    )
    return PortalLife(lifecycle, row.deleted_at)


def alive(found: Iterable[PortalLife]) -> Mapping[str, Lifecycle]:
    """Those that have not ended, by name."""
    return {life.lifecycle.name: life.lifecycle for life in found if life.deleted_at is None}


def gone(found: Iterable[PortalLife], snapshot: Snapshot, known: KnownState) -> Mapping[str, Lifecycle]:
    """The last lives of tenants in the snapshot that are not known to live, by uid.

    A life is a tenant's own where it has its name, and had not ended when the tenant began.
    """
    of_name: dict[str, list[PortalLife]] = defaultdict(list)
    for life in found:
        if life.deleted_at is not None:
            of_name[life.lifecycle.name].append(life)
    return {
        tenant.uid: replace(life.lifecycle, uid=tenant.uid)
        for tenant in snapshot.tenants
        if tenant.uid not in known.live and tenant.name not in known.adopted
        for life in of_name[tenant.name]
        if life.deleted_at is not None and tenant.created_at <= life.deleted_at
    }
