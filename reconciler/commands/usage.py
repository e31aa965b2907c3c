"""`reconciler usage`: the billable days that the events add up to, and what they would cost."""

from datetime import timedelta
from typing import Any

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_bytes, print_lines, write_file
from reconciler.commands.values import given_day, given_day_of, given_month, given_time
from reconciler.core.groups import By, Grouped, Sort
from reconciler.core.usage import Correction, Corrections, Period, Usage
from reconciler.errors import ExitStatus, UsageError
from reconciler.ledger.closes import corrections_since_close
from reconciler.ledger.usage_reader import Question
from reconciler.ledger.usage_reader import corrections as ledger_corrections
from reconciler.ledger.usage_reader import groups as ledger_groups
from reconciler.ledger.usage_reader import usage as ledger_usage
from reconciler.output.spreadsheet import Dialect, csv_bytes, table, xlsx_bytes
from reconciler.output.usage_report import (
    about_table,
    corrections_json,
    corrections_text,
    groups_json,
    groups_table,
    groups_text,
    totals_table,
    usage_json,
    usage_tables,
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
    by: str | None = None,
    sort: str | None = None,
    top: int | None = None,
    totals: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    bom: bool = False,
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
    is_csv = output == "csv" or totals is not None
    if not is_csv and (separator is not None or decimal is not None or bom):
        raise UsageError("--separator, --decimal and --bom are about CSV; give --output csv as well")
    dialect = Dialect(separator=separator or "comma", decimal=decimal or "point", bom=bom)
    if top is not None and top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    if by is None and (sort is not None or top is not None):
        raise UsageError("--sort and --top are about groups; give --by as well")
    if sort == Sort.AMOUNT and (not question.prices or by == By.DAY):
        raise UsageError("--sort amount needs --prices, and amounts are not told by day")
    if corrections and (by is not None or totals is not None):
        raise UsageError("--by and --totals are about lines; --corrections tells differences")
    if corrections:
        ask = corrections_since_close if since_close else ledger_corrections
        _print_corrections(ask(parts.database, question), output, dialect)
        return 0
    if by is None:
        found = ledger_usage(parts.database, question)
        _print(found, output, dialect)
    else:
        order = Sort(sort) if sort else None
        found, groups = ledger_groups(parts.database, question, By(by), sort=order, top=top)
        _print_groups(found, groups, output, dialect)
    if totals is not None:
        write_file(totals, csv_bytes(totals_table(found), dialect))
    return ExitStatus.REFUSED if strict and not found.is_ready else ExitStatus.DONE


def _print(found: Usage, output: str, dialect: Dialect) -> None:
    match output:
        case "json":
            print_bytes([usage_json(found), b"\n"])
        case "csv":
            print_bytes(csv_bytes(usage_tables(found)[0], dialect))
        case "xlsx":
            print_bytes([xlsx_bytes(usage_tables(found))])
        case _:
            print_lines(usage_text(found))


def _print_groups(found: Usage, groups: Grouped, output: str, dialect: Dialect) -> None:
    match output:
        case "json":
            print_bytes([groups_json(found, groups), b"\n"])
        case "csv":
            print_bytes(csv_bytes(groups_table(groups), dialect))
        case "xlsx":
            print_bytes([xlsx_bytes([groups_table(groups), about_table(found)])])
        case _:
            print_lines(groups_text(found, groups))


def _print_corrections(found: Corrections, output: str, dialect: Dialect) -> None:
    if output == "json":
        print_bytes([corrections_json(found), b"\n"])
    elif output == "csv":
        print_bytes(csv_bytes(table("Corrections", Correction, found.lines), dialect))
    elif output == "xlsx":
        print_bytes([xlsx_bytes([table("Corrections", Correction, found.lines)])])
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
