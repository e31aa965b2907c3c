"""What the events add up to, for a person, for programs and for a spreadsheet."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, fields

from reconciler.core.text import clean, columns, counted, escaped, stamp
from reconciler.core.usage import Correction, Item, Line, Period, Total, Usage, by_org
from reconciler.output.plan_json import to_json

_FEES: Final = {Item.SET_UP_FEE: "set-up fee", Item.MONTHLY_FEE: "monthly fee"}


_NAMES: Final = {
    "start": "from",
    "end": "to",
    "time_zone": "timeZone",
    "as_of": "asOf",
    "last_pass": "lastPass",
}


class _Asked(Struct, kw_only=True, rename=_NAMES):
    start: date
    end: date
    time_zone: str
    as_of: datetime | None


class _Usage(_Asked, kw_only=True, rename=_NAMES):
    last_pass: int
    until: datetime
    lines: Sequence[Line]
    totals: Sequence[Total]
    unpriced: Sequence[str]


class _Corrections(_Asked, kw_only=True, rename=_NAMES):
    corrections: Sequence[Correction]


def usage_json(usage: Usage) -> bytes:
    """One object, on one line. Amounts are strings: a number of JSON may be taken for a float."""
    return to_json(
        _Usage(
            start=usage.period.start,
            end=usage.period.end,
            time_zone=usage.time_zone,
            as_of=usage.as_of,
            last_pass=usage.last_pass,
            until=usage.until,
            lines=usage.lines,
            totals=usage.totals,
            unpriced=usage.unpriced,
        )
    )


def corrections_json(
    found: Sequence[Correction], period: Period, time_zone: str, as_of: datetime
) -> bytes:
    """One object, on one line."""
    return to_json(
        _Corrections(
            start=period.start, end=period.end, time_zone=time_zone, as_of=as_of, corrections=found
        )
    )


def table_csv(
    rows: Sequence[Line] | Sequence[Correction], kind: type[Line | Correction]
) -> Iterator[str]:
    """A line of column names, and one a row; what does not apply is empty."""
    names = [field.name for field in fields(kind)]
    yield ",".join(names)
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_cell(asdict(row)[name]) for name in names])
        yield line.getvalue()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            # A line is a line, and a terminal shows it as text.
            return escaped(value)
        case _:
            return str(value)


def usage_text(usage: Usage) -> Iterator[str]:
    """The lines, without their ends."""
    period = f"{usage.period.start} to {usage.period.end}, days of {clean(usage.time_zone)}"
    as_of = f", as of {stamp(usage.as_of)}" if usage.as_of else ""
    yield f"Usage from {period}{as_of}; the last pass, {usage.last_pass}, looked at {stamp(usage.until)}"
    for month, org, lines, total in by_org(usage):
        yield ""
        yield f"{month}  {clean(org)}"
        yield from _table([_columns(line) for line in lines])
        if total is not None:
            yield (
                f"  net {total.net_chf}, VAT of {total.vat_rate_chli} % {total.vat_chf}, "
                f"gross {total.gross_chf} CHF"
            )
    if usage.unpriced:
        yield ""
        yield f"Without a price, and counted with 0: {', '.join(map(clean, usage.unpriced))}"
    if not usage.lines:
        yield "Nothing counts"
    elif usage.totals:
        yield "A preview: nothing is invoiced or stored"


def corrections_text(found: Sequence[Correction], as_of: datetime) -> Iterator[str]:
    """The lines, without their ends."""
    yield f"What passes changed that were written after {stamp(as_of)}"
    yield from _table(
        [
            _Columns(
                f"{one.month}  {clean(one.zitadel_org_id)}  {clean(one.tenant_name)}",
                _what(one.item, one.skill_id),
                f"{one.days_before} → {one.days_now}",
                "",
                _change(one.amount_before_chf, one.amount_now_chf),
            )
            for one in found
        ]
    )
    if not found:
        yield "Nothing"


@dataclass(frozen=True)
class _Columns:
    who: str
    what: str
    days: str
    bounds: str
    amount: str


def _columns(line: Line) -> _Columns:
    days = {
        Item.SET_UP_FEE: "",
        Item.MONTHLY_FEE: f"{line.days} of {line.month_days} days",
        Item.SKILL: counted(line.days, "day"),
    }
    bounds = ""
    if line.least_days is not None and line.item is not Item.SET_UP_FEE:
        bounds = f"{line.least_days} to {line.most_days}"
    amount = "" if line.amount_chf is None else str(line.amount_chf)
    if line.least_amount_chf is not None and line.least_amount_chf != line.most_amount_chf:
        bounds += f" ({line.least_amount_chf} to {line.most_amount_chf})"
    return _Columns(
        f"{clean(line.tenant_name)}  #{line.lifecycle_id}",
        _what(line.item, line.skill_id),
        days[line.item],
        bounds,
        amount,
    )


def _what(item: Item, skill: str | None) -> str:
    return _FEES.get(item) or clean(skill or "")


def _change(before: Decimal | None, now: Decimal | None) -> str:
    return "" if before is None or now is None else f"{before} → {now}"


def _table(rows: Sequence[_Columns]) -> Iterator[str]:
    cells, before = [], ""
    for row in rows:
        who = "" if row.who == before else row.who
        before = row.who
        cells.append((who, row.what, row.days, row.bounds, row.amount))
    yield from columns(cells, right=(2, 3, 4), indent="  ")
