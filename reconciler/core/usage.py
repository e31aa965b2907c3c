"""What the events add up to, as values: lines, totals, and how two reckonings of them differ."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import groupby
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.text import clean, stamp


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


class Doubt(Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that is in doubt in the lines; `schema/42-doubts.sql` has the kinds."""

    kind: str
    is_ready: bool
    """False: it changes with a later pass or an operator's decision, and the period is not ready."""
    zitadel_org_id: str | None = None
    tenant_name: str | None = None
    lifecycle_id: int | None = None
    skill_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Of a gap: when changes may be missing."""
    least_days: int | None = None
    most_days: int | None = None


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
    doubts: Sequence[Doubt] = ()
    """What is in doubt; first what makes that the period is not ready."""
    names: Mapping[str, str] = {}
    """What people call the organisations, by id; only of those that were given a name."""

    @property
    def is_ready(self) -> bool:
        """Whether the period is observed to its end, with no tenant that awaits a decision."""
        return all(doubt.is_ready for doubt in self.doubts)

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
    since_revision: int | None = None
    """Of the close at whose position this is; None: it is not about one."""
    lines: Sequence[Correction]


def net_difference(corrections: Sequence[Correction]) -> Decimal | None:
    """All of them in CHF, without VAT; None: amounts were not asked for."""
    total = Decimal("0.00")
    for one in corrections:
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


def not_ready(doubt: Doubt) -> str:
    """Why a period is not ready, and what to do."""
    tenant = clean(doubt.tenant_name or "")
    match doubt.kind:
        case "not-over":
            end = stamp(doubt.until) if doubt.until else ""
            seen = (
                f"all tenants were last seen at {stamp(doubt.since)}"
                if doubt.since
                else "no pass looked"
            )
            return f"it ends at {end}, and {seen}; a pass after its end completes it"
        case "held":
            return (
                f"the deletion of {tenant} is held back; `reconciler run --allow-deletions N` writes it"
            )
        case _:
            return f"{tenant} is quarantined and counts as before; `reconciler run` prints the reason"


def doubts_of(lines: Sequence[Line]) -> Iterator[Doubt]:
    """The skills without a price, and where fewer or more days are possible than count."""
    for _, parts in groupby(lines, _subject):
        of_one = list(parts)
        first = of_one[0]
        unpriced = Doubt(
            kind="unpriced",
            is_ready=True,
            zitadel_org_id=first.zitadel_org_id,
            tenant_name=first.tenant_name,
            lifecycle_id=first.lifecycle_id,
            skill_id=first.skill_id,
        )
        if not all(line.priced for line in of_one):
            yield unpriced
        least = sum(line.least_days or 0 for line in of_one)
        most = sum(line.most_days or 0 for line in of_one)
        if least < most:
            yield replace(unpriced, kind="days", least_days=least, most_days=most)


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
