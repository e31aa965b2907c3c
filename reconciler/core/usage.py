"""What the events add up to, as values: lines, totals, and how two reckonings of them differ."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import groupby

from msgspec import Struct


class Period(Struct, frozen=True):
    """Calendar days, half-open: October is (2026-10-01, 2026-11-01)."""

    start: date
    end: date

    @classmethod
    def month(cls, year: int, month: int) -> "Period":
        """A calendar month. Raises ValueError where there is none."""
        start = date(year, month, 1)
        return cls(start, (start + timedelta(days=32)).replace(day=1))


class Item(StrEnum):
    """What a line is for; in the order in which the lines of one lifecycle are listed."""

    SET_UP_FEE = "set-up-fee"
    MONTHLY_FEE = "monthly-fee"
    SKILL = "skill"


class Line(Struct, frozen=True, kw_only=True, rename="camel"):
    """One item of one lifecycle in one month. Amounts are CHF without VAT; None: not asked for."""

    month: str
    """As 2026-10."""
    zitadel_org_id: str
    tenant_name: str
    lifecycle_id: int
    item: Item
    skill_id: str | None = None
    days: int
    """That count; 1 for a set-up fee."""
    least_days: int | None = None
    most_days: int | None = None
    """Between these two they can have been; None where that was not asked for."""
    month_days: int
    """Of the whole month."""
    price_chf: Decimal | None = None
    """A day, a month or a set-up."""
    amount_chf: Decimal | None = None
    least_amount_chf: Decimal | None = None
    most_amount_chf: Decimal | None = None
    priced: bool = True
    """False: the skill has no price, and counts with 0."""


class Total(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the lines of one organisation in one month come to."""

    month: str
    zitadel_org_id: str
    net_chf: Decimal
    vat_rate_chli: Decimal
    """In percent."""
    vat_chf: Decimal
    gross_chf: Decimal


class Usage(Struct, frozen=True, kw_only=True):
    """The lines of a period, as the ledger stood."""

    period: Period
    time_zone: str
    as_of: datetime | None
    """None: as it stands."""
    last_pass: int
    """The last pass that counts."""
    until: datetime
    """What it looked at; nothing is known after."""
    lines: Sequence[Line]
    """By month, organisation, tenant, lifecycle, item and skill."""
    totals: Sequence[Total] = ()
    """By month and organisation; empty where no prices were asked for."""

    @property
    def unpriced(self) -> Sequence[str]:
        """The skills that have no price."""
        return sorted({line.skill_id for line in self.lines if line.skill_id and not line.priced})


class Correction(Struct, frozen=True, kw_only=True, rename="camel"):
    """A line that later passes changed; 0 where there was, or is, none."""

    month: str
    zitadel_org_id: str
    tenant_name: str
    lifecycle_id: int
    item: Item
    skill_id: str | None
    days_before: int
    days_now: int
    amount_before_chf: Decimal | None
    amount_now_chf: Decimal | None


def in_order(line: Line) -> tuple[str, str, str, int, int, str]:
    """A key to sort lines by."""
    item = list(Item).index(line.item)
    who = line.month, line.zitadel_org_id, line.tenant_name, line.lifecycle_id
    return *who, item, line.skill_id or ""


def differences(before: Sequence[Line], now: Sequence[Line]) -> Iterator[Correction]:
    """What the second reckoning has otherwise than the first, in the order of the lines."""
    first = {in_order(line): line for line in before}
    second = {in_order(line): line for line in now}
    for key in sorted({*first, *second}):
        old, new = first.get(key), second.get(key)
        some = new or old
        if some is None or (old and new and old.days == new.days):
            continue
        nothing = None if some.amount_chf is None else Decimal("0.00")
        yield Correction(
            month=some.month,
            zitadel_org_id=some.zitadel_org_id,
            tenant_name=some.tenant_name,
            lifecycle_id=some.lifecycle_id,
            item=some.item,
            skill_id=some.skill_id,
            days_before=old.days if old else 0,
            days_now=new.days if new else 0,
            amount_before_chf=old.amount_chf if old else nothing,
            amount_now_chf=new.amount_chf if new else nothing,
        )


def by_org(usage: Usage) -> Iterator[tuple[str, str, Sequence[Line], Total | None]]:
    """Each month and organisation, with its lines and what they come to."""
    totals = {(total.month, total.zitadel_org_id): total for total in usage.totals}
    for (month, org), lines in groupby(usage.lines, lambda line: (line.month, line.zitadel_org_id)):
        yield month, org, list(lines), totals.get((month, org))
