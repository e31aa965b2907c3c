"""`reconciler usage`: the billable days that the events add up to, and what they would cost."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.commands.parts import open_database
from reconciler.commands.printing import print_bytes, print_lines
from reconciler.commands.values import given_day, given_day_or_time, given_time
from reconciler.core.text import quoted
from reconciler.core.usage import Correction, Corrections, Line, Period
from reconciler.errors import ExitStatus, UsageError
from reconciler.ledger.closes import corrections_since_close
from reconciler.ledger.usage_reader import Question
from reconciler.ledger.usage_reader import corrections as ledger_corrections
from reconciler.ledger.usage_reader import usage as ledger_usage
from reconciler.logs import set_up_logging
from reconciler.output.usage_report import (
    corrections_json,
    corrections_text,
    table_csv,
    usage_json,
    usage_text,
)
from reconciler.settings import load


def usage(
    flags: dict[str, Any],
    *,
    output: str,
    month: str | None = None,
    start: str | None = None,
    end: str | None = None,
    as_of: str | None = None,
    as_of_pass: int | None = None,
    prices_of: str | None = None,
    corrections: bool = False,
    since_close: bool = False,
    strict: bool = False,
    **who: Any,
) -> int:
    """Prints the lines of the period, or what changed of them. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
    now = datetime.now(UTC)
    question = Question(
        period=_period(month, start, end),
        time_zone=settings.time_zone,
        longest_gap=timedelta(seconds=settings.coverage_gap),
        as_of=given_time("--as-of", as_of, now),
        as_of_pass=as_of_pass,
        prices_of=None if prices_of is None else given_day_or_time("--prices-of", prices_of, now),
        **who,
    )
    if as_of is not None and as_of_pass is not None:
        raise UsageError("--as-of and --as-of-pass both say what counts; give one")
    if prices_of is not None and not question.prices:
        raise UsageError("--prices-of is about amounts; give --prices as well")
    given = [as_of is not None, as_of_pass is not None, since_close]
    if corrections and not any(given):
        raise UsageError(
            "--corrections tells what came after a time; give --as-of TIME or --since-close as well"
        )
    if since_close and (not corrections or any(given[:2])):
        raise UsageError("--since-close is for --corrections, and needs no --as-of")
    with open_database(settings) as database:
        if corrections:
            ask = corrections_since_close if since_close else ledger_corrections
            _print_corrections(ask(database, question), output)
            return 0
        found = ledger_usage(database, question)
    if output == "json":
        print_bytes([usage_json(found), b"\n"])
    elif output == "csv":
        print_lines(table_csv(found.lines, Line))
    else:
        print_lines(usage_text(found))
    return ExitStatus.REFUSED if strict and not found.is_ready else ExitStatus.DONE


def _print_corrections(found: Corrections, output: str) -> None:
    if output == "json":
        print_bytes([corrections_json(found), b"\n"])
    elif output == "csv":
        print_lines(table_csv(found.lines, Correction))
    else:
        print_lines(corrections_text(found))


def _period(month: str | None, start: str | None, end: str | None) -> Period:
    if month is not None and start is None and end is None:
        return given_month("--month", month)
    if month is None and start is not None and end is not None:
        return Period(given_day("--from", start), given_day("--to", end))
    raise UsageError(
        "which days? Give --month YYYY-MM, or --from DAY and --to DAY (the day after the last)"
    )


def given_month(flag: str, text: str) -> Period:
    """A month of the command line. Raises UsageError."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text, re.ASCII):
        raise UsageError(f"{flag} {quoted(text)}: expected a month like 2026-10")
    first = given_day(flag, f"{text}-01")
    return Period.month(first.year, first.month)
