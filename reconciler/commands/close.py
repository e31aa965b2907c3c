"""`reconciler close`: a month goes on record as it stands, with what changed since the last time."""

from datetime import timedelta
from typing import Any

from reconciler.commands.parts import open_database
from reconciler.commands.pricing import os_user
from reconciler.commands.printing import print_bytes, print_lines
from reconciler.commands.usage import given_month
from reconciler.ledger.closes import close as ledger_close
from reconciler.logs import set_up_logging
from reconciler.output.close_report import close_json, close_text
from reconciler.settings import load


def close(
    flags: dict[str, Any],
    *,
    output: str,
    month: str,
    org: str | None = None,
    in_doubt: bool = False,
    by: str = "",
) -> int:
    """Closes a month and prints the close. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
    with open_database(settings) as database:
        made = ledger_close(
            database,
            given_month("MONTH", month),
            org=org,
            time_zone=settings.time_zone,
            by=by.strip() or os_user(),
            in_doubt=in_doubt,
            longest_gap=timedelta(seconds=settings.coverage_gap),
        )
    if output == "json":
        print_bytes([close_json(made), b"\n"])
    else:
        print_lines(close_text(made))
    return 0
