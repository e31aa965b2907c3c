"""`reconciler history` and `reconciler coverage`: what was written, why, and when anybody looked."""

import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from reconciler.commands.parts import open_database
from reconciler.commands.printing import print_bytes, print_lines
from reconciler.commands.values import given_day, given_time
from reconciler.core.history import Answer, Span, WrittenLifecycle, answer, gaps, within
from reconciler.core.text import counted, quoted, stamp
from reconciler.errors import UsageError
from reconciler.ledger import history_reader, schema
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.state_reader import last_pass
from reconciler.ledger.usage_reader import day
from reconciler.logs import set_up_logging
from reconciler.output.history_report import answered, timeline
from reconciler.output.plan_json import to_json
from reconciler.settings import load


class _History(Struct, rename={"start": "from", "end": "to"}):
    tenant: str | None
    org: str | None
    start: datetime | None
    end: datetime | None
    lifecycles: Sequence[WrittenLifecycle]


class _At(Struct, rename={"start": "from", "end": "to", "known_until": "knownUntil"}):
    tenant: str | None
    org: str | None
    at: str
    start: datetime
    end: datetime
    known_until: datetime
    lifecycles: Sequence[Answer]


class _Gap(Struct, rename={"start": "from", "end": "to"}):
    start: datetime
    end: datetime
    seconds: float


class _Coverage(Struct, rename={"start": "from", "end": "to"}):
    start: datetime | None
    end: datetime
    passes: int
    gaps: Sequence[_Gap]


def history(
    flags: dict[str, Any],
    *,
    output: str,
    tenant: str | None = None,
    org: str | None = None,
    start: str | None = None,
    end: str | None = None,
    at: str | None = None,
) -> int:
    """Prints every row of one tenant or org, or whether it was billable. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
    if (tenant is None) == (org is None):
        raise UsageError("history is of one TENANT, by its name or a uid, or of an --org; give one")
    if at is not None and (start is not None or end is not None):
        raise UsageError("--at asks about one day or instant, --from and --to show a span; give one")
    now = datetime.now(UTC)
    since, until = given_time("--from", start, now), given_time("--to", end, now)
    if since is not None and since >= (until or now):
        raise UsageError(f"--from {stamp(since)} is not before --to {stamp(until or now)}")
    with open_database(settings) as database, database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        found = history_reader.history(transaction, tenant, org=org)
        if not found:
            if tenant is not None:
                raise UsageError(f"the ledger knows no tenant {quoted(tenant)}, by name or by uid")
            raise UsageError(f"the ledger knows no org {quoted(org or '')}")
        last = last_pass(transaction).last_pass
        asked = None if at is None else _asked(transaction, at, now, settings.time_zone)
    known_until = last.observed_at if last else now
    if at is not None and asked is not None:
        if asked.start >= known_until:
            raise UsageError(
                f"--at {at}: the last pass looked at {stamp(known_until)}; later is not known"
            )
        answers = [answer(one, asked, known_until) for one in found]
        if output == "json":
            _print_json(_At(tenant, org, at, asked.start, asked.end, known_until, answers))
        else:
            print_lines(answered(answers, at, asked, known_until))
        return 0
    span = (
        None
        if since is None and until is None
        else Span(since or min(one.created_at for one in found), until or now)
    )
    if output == "json":
        told = within(found, span) if span else found
        _print_json(_History(tenant, org, since, until, told))
    else:
        print_lines(timeline(found, known_until, shutil.get_terminal_size((100, 0)).columns, span))
    return 0


def _asked(transaction: Transaction, at: str, now: datetime, time_zone: str) -> Span:
    """A calendar day of the time zone, or the instant that a time is."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", at, re.ASCII):
        start = given_time("--at", at, now, "a day like 2026-03-14, RFC 3339, or `now`") or now
        return Span(start, start + timedelta(microseconds=1))
    return day(transaction, given_day("--at", at), time_zone)


def coverage(
    flags: dict[str, Any], *, output: str, start: str | None = None, end: str | None = None
) -> int:
    """Prints the spans in which nobody looked. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
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
        f"{stamp(gap.start)}  to  {stamp(gap.end)}  nobody looked for {_told(gap.length)}"
        for gap in found
    ]
    period = f"from {stamp(since)} to {stamp(until)}" if since else f"until {stamp(until)}"
    passes, several = counted(len(seen), "pass"), counted(len(found), "gap")
    lines.append(f"{passes} {period}; {several} longer than {_told(longest)}")
    print_lines(lines)
    return 0


def _looks(database: Database, since: datetime | None, until: datetime) -> Sequence[Span]:
    with database.transaction(read_only=True) as transaction:
        schema.check_there(transaction, database)
        return history_reader.looks(transaction, since, until)


def _told(length: timedelta) -> str:
    return str(timedelta(seconds=round(length.total_seconds())))


def _print_json(value: object) -> None:
    print_bytes([to_json(value), b"\n"])
