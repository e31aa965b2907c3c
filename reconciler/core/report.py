"""What a report shows besides the lines of `usage`: each day of each line, and the fleet by day."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

from reconciler.core.history import Answer, Gap
from reconciler.core.usage import Corrections, Item, Line, Total, Usage


class Day(StrEnum):
    """What is known of one day of a line. The values are the letters of a `strip`."""

    COUNTED = "c"
    UNCERTAIN = "u"
    """The intervals of the rows allow both."""
    SUSPENDED = "s"
    OFF = "n"
    UNSEEN = "x"
    """No pass has looked since, or none looked at all that day."""


class Bits(Struct, frozen=True):
    """The days of a line, `1` where a day counts: at the best known times, at least and at most."""

    best: str
    least: str
    most: str


@lru_cache(maxsize=4096)  # most tenants have the same days
def strip(bits: Bits, *, alive: str, active: str, unseen: str) -> str:
    """A letter of `Day` for each day of a period.

    `alive` and `active` are the days on which the tenant lived and on which it was billable, `unseen`
    those of which nothing is known.
    """
    each = zip(bits.best, bits.least, bits.most, alive, active, unseen, strict=True)
    return "".join(_letter(day) for day in each)


def _letter(day: tuple[str, ...]) -> Day:
    match day:
        case (_, _, "0", _, _, "1"):
            return Day.UNSEEN
        case (_, least, most, *_) if least != most:
            return Day.UNCERTAIN
        case ("1", *_):
            return Day.COUNTED
        case (_, _, _, "1", "0", _):
            return Day.SUSPENDED
        case _:
            return Day.OFF


def touched(start: datetime, end: datetime | None, midnights: Sequence[datetime]) -> str:
    """`1` for each day that a span touches; the midnights are those between and around the days."""
    return "".join(
        "1" if start < next_day and (end is None or end > day or start >= day) else "0"
        for day, next_day in pairwise(midnights)
    )


def covered(spans: Sequence[tuple[datetime, datetime]], midnights: Sequence[datetime]) -> str:
    """`1` for each day that lies in one of the spans from its first to its last instant."""
    return "".join(
        "1" if any(start <= day and next_day <= end for start, end in spans) else "0"
        for day, next_day in pairwise(midnights)
    )


class Subject(Struct, frozen=True, kw_only=True):
    """All lines of one item of one lifecycle in the period, and its days."""

    item: Item
    skill_id: str | None
    lines: Sequence[Line]
    strip: str
    """A letter of `Day` for each day; empty for a set-up fee."""

    @property
    def days(self) -> int:
        return sum(line.days for line in self.lines)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most days."""
        return (
            sum(line.least_days or 0 for line in self.lines),
            sum(line.most_days or 0 for line in self.lines),
        )

    @property
    def amount(self) -> Decimal:
        return sum((line.amount_chf or Decimal(0) for line in self.lines), Decimal("0.00"))

    @property
    def amounts(self) -> tuple[Decimal, Decimal]:
        """The least and the most, in CHF without VAT."""
        return (
            sum((line.least_amount_chf or Decimal(0) for line in self.lines), Decimal("0.00")),
            sum((line.most_amount_chf or Decimal(0) for line in self.lines), Decimal("0.00")),
        )


class TenantStatement(Struct, frozen=True, kw_only=True):
    """One lifecycle in the period: what is billed, and the rows that say so."""

    lifecycle_id: int
    tenant_name: str
    tenant_uid: str | None
    subjects: Sequence[Subject]
    answer: Answer
    """Whether it was billable in the period, with the rows that decide it."""

    @property
    def amount(self) -> Decimal:
        return sum((subject.amount for subject in self.subjects), Decimal("0.00"))


class Standing(Struct, frozen=True, kw_only=True):
    """What a report was computed from."""

    usage: Usage
    """Of the organisation, or of all."""
    digest: str | None
    """Of the last pass, as `verify --deep` prints it; None where it has none."""
    gaps: Sequence[Gap]
    """Of the period: spans in which changes may be missing."""
    made_at: datetime


class Statement(Struct, frozen=True, kw_only=True):
    """One organisation in one month."""

    standing: Standing
    org: str
    org_name: str | None
    tenants: Sequence[TenantStatement]
    corrections: Corrections | None
    """What was written since the month was closed; None: it was not closed."""

    @property
    def bounds(self) -> tuple[Decimal, Decimal]:
        """The least and the most that the lines can come to, in CHF without VAT."""
        amounts = [subject.amounts for tenant in self.tenants for subject in tenant.subjects]
        return (
            sum((least for least, _ in amounts), Decimal("0.00")),
            sum((most for _, most in amounts), Decimal("0.00")),
        )


class FleetDay(Struct, frozen=True, kw_only=True):
    """All tenants on one day."""

    day: date
    alive: int
    """At its end, or when the last pass looked."""
    active: int
    """Billable at some instant of it."""
    suspended: int
    """At its end, or when the last pass looked."""
    created: int
    deleted: int


class SkillShare(Struct, frozen=True, kw_only=True):
    """One skill in the period."""

    skill_id: str
    tenants: int
    days: int
    amount: Decimal


class OrgShare(Struct, frozen=True, kw_only=True):
    """One organisation in the period."""

    org: str
    name: str | None
    tenants: int
    net: Decimal
    gross: Decimal


class Fleet(Struct, frozen=True, kw_only=True):
    """All organisations in one month."""

    standing: Standing
    days: Sequence[FleetDay]
    """Those that have begun."""
    names: Mapping[str, str]
    """Of organisations, by id."""

    @property
    def skills(self) -> Sequence[SkillShare]:
        """By the number of their tenants."""
        of: dict[str, list[Line]] = {}
        for line in self.standing.usage.lines:
            if line.skill_id is not None and line.days:
                of.setdefault(line.skill_id, []).append(line)
        shares = [
            SkillShare(
                skill_id=skill,
                tenants=len({line.lifecycle_id for line in lines}),
                days=sum(line.days for line in lines),
                amount=sum((line.amount_chf or Decimal(0) for line in lines), Decimal("0.00")),
            )
            for skill, lines in of.items()
        ]
        return sorted(shares, key=lambda one: (-one.tenants, one.skill_id))

    @property
    def orgs(self) -> Sequence[OrgShare]:
        """By what they pay."""
        tenants: dict[str, set[int]] = {}
        for line in self.standing.usage.lines:
            if line.days:
                tenants.setdefault(line.zitadel_org_id, set()).add(line.lifecycle_id)
        totals: dict[str, list[Total]] = {}
        for total in self.standing.usage.totals:
            totals.setdefault(total.zitadel_org_id, []).append(total)
        shares = [
            OrgShare(
                org=org,
                name=self.names.get(org),
                tenants=len(tenants.get(org, ())),
                net=sum((total.net_chf for total in of), Decimal("0.00")),
                gross=sum((total.gross_chf for total in of), Decimal("0.00")),
            )
            for org, of in totals.items()
        ]
        return sorted(shares, key=lambda one: (-one.net, one.org))
