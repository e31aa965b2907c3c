"""`reconciler usage`: the billable days that the events add up to, and what they would cost."""

from datetime import timedelta
from typing import Any

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_bytes, print_lines
from reconciler.commands.values import given_day, given_day_of, given_month, given_time
from reconciler.core.usage import Correction, Corrections, Line, Period
from reconciler.errors import ExitStatus, UsageError
from reconciler.ledger.closes import corrections_since_close
from reconciler.ledger.usage_reader import Question
from reconciler.ledger.usage_reader import corrections as ledger_corrections
from reconciler.ledger.usage_reader import usage as ledger_usage
from reconciler.output.usage_report import (
    corrections_json,
    corrections_text,
    table_csv,
    usage_json,
    usage_text,
)


def usage(
    parts: Parts,
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
    question = Question(
        period=_period(parts, month, start, end),
        time_zone=parts.settings.time_zone,
        longest_gap=timedelta(seconds=parts.settings.coverage_gap),
        as_of=given_time(parts, "--as-of", as_of),
        as_of_pass=as_of_pass,
        prices_of=given_day_of(parts, "--prices-of", prices_of),
        **who,
    )
    if as_of is not None and as_of_pass is not None:
        raise UsageError("--as-of and --as-of-pass both say what counts; give one")
    if prices_of is not None and not question.prices:
        raise UsageError("--prices-of is about amounts; give --prices as well")
    given = [as_of is not None, as_of_pass is not None, since_close]
    if corrections and not any(given):
        raise UsageError(
            "--corrections is about what was changed since; give --as-of TIME or --since-close as well"
        )
    if since_close and (not corrections or any(given[:2])):
        raise UsageError("--since-close goes with --corrections, and without --as-of")
    if corrections:
        ask = corrections_since_close if since_close else ledger_corrections
        _print_corrections(ask(parts.database, question), output)
        return 0
    found = ledger_usage(parts.database, question)
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


def _period(parts: Parts, month: str | None, start: str | None, end: str | None) -> Period:
    if month is not None and start is None and end is None:
        return given_month("--month", month)
    if month is None and start is not None and end is not None:
        return Period(given_day(parts, "--from", start), given_day(parts, "--to", end))
    raise UsageError(
        "which days? Give --month YYYY-MM, or --from DAY and --to DAY (the day after the last)"
    )
