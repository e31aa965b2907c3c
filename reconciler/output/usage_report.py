"""What the events add up to, for a person, for programs and for a spreadsheet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from reconciler.core.groups import Group, Grouped
from reconciler.core.text import clean, columns, counted, org_text, stamp
from reconciler.core.usage import (
    Correction,
    Corrections,
    Doubt,
    Item,
    Line,
    Period,
    Total,
    Usage,
    by_org,
    net_difference,
)
from reconciler.output.doubts import doubts_text
from reconciler.output.plan_json import to_json
from reconciler.output.spreadsheet import Cell, Table, table

FEES: Final = {Item.SET_UP_FEE: "set-up fee", Item.MONTHLY_FEE: "monthly fee"}
"""What the items that are no skill are called."""


_NAMES: Final = {
    "start": "from",
    "end": "to",
    "time_zone": "timeZone",
    "as_of": "asOf",
    "as_of_pass": "asOfPass",
    "prices_of": "pricesOf",
    "now_pass": "nowPass",
    "since_revision": "sinceRevision",
    "is_ready": "isReady",
    "last_pass": "lastPass",
}


class _Asked(Struct, kw_only=True, rename=_NAMES):
    start: date
    end: date
    time_zone: str
    as_of: datetime | None
    as_of_pass: int


class _Usage(_Asked, kw_only=True, rename=_NAMES):
    prices_of: date | None
    last_pass: int
    until: datetime
    lines: Sequence[Line]
    totals: Sequence[Total]
    unpriced: Sequence[str]
    is_ready: bool
    doubts: Sequence[Doubt]
    names: Mapping[str, str]


class _Corrections(_Asked, kw_only=True, rename=_NAMES):
    now_pass: int
    since_revision: int | None
    corrections: Sequence[Correction]


def usage_json(usage: Usage) -> bytes:
    """One object, on one line. Amounts are strings: a number of JSON may be taken for a float."""
    return to_json(
        _Usage(
            start=usage.period.start,
            end=usage.period.end,
            time_zone=usage.time_zone,
            as_of=usage.as_of,
            as_of_pass=usage.as_of_pass,
            prices_of=usage.prices_of,
            last_pass=usage.last_pass,
            until=usage.until,
            lines=usage.lines,
            totals=usage.totals,
            unpriced=usage.unpriced,
            is_ready=usage.is_ready,
            doubts=usage.doubts,
            names=usage.names,
        )
    )


def corrections_json(found: Corrections) -> bytes:
    """One object, on one line."""
    return to_json(
        _Corrections(
            start=found.period.start,
            end=found.period.end,
            time_zone=found.time_zone,
            as_of=found.as_of,
            as_of_pass=found.as_of_pass,
            now_pass=found.now_pass,
            since_revision=found.since_revision,
            corrections=found.lines,
        )
    )


def usage_tables(usage: Usage) -> Sequence[Table]:
    """The lines, what they come to, and what they were computed from."""
    lines = table("Lines", Line, usage.lines)
    doubted = [[*row, _doubted(line, usage)] for row, line in zip(lines.rows, usage.lines, strict=True)]
    return [
        Table(lines.name, [*lines.columns, "doubts"], doubted),
        table("Totals", Total, usage.totals),
        about_table(usage),
    ]


def _doubted(line: Line, usage: Usage) -> str:
    """The kinds of doubt about a line: those of the whole period, of its tenant, and of its skill."""
    kinds = {
        doubt.kind
        for doubt in usage.doubts
        if doubt.lifecycle_id in (None, line.lifecycle_id) and doubt.skill_id in (None, line.skill_id)
    }
    return " ".join(sorted(kinds))


def about_table(usage: Usage) -> Table:
    """The period, the position, and what is in doubt."""
    rows: list[Sequence[Cell]] = [
        ("from", usage.period.start),
        ("to before", usage.period.end),
        ("time zone", usage.time_zone),
        ("position", usage.as_of_pass),
        ("last pass", usage.last_pass),
        ("last look", usage.until),
        ("ready to be billed", usage.is_ready),
        *(("note", line.strip()) for line in doubts_text(usage.doubts)),
    ]
    return Table("About", ("what", "value"), rows)


def totals_table(usage: Usage) -> Table:
    """What the lines come to, each with the position and whether the period is ready."""
    found = table("Totals", Total, usage.totals)
    return Table(
        found.name,
        [*found.columns, "as_of_pass", "is_ready"],
        [[*row, usage.as_of_pass, usage.is_ready] for row in found.rows],
    )


class _Groups(_Asked, kw_only=True, rename=_NAMES):
    by: str
    groups: Sequence[Group]
    hidden: int
    total: Group
    is_ready: bool
    doubts: Sequence[Doubt]


def groups_json(usage: Usage, found: Grouped) -> bytes:
    """One object, on one line."""
    return to_json(
        _Groups(
            start=usage.period.start,
            end=usage.period.end,
            time_zone=usage.time_zone,
            as_of=usage.as_of,
            as_of_pass=usage.as_of_pass,
            by=found.by,
            groups=found.groups,
            hidden=found.hidden,
            total=found.total,
            is_ready=usage.is_ready,
            doubts=usage.doubts,
        )
    )


def groups_table(found: Grouped) -> Table:
    """A row for each group that is shown, and one for all."""
    return table(f"By {found.by}", Group, [*found.groups, found.total])


def groups_text(usage: Usage, found: Grouped) -> Iterator[str]:
    """The lines, without their ends."""
    yield (
        f"Usage from {usage.period.start} to {usage.period.end}, days of {clean(usage.time_zone)}, "
        f"by {found.by}; the last pass, {usage.last_pass}, looked at {stamp(usage.until)}"
    )
    heads = (found.by.value, "", "tenants", "tenant-days", "skill-days", "CHF")
    rows = [_group_cells(one) for one in (*found.groups, found.total)]
    yield from columns([heads, *rows], right=(2, 3, 4, 5), indent="  ")
    if found.hidden:
        yield f"  … and {found.hidden} more, which the total counts; a higher --top shows them"
    yield ""
    yield from doubts_text(usage.doubts)


def _group_cells(one: Group) -> tuple[str, ...]:
    who = one.name if one.name is not None else one.zitadel_org_id
    amount = "" if one.amount_chf is None else str(one.amount_chf)
    counts = (str(one.tenants), str(one.tenant_days), str(one.skill_days))
    return clean(one.key), clean(who or ""), *counts, amount


def usage_text(usage: Usage) -> Iterator[str]:
    """The lines, without their ends."""
    period = f"{usage.period.start} to {usage.period.end}, days of {clean(usage.time_zone)}"
    as_of = f", as of {stamp(usage.as_of)}" if usage.as_of else ""
    yield f"Usage from {period}{as_of}; the last pass, {usage.last_pass}, looked at {stamp(usage.until)}"
    if usage.prices_of is not None:
        yield f"At the prices of {usage.prices_of} instead of those of each day"
    for month, org, lines, totals in by_org(usage):
        yield ""
        yield f"{month}  {org_text(org, usage.names.get(org))}"
        yield from _table([_columns(line, usage.period) for line in lines])
        for total in totals:
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
    yield ""
    yield from doubts_text(usage.doubts)


def corrections_text(found: Corrections) -> Iterator[str]:
    """The lines, without their ends."""
    since = f"pass {found.as_of_pass}" if found.as_of is None else stamp(found.as_of)
    if found.since_revision is not None:
        since += f", at which revision {found.since_revision} was closed,"
    yield f"What was written after {since} changed"
    yield from corrections_table(found.lines)


def corrections_table(found: Sequence[Correction]) -> Iterator[str]:
    """A line for each, and the difference of all in CHF."""
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
    difference = net_difference(found)
    if not found:
        yield "Nothing"
    elif difference is not None:
        yield f"  net {difference:+} CHF"


@dataclass(frozen=True)
class _Columns:
    who: str
    what: str
    days: str
    bounds: str
    amount: str


def _columns(line: Line, asked: Period) -> _Columns:
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
        _what(line.item, line.skill_id) + _part(line, asked),
        days[line.item],
        bounds,
        amount,
    )


def _part(line: Line, asked: Period) -> str:
    """The days of a line, where a change of price or VAT divides its month."""
    month = Period.month(line.period_start.year, line.period_start.month)
    whole = max(month.start, asked.start), min(month.end, asked.end)
    if (line.period_start, line.period_end) == whole:
        return ""
    return f", {line.period_start} to {line.period_end}"


def _what(item: Item, skill: str | None) -> str:
    return FEES.get(item) or clean(skill or "")


def _change(before: Decimal | None, now: Decimal | None) -> str:
    return "" if before is None or now is None else f"{before} → {now}"


def _table(rows: Sequence[_Columns]) -> Iterator[str]:
    cells, before = [], ""
    for row in rows:
        who = "" if row.who == before else row.who
        before = row.who
        cells.append((who, row.what, row.days, row.bounds, row.amount))
    yield from columns(cells, right=(2, 3, 4), indent="  ")
