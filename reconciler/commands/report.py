"""`reconciler report`: a month as an HTML file, of one organisation or of all."""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_bytes
from reconciler.commands.values import given_month
from reconciler.errors import ExitStatus, NotPrinted
from reconciler.ledger.report_reader import fleet, statement
from reconciler.ledger.usage_reader import Question
from reconciler.output.report import fleet_html, statement_html


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
        _write(Path(file), pieces)
    return ExitStatus.DONE


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    """All of it or nothing: whoever reads the file meanwhile sees the one before."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with partial.open("wb") as opened:
            opened.writelines(pieces)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise NotPrinted(f"cannot write {file}: {error.strerror}") from None
