"""`reconciler report`: a month as an HTML file, of one organisation or of all."""

from datetime import timedelta

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_bytes, write_file
from reconciler.commands.values import given_month
from reconciler.errors import ExitStatus
from reconciler.ledger.report_reader import fleet, statement
from reconciler.ledger.usage_reader import Question
from reconciler.output.html import fleet_html, statement_html


def report(parts: Parts, *, month: str, org: str | None = None, file: str | None = None) -> int:
    """Writes the page to the file, or prints it. Raises ReconcilerError."""
    question = Question(
        period=given_month("--month", month),
        time_zone=parts.settings.time_zone,
        longest_gap=timedelta(seconds=parts.settings.coverage_gap),
        org=org,
    )
    if org is None:
        page = fleet_html(fleet(parts.database, question))
    else:
        page = statement_html(statement(parts.database, question))
    pieces = (piece.encode(errors="backslashreplace") for piece in page)
    if file is None:
        print_bytes(pieces)
    else:
        write_file(file, pieces)
    return ExitStatus.DONE
