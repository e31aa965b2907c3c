"""Brings the tables up to date, shows them, and removes them. The SQL itself is in `schema/`."""

from importlib import resources
from typing import Final

from reconciler.errors import LedgerError
from reconciler.ledger.postgres import Database, Transaction

VERSION: Final = 1
"""The version that this program works with; `schema/99-version.sql` writes it."""


def statements() -> str:
    """All statements that make the schema; each may be run again."""
    folder = resources.files("reconciler") / "schema"
    files = sorted(file.name for file in folder.iterdir() if file.name[:1].isdigit())
    return "\n".join((folder / name).read_text() for name in files)


def drop_statements() -> str:
    """The statements that remove it, with every row."""
    return (resources.files("reconciler") / "schema" / "drop.sql").read_text()


def version(transaction: Transaction) -> int:
    """The version that the database has; 0 where there is none."""
    if transaction.value("SELECT to_regclass('reconciler_schema') IS NULL"):
        return 0
    return transaction.value("SELECT coalesce(max(version), 0) FROM reconciler_schema") or 0


def apply(database: Database, *, always: bool = False) -> bool:
    """Runs the statements where the schema is behind (or `always`); tells whether it did.

    Raises LedgerError, also where the schema is newer than this program.
    """
    with database.transaction() as transaction:
        found = version(transaction)
        _check_known(found)
        if found == VERSION and not always:
            return False
        # Several may start at once; the others find it done.
        transaction.lock(lambda: None)
        if version(transaction) == VERSION and not always:
            return False
        transaction.execute(statements())
        return True


def drop(database: Database) -> None:
    """Removes the schema, with every row. Raises LedgerError."""
    with database.transaction() as transaction:
        transaction.lock(lambda: None)
        transaction.execute(drop_statements())


def _check_known(found: int) -> None:
    if found > VERSION:
        raise LedgerError(
            f"the schema has version {found}, this program knows {VERSION}; use a newer reconciler"
        )
