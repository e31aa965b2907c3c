"""What the events add up to, as values: lines, totals, and how two reckonings of them differ."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import groupby
from typing import TypeAlias

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

    SET_UP_FEE = "setup_fee"
    MONTHLY_FEE = "monthly_fee"
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
    period_start: date
    period_end: date
    """Its days, half-open: with one price and one rate of VAT, where prices were asked for."""
    vat_rate_chli: Decimal | None = None
    """In percent."""


class Total(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the lines of one organisation in one month come to, at one rate of VAT."""

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
    as_of_pass: int
    """The position: the last pass or price change that counts."""
    prices_of: date | None = None
    """The day whose prices all days cost; None: each day its own."""
    last_pass: int
    """The last pass that counts."""
    until: datetime
    """What it looked at; nothing is known after."""
    lines: Sequence[Line]
    """By month, organisation, tenant, lifecycle, item and skill."""
    totals: Sequence[Total] = ()
    """By month, organisation and rate; empty where no prices were asked for."""

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


class Corrections(Struct, frozen=True, kw_only=True):
    """What was written after a position made of the lines of a period."""

    period: Period
    time_zone: str
    as_of: datetime | None
    as_of_pass: int
    """The position: the last pass or price change that counted before."""
    now_pass: int
    """The last one that counts now."""
    lines: Sequence[Correction]

    @property
    def net_difference_chf(self) -> Decimal | None:
        """Without VAT; None: amounts were not asked for."""
        total = Decimal("0.00")
        for one in self.lines:
            if one.amount_before_chf is None or one.amount_now_chf is None:
                return None
            total += one.amount_now_chf - one.amount_before_chf
        return total


_Key: TypeAlias = tuple[str, str, str, int, int, str]


def in_order(line: Line) -> tuple[_Key, date]:
    """A key to sort lines by."""
    return _subject(line), line.period_start


def _subject(line: Line) -> _Key:
    item = list(Item).index(line.item)
    who = line.month, line.zitadel_org_id, line.tenant_name, line.lifecycle_id
    return *who, item, line.skill_id or ""


def totals(lines: Sequence[Line]) -> Iterator[Total]:
    """What each organisation's lines of a month come to at each rate; VAT is rounded half-up to 0.01."""
    nets: dict[tuple[str, str, Decimal], Decimal] = {}
    for line in lines:
        if line.amount_chf is not None and line.vat_rate_chli is not None:
            key = line.month, line.zitadel_org_id, line.vat_rate_chli
            nets[key] = nets.get(key, Decimal("0.00")) + line.amount_chf
    for (month, org, rate), net in sorted(nets.items()):
        vat = (net * rate / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)
        yield Total(
            month=month,
            zitadel_org_id=org,
            net_chf=net,
            vat_rate_chli=rate,
            vat_chf=vat,
            gross_chf=net + vat,
        )


def differences(before: Sequence[Line], now: Sequence[Line]) -> Iterator[Correction]:
    """Where the second reckoning has other days or amounts than the first, in the order of the lines."""
    first, second = _by_subject(before), _by_subject(now)
    for key in sorted({*first, *second}):
        some, old_days, old_chf = first.get(key) or (second[key][0], 0, None)
        _, new_days, new_chf = second.get(key) or (some, 0, None)
        if (old_days, old_chf or 0) == (new_days, new_chf or 0):
            continue
        nothing = None if some.amount_chf is None else Decimal("0.00")
        yield Correction(
            month=some.month,
            zitadel_org_id=some.zitadel_org_id,
            tenant_name=some.tenant_name,
            lifecycle_id=some.lifecycle_id,
            item=some.item,
            skill_id=some.skill_id,
            days_before=old_days,
            days_now=new_days,
            amount_before_chf=nothing if old_chf is None else old_chf,
            amount_now_chf=nothing if new_chf is None else new_chf,
        )


def _by_subject(lines: Sequence[Line]) -> Mapping[_Key, tuple[Line, int, Decimal | None]]:
    """One line of each, the days of all of them, and their amounts."""
    found: dict[_Key, tuple[Line, int, Decimal | None]] = {}
    for line in lines:
        first, days, amount = found.get(_subject(line), (line, 0, None))
        if line.amount_chf is not None:
            amount = (amount or Decimal("0.00")) + line.amount_chf
        found[_subject(line)] = first, days + line.days, amount
    return found


def by_org(usage: Usage) -> Iterator[tuple[str, str, Sequence[Line], Sequence[Total]]]:
    """Each month and organisation, with its lines and what they come to, by rate of VAT."""
    totals: dict[tuple[str, str], list[Total]] = {}
    for total in usage.totals:
        totals.setdefault((total.month, total.zitadel_org_id), []).append(total)
    for (month, org), lines in groupby(usage.lines, lambda line: (line.month, line.zitadel_org_id)):
        yield month, org, list(lines), totals.get((month, org), ())
