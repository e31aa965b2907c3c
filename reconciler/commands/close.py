"""`reconciler close`: a month goes on record as it stands, with what changed since the last time."""

from datetime import timedelta

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import decided_by, given_month
from reconciler.ledger.closes import close as ledger_close
from reconciler.output.close_report import close_json, close_text


def close(
    parts: Parts,
    *,
    output: str,
    month: str,
    org: str | None = None,
    in_doubt: bool = False,
    by: str | None = None,
) -> int:
    """Closes a month and prints the close. Raises ReconcilerError."""
    made = ledger_close(
        parts.database,
        given_month("MONTH", month),
        org=org,
        time_zone=parts.settings.time_zone,
        by=decided_by(by),
        in_doubt=in_doubt,
        longest_gap=timedelta(seconds=parts.settings.coverage_gap),
    )
    return print_either(output, close_json(made), close_text(made))
