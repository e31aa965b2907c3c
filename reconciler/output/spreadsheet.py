"""Tables for a spreadsheet: CSV, and XLSX. Text stays text: a name is never taken for a formula."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict, fields

from reconciler.core.text import stamp
from reconciler.errors import UsageError

SEPARATORS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""

Cell: TypeAlias = str | int | Decimal | date | bool | None


class Dialect(Struct, frozen=True, kw_only=True):
    """How CSV is written. Excel in a Swiss locale opens one with semicolons and a BOM."""

    separator: str = "comma"
    decimal: str = "point"
    bom: bool = False


class Table(Struct, frozen=True):
    """A name, the names of the columns, and the rows."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def table(name: str, kind: type[Struct], rows: Sequence[Struct]) -> Table:
    """A table with a column for each field."""
    names = [field.name for field in fields(kind)]
    return Table(name, names, [[asdict(row)[name] for name in names] for row in rows])


def csv_bytes(found: Table, dialect: Dialect) -> Iterator[bytes]:
    """A line of column names, and one a row. What does not apply is empty."""
    if dialect.bom:
        yield b"\xef\xbb\xbf"
    for row in [found.columns, *found.rows]:
        line = io.StringIO()
        writer = csv.writer(line, delimiter=SEPARATORS[dialect.separator], lineterminator="\n")
        writer.writerow([_csv_cell(cell, dialect) for cell in row])
        yield line.getvalue().encode(errors="backslashreplace")


def _csv_cell(cell: Cell, dialect: Dialect) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            # A line is a line, and a terminal shows it as text.
            text = "".join(c if c.isprintable() and c != "\\" else _escape(c) for c in cell)
            return f"'{text}" if text.startswith(_FORMULA) else text
        case Decimal():
            return str(cell) if dialect.decimal == "point" else str(cell).replace(".", ",")
        case datetime():
            return stamp(cell)
        case _:
            return str(cell)


def _escape(character: str) -> str:
    return "\\\\" if character == "\\" else ascii(character)[1:-1]


def xlsx_bytes(tables: Sequence[Table]) -> bytes:
    """A workbook with a sheet for each table. Raises UsageError without the library."""
    try:
        import xlsxwriter  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError(
            "--output xlsx needs the package xlsxwriter: pip install 'pieced-reconciler[xlsx]'"
        ) from None
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(buffer, options) as workbook:
        bold = workbook.add_format({"bold": True})
        money, day = (workbook.add_format({"num_format": it}) for it in ("0.00###", "yyyy-mm-dd"))
        for found in tables:
            sheet = workbook.add_worksheet(found.name)
            sheet.freeze_panes(1, 0)
            sheet.write_row(0, 0, found.columns, bold)
            for number, row in enumerate(found.rows, start=1):
                for place, cell in enumerate(row):
                    _write(sheet, (number, place), cell, money, day)
            sheet.autofit()
    return buffer.getvalue()


def _write(sheet: Any, at: tuple[int, int], cell: Cell, money: Any, day: Any) -> None:
    match cell:
        case None:
            pass
        case bool():
            sheet.write_boolean(*at, cell)
        case Decimal():
            sheet.write_number(*at, float(cell), money)
        case int():
            sheet.write_number(*at, cell)
        case datetime():
            sheet.write_string(*at, stamp(cell))
        case date():
            sheet.write_datetime(*at, cell, day)
        case _:
            sheet.write_string(*at, str(cell))
