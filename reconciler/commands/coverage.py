"""`reconciler coverage`: the gaps between passes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import given_time
from reconciler.core.history import gaps
from reconciler.core.text import counted, stamp
from reconciler.ledger import history_reader, schema
from reconciler.output.plan_json import to_json


class _Gap(Struct, rename={"start": "from", "end": "to"}):
    start: datetime
    end: datetime
    seconds: float


class _Coverage(Struct, rename={"start": "from", "end": "to"}):
    start: datetime | None
    end: datetime
    passes: int
    gaps: Sequence[_Gap]


def coverage(parts: Parts, *, output: str, start: str | None = None, end: str | None = None) -> int:
    """Prints the gaps. Raises ReconcilerError."""
    since = given_time(parts, "--from", start)
    until = given_time(parts, "--to", end) or parts.now
    with parts.database.transaction(read_only=True) as transaction:
        schema.check_there(transaction, parts.database)
        seen = history_reader.looks(transaction, since, until)
    longest = timedelta(seconds=parts.settings.coverage_gap)
    found = list(gaps(seen, since, until, longest))
    since = since or (seen[0].start if seen else None)
    told = [_Gap(gap.start, gap.end, gap.length.total_seconds()) for gap in found]
    lines = [
        f"{stamp(one.start)}  to  {stamp(one.end)}  no pass for {_told(one.length)}" for one in found
    ]
    period = f"from {stamp(since)} to {stamp(until)}" if since else f"until {stamp(until)}"
    passes, several = counted(len(seen), "pass"), counted(len(found), "gap")
    lines.append(f"{passes} {period}; {several} longer than {_told(longest)}")
    return print_either(output, to_json(_Coverage(since, until, len(seen), told)), lines)


def _told(length: timedelta) -> str:
    return str(timedelta(seconds=round(length.total_seconds())))
