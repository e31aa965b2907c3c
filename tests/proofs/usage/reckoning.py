"""What a ledger's rows add up to, reckoned the obvious way: day by day, instant by instant.

Slow, and written from the README's table alone: nothing here knows the SQL, and no instant is skipped
because of what an interval next to it says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

Bound = Literal["best", "least", "most"]
OPPOSITE: Mapping[Bound, Bound] = {"best": "best", "least": "most", "most": "least"}
COLUMNS = {
    "setup_fee": "tenant_setup_fee_chf",
    "monthly_fee": "tenant_monthly_fee_chf",
    "skill": "daily_price_chf",
}


@dataclass(frozen=True, kw_only=True)
class Pass:
    id: int
    asked_at: datetime
    observed_at: datetime
    written_at: datetime


@dataclass(frozen=True, kw_only=True)
class Event:
    """A row of one of the two tables of events; the portal's has neither pass nor ordinal."""

    id: int
    tenant: str
    skill: str | None
    """None: a suspension."""
    on: bool
    """Enabled, or suspended."""
    at: datetime
    lifecycle: int | None = None
    ordinal: int | None = None
    not_before: datetime | None = None
    observed_at: datetime | None = None
    source: str | None = None
    pass_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Deletion:
    at: datetime
    not_before: datetime | None
    observed_at: datetime | None
    pass_id: int | None
    withdrawn_by: int | None = None
    """The pass in which an operator reopened it."""


@dataclass(frozen=True, kw_only=True)
class Life:
    id: int
    org: str
    tenant: str
    created_at: datetime
    pass_id: int | None
    """None: the portal wrote it."""
    deletions: Sequence[Deletion] = ()
    moved: bool = False
    not_before: datetime | None = None
    """Of the creation; None: it is exact."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What somebody set a price to; its number is one of those of the passes."""

    id: int
    column: str
    skill: str | None
    value: Decimal | None
    """None: from then on it has no price."""
    valid_from: date | None
    """None: for all days before, too."""
    recorded_at: datetime


UNSET = {
    "tenant_monthly_fee_chf": Decimal(0),
    "tenant_setup_fee_chf": Decimal(0),
    "vat_rate_chli": Decimal("8.10"),
}
"""What these are until somebody sets them."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Everything that a ledger holds."""

    passes: Sequence[Pass]
    lives: Sequence[Life]
    events: Sequence[Event]
    prices: Sequence[Price] = ()


class Line(NamedTuple):
    """Of one month, and of days in a row that have one price and one rate of VAT."""

    org: str
    tenant: str
    lifecycle: int
    item: str
    skill: str | None
    start: date
    end: date
    days: int
    least: int
    most: int
    price: Decimal
    amount: Decimal
    vat_rate: Decimal


def position(rows: Rows, as_of: datetime | None) -> int:
    """The number of the last pass or price before the first that was written after as_of."""
    written = [(one.id, one.written_at) for one in rows.passes]
    written += [(one.id, one.recorded_at) for one in rows.prices]
    too_late = [number for number, at in written if as_of is not None and at > as_of]
    return max(number for number, _ in written if number < min(too_late, default=number + 1))


def price_on(rows: Rows, day: date, known: int, column: str, skill: str | None = None) -> Decimal | None:
    """The latest of the values from that day or before; of one day's, the last recorded."""
    found = [
        (one.valid_from or date.min, one.id, one.value)
        for one in rows.prices
        if one.id <= known
        and (one.column, one.skill) == (column, skill)
        and (one.valid_from is None or one.valid_from <= day)
    ]
    value = max(found)[2] if found else None
    return UNSET.get(column) if value is None else value


