"""`reconciler history` and `reconciler coverage`: what was written, why, and when anybody looked."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from reconciler.commands.reporting import print_bytes, print_lines
from reconciler.commands.wiring import given_time, open_database, set_up_logging
from reconciler.core.history import Span, WrittenLifecycle, gaps
from reconciler.core.reading import shown
from reconciler.errors import UsageError
from reconciler.ledger import history as ledger_history
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database
from reconciler.output.report import to_json
from reconciler.output.text import time
from reconciler.output.timeline import timeline
from reconciler.settings import load


class _History(Struct, rename="camel"):
    tenant: str
    lifecycles: Sequence[WrittenLifecycle]


class _Gap(Struct, rename={"start": "from", "end": "to"}):
    start: datetime
    end: datetime
    seconds: float


class _Coverage(Struct, rename={"start": "from", "end": "to"}):
    start: datetime | None
    end: datetime
    passes: int
    gaps: Sequence[_Gap]


def history(flags: dict[str, Any], *, tenant: str, output: str) -> int:
    """Prints every row of one tenant. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings)
    with open_database(settings) as database, database.transaction(read_only=True) as transaction:
        schema.check_there(transaction, database)
        found = ledger_history.history(transaction, tenant)
    if not found:
        raise UsageError(f"the ledger knows no tenant {shown(tenant)}, by name or by uid")
    if output == "json":
        _print_json(_History(tenant, found))
    else:
        print_lines(timeline(found, datetime.now(UTC), shutil.get_terminal_size((100, 0)).columns))
    return 0


def coverage(
    flags: dict[str, Any], *, output: str, start: str | None = None, end: str | None = None
) -> int:
    """Prints the spans in which nobody looked. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings)
    now = datetime.now(UTC)
    since, until = given_time("--from", start, now), given_time("--to", end, now) or now
    with open_database(settings) as database:
        seen = _looks(database, since, until)
    longest = timedelta(seconds=settings.coverage_gap)
    found = list(gaps(seen, since, until, longest))
    since = since or (seen[0].start if seen else None)
    if output == "json":
        told = [_Gap(gap.start, gap.end, gap.length.total_seconds()) for gap in found]
        _print_json(_Coverage(since, until, len(seen), told))
        return 0
    lines = [
        f"{time(gap.start)}  to  {time(gap.end)}  nobody looked for {_told(gap.length)}" for gap in found
    ]
    period = f"from {time(since)} to {time(until)}" if since else f"until {time(until)}"
    lines.append(f"{len(seen)} passes {period}; {len(found)} gaps longer than {_told(longest)}")
    print_lines(lines)
    return 0


def _looks(database: Database, since: datetime | None, until: datetime) -> Sequence[Span]:
    with database.transaction(read_only=True) as transaction:
        schema.check_there(transaction, database)
        return ledger_history.looks(transaction, since, until)


def _told(length: timedelta) -> str:
    return str(timedelta(seconds=round(length.total_seconds())))


def _print_json(value: object) -> None:
    print_bytes([to_json(value), b"\n"])
