"""A tenant's history as text: a bar over time for each skill, and a table of all rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from reconciler.core.history import (
    Answer,
    Span,
    WrittenLifecycle,
    WrittenOverride,
    WrittenRow,
    spans,
    within,
)
from reconciler.core.text import clean, columns, org_text, stamp

NARROWEST: Final = 20
_ON, _OFF, _SUSPENDED = "█", "·", "▒"


def timeline(
    lifecycles: Sequence[WrittenLifecycle],
    until: datetime,
    width: int = 100,
    shown: Span | None = None,
) -> Iterator[str]:
    """The lines, without line ends. The bars are at most `width` wide; the table may be wider.

    With `shown`, only that span is included.
    """
    parts = {one.id: one for one in within(lifecycles, shown)} if shown else None
    for lifecycle in lifecycles:
        if parts is not None and lifecycle.id not in parts:
            continue
        end = lifecycle.deleted_at or until
        ending = f"deleted {stamp(lifecycle.deleted_at)}" if lifecycle.deleted_at else "alive"
        yield (
            f"{clean(lifecycle.tenant_name)}  uid {clean(lifecycle.tenant_uid or 'not known yet')}  "
            f"org {org_text(lifecycle.zitadel_org_id, lifecycle.org_name)}"
        )
        yield f"  created {stamp(lifecycle.created_at)}, {ending}"
        yield ""
        whole = Span(lifecycle.created_at, max(end, lifecycle.created_at))
        yield from _bars(lifecycle, whole, (whole.common(shown) if shown else None) or whole, width)
        yield ""
        yield from _table((lifecycle if parts is None else parts[lifecycle.id]).rows)
        yield from map(_overridden, lifecycle.overrides)
        yield ""


def _bars(lifecycle: WrittenLifecycle, life: Span, whole: Span, width: int) -> Iterator[str]:
    found = spans(lifecycle, life.end)
    labels = {subject: clean(subject) if subject else "(suspended)" for subject in found}
    label_width = max(map(len, labels.values()), default=0)
    bar_width = max(width - label_width - 4, NARROWEST)
    # Skills by name, then the suspension, which affects all of them.
    for subject in sorted(found, key=lambda one: (one is None, one or "")):
        mark = _ON if subject is not None else _SUSPENDED
        bar = [_OFF] * bar_width
        for span in filter(None, (one.common(whole) for one in found[subject])):
            first = _column(span.start, whole, bar_width)
            # Even the shortest span is visible.
            last = max(_column(span.end, whole, bar_width), first + 1)
            bar[first:last] = [mark] * (min(last, bar_width) - first)
        yield f"  {labels[subject]:<{label_width}}  {''.join(bar)}"
    if found:
        start, end = f"{whole.start:%Y-%m-%d}", f"{whole.end:%Y-%m-%d}"
        yield f"  {'':<{label_width}}  {start}{end:>{bar_width - len(start)}}"


def _column(instant: datetime, whole: Span, width: int) -> int:
    if not whole.length:
        return 0
    share = (instant - whole.start) / whole.length
    return min(max(int(share * width), 0), width - 1 if share < 1 else width)


def answered(answers: Sequence[Answer], at: str, asked: Span, known_until: datetime) -> Iterator[str]:
    """Whether each was billable, and why: the lines, without line ends."""
    yield f"{clean(at)}: {stamp(asked.start)} to {stamp(asked.end)}"
    if known_until < asked.end and asked.end - asked.start > timedelta(seconds=1):
        yield f"known until {stamp(known_until)}, the last pass"
    for one in answers:
        yield ""
        yield (
            f"{clean(one.tenant_name)}  uid {clean(one.tenant_uid or 'not known yet')}  "
            f"org {org_text(one.zitadel_org_id, one.org_name)}"
        )
        yield f"  {_yes(one.is_billable)}: {one.because}"
        yield from _table(one.rows, "    ")
        for skill in one.skills:
            yield f"  {clean(skill.skill_id)}  {_yes(skill.is_billable)}: {skill.because}"
            yield from _table(skill.rows, "    ")


def _yes(is_billable: bool) -> str:  # noqa: FBT001 - it is what is told
    return "billable" if is_billable else "not billable"


def _table(rows: Sequence[WrittenRow], indent: str = "  ") -> Iterator[str]:
    cells = [
        (stamp(row.occurred_at), row.kind.value, clean(row.skill_id or ""), evidence_text(row))
        for row in rows
    ]
    yield from columns(cells, indent=indent)


def _overridden(one: WrittenOverride) -> str:
    """Who decided what, when and why."""
    said = f"  {one.override} by {clean(one.decided_by)} (database user {clean(one.database_user)})"
    if one.effective_at is not None:
        said += f", as of {stamp(one.effective_at)}"
        said += ", outside of the interval that the evidence allows" if one.outside else ""
    because = f": {clean(one.because)}" if one.because is not None else ""
    return f"{said}, pass {one.pass_id} on {stamp(one.decided_at)}{because}"


def evidence_text(row: WrittenRow) -> str:
    """Where the time of a row is from, and the pass that wrote it."""
    if row.written_by is None or row.not_before is None or row.observed_at is None:
        return "written by the portal"
    told = row.time_source or ""
    if row.not_before < row.occurred_at:
        told += f", not before {stamp(row.not_before)}"
    by = row.written_by
    version = f", resourceVersion {clean(by.resource_version)}" if by.resource_version else ""
    return f"{told}; pass {by.id}, {clean(by.source)} of {stamp(row.observed_at)}{version}"