def lines(
    rows: Rows, start: date, end: date, zone: ZoneInfo, known: int, prices_of: date | None = None
) -> list[Line]:
    """The lines of some days of one month, without an order."""
    first, following = start.replace(day=1), (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    recorded = known if prices_of is None else max((one.id for one in rows.prices), default=0)
    found = []
    for life in rows.lives:
        of = {bound: OfItsOrg(rows, life, zone, known, bound) for bound in OPPOSITE}
        skills = sorted({event.skill for event in of["best"].events if event.skill is not None})
        for item, skill in [
            ("setup_fee", None),
            ("monthly_fee", None),
            *(("skill", one) for one in skills),
        ]:
            costs = [
                (
                    price_on(rows, prices_of or day, recorded, COLUMNS[item], skill),
                    price_on(rows, prices_of or day, recorded, "vat_rate_chli") or Decimal(0),
                    day,
                )
                for day in each_day(start, end)
            ]
            for (price, vat_rate), in_a_row in groupby(costs, lambda one: one[:2]):
                days = [day for *_, day in in_a_row]
                best, least, most = (
                    sum(one.is_set_up_on(day) for day in days)
                    if item == "setup_fee"
                    else sum(one.counts(day, skill) for day in days)
                    for one in of.values()
                )
                if max(best, most) == 0:
                    continue
                of_month = (following - first).days if item == "monthly_fee" else 1
                line = Line(
                    org=life.org,
                    tenant=life.tenant,
                    lifecycle=life.id,
                    item=item,
                    skill=skill,
                    start=days[0],
                    end=days[-1] + timedelta(days=1),
                    days=best,
                    least=min(least, best),
                    most=max(most, best),
                    price=price or Decimal(0),
                    amount=half_up(Fraction(price or 0) * best / of_month),
                    vat_rate=vat_rate,
                )
                found.append(line)
    return found


def totals(found: Sequence[Line]) -> set[tuple[str, Decimal, Decimal, Decimal, Decimal]]:
    """Of each organisation and rate: net, the rate, VAT on it, and the two together."""
    nets: dict[tuple[str, Decimal], Decimal] = {}
    for line in found:
        nets[line.org, line.vat_rate] = nets.get((line.org, line.vat_rate), Decimal(0)) + line.amount
    of_rates = set()
    for (org, rate), net in nets.items():
        vat = half_up(Fraction(net) * Fraction(rate) / 100)
        of_rates.add((org, net, rate, vat, net + vat))
    return of_rates


class Reckoning:
    """One lifecycle, as the ledger stood, each row at its best time or at one end of its interval."""

    def __init__(self, rows: Rows, life: Life, zone: ZoneInfo, known: int | None, bound: Bound) -> None:
        self._life, self._zone, self._bound = life, zone, bound
        self._passes = {one.id for one in rows.passes if known is None or one.id <= known}
        last = max(self._passes, default=None)
        self._end = next((one.observed_at for one in rows.passes if one.id == last), None)
        self.events = [event for event in rows.events if self._is_mine(event) and self._is_in(event)]
        # The portal's rows come first; ours have ordinals.
        self.events.sort(key=lambda one: (one.ordinal is not None, one.ordinal or 0, one.at, one.id))
        self._of = {
            skill: [(event, self._time(event)) for event in self.events if event.skill == skill]
            for skill in {event.skill for event in self.events} | {None}
        }
        self._created_at = life.created_at
        if bound == "most" and life.not_before is not None:
            self._created_at = life.not_before
        self._turns = {self._created_at, *(at for of in self._of.values() for _, at in of)}

    def is_set_up_on(self, day: date) -> bool:
        at = self._life.created_at
        known = self._end is not None and at < self._end
        return self._is_begun() and known and not self._life.moved and self._day(at) == day

    def counts(self, day: date, skill: str | None) -> bool:
        """Whether the skill counts for that day; None: whether the day is billable."""
        return self._is_begun() and any(
            self._lives(instant)
            and not self._is_suspended(instant)
            and (skill is None or self._is_enabled(skill, instant))
            for instant in self._instants(day)
        )

    def _instants(self, day: date) -> Iterator[datetime]:
        """The day's first instant, and each of it at which something begins or ends: what holds at no
        one of these holds at none."""
        turns = [first_instant(day, self._zone), *self._turns]
        for instant in turns:
            if self._end is not None and instant < self._end and self._day(instant) == day:
                yield instant

    def _day(self, instant: datetime) -> date:
        return instant.astimezone(self._zone).date()

    def _is_mine(self, event: Event) -> bool:
        if event.lifecycle is None:
            return self._life.pass_id is None and event.tenant == self._life.tenant
        return event.lifecycle == self._life.id

    def _is_in(self, event: Event) -> bool:
        return event.pass_id is None or event.pass_id in self._passes

    def _is_begun(self) -> bool:
        return self._life.pass_id is None or self._life.pass_id in self._passes

    def _time(self, event: Event) -> datetime:
        begins = event.on == (event.skill is not None)
        if event.pass_id is None or self._bound == "best":
            return event.at
        if begins == (self._bound == "most"):
            return event.not_before or event.at
        if event.source == "creation":
            return event.observed_at or event.at
        return event.at

    def _lives(self, instant: datetime) -> bool:
        end = None
        for deletion in self._life.deletions:
            written = deletion.pass_id is None or deletion.pass_id in self._passes
            if written and deletion.withdrawn_by not in self._passes:
                end = deletion.at
                if self._bound == "least" and deletion.not_before is not None:
                    end = deletion.not_before
        if end is not None and end <= self._life.created_at:
            # Of no length: it holds its instant.
            return self._created_at <= instant <= self._life.created_at
        return self._created_at <= instant and (end is None or instant < end)

    def _is_suspended(self, instant: datetime) -> bool:
        before = [event.on for event, at in self._of[None] if at <= instant]
        return bool(before) and before[-1]

    def _is_enabled(self, skill: str, instant: datetime) -> bool:
        of = self._of.get(skill, [])
        for number, (event, at) in enumerate(of):
            if not event.on:
                continue
            until = min((later for _, later in of[number + 1 :]), default=None)
            if until is not None and event.ordinal is not None:
                until = max(until, at)
            if at <= instant and (until is None or instant < until):
                return True
            if at == instant == until:
                return True
        return False


class OfItsOrg(Reckoning):
    """A lifecycle without the days that count for the organisation that its tenant moved to."""

    def __init__(self, rows: Rows, life: Life, zone: ZoneInfo, known: int, bound: Bound) -> None:
        super().__init__(rows, life, zone, known, bound)
        self._later = [
            Reckoning(rows, one, zone, known, OPPOSITE[bound]) for one in _moved_to(rows, life)
        ]

    def counts(self, day: date, skill: str | None) -> bool:
        return super().counts(day, skill) and not any(one.counts(day, skill) for one in self._later)


def _moved_to(rows: Rows, life: Life) -> Iterator[Life]:
    """Each lifecycle that the tenant went on in, from move to move."""
    for one in rows.lives:
        if one.id > life.id:
            if not one.moved:
                return
            yield one


def each_day(start: date, end: date) -> Iterator[date]:
    while start < end:
        yield start
        start += timedelta(days=1)


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(ZoneInfo("UTC"))


def half_up(amount: Fraction) -> Decimal:
    """To 0.01."""
    rappen = (amount * 100 + Fraction(1, 2)) // 1
    return Decimal(rappen) / 100
