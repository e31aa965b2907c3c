"""`reconciler coverage`: the gaps in which changes may have been missed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import given_time
from reconciler.core.history import Gap
from reconciler.core.text import counted, stamp
from reconciler.ledger import history_reader, schema
from reconciler.output.plan_json import to_json


class _Gap(Struct, rename={"start": "from", "end": "to"}):
    start: datetime
    end: datetime
    seconds: float
    kind: str


class _Coverage(Struct, rename={"start": "from", "end": "to"}):
    start: datetime | None
    end: datetime
    passes: int
    gaps: Sequence[_Gap]


def coverage(parts: Parts, *, output: str, start: str | None = None, end: str | None = None) -> int:
    """Prints the gaps. Raises ReconcilerError."""
    since = given_time(parts, "--from", start)
    until = given_time(parts, "--to", end) or parts.now
    longest = timedelta(seconds=parts.settings.coverage_gap)
    with parts.database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, parts.database)
        found = history_reader.coverage(transaction, since, until, longest)
    told = [
        _Gap(gap.span.start, gap.span.end, gap.span.length.total_seconds(), _kind(gap))
        for gap in found.gaps
    ]
    lines = [
        f"{stamp(gap.span.start)}  to  {stamp(gap.span.end)}  {_told(gap.span.length)}  {_means(gap)}"
        for gap in found.gaps
    ]
    period = f"from {stamp(found.start)} to {stamp(until)}" if found.start else f"until {stamp(until)}"
    lost, unknown = (sum(gap.is_lost is kind for gap in found.gaps) for kind in (True, False))
    lines.append(
        f"{counted(found.lists, 'list')} {period}: changes may be missing in {counted(lost, 'gap')}, "
        f"and it is not known in {unknown} longer than {_told(longest)}"
    )
    return print_either(output, to_json(_Coverage(found.start, until, found.lists, told)), lines)


def _kind(gap: Gap) -> str:
    return "lost" if gap.is_lost else "unknown"


def _means(gap: Gap) -> str:
    return "changes may be missing" if gap.is_lost else "not known whether changes are missing"


def _told(length: timedelta) -> str:
    return str(timedelta(seconds=round(length.total_seconds())))
