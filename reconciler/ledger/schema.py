"""Brings the tables up to date, shows them, and removes them. The SQL itself is in `schema/`."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final

from msgspec import Struct

from reconciler import SCHEMA_VERSION
from reconciler.core.catalog import Made, made_by
from reconciler.core.installation import Gap, Installation, gaps, hidden, install
from reconciler.errors import LedgerError, UnfitTables
from reconciler.ledger.grants import grant
from reconciler.ledger.inspection import answers, read_catalog, tables_asked_for
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load

log = logging.getLogger(__name__)

_FOLDER: Final = resources.files("reconciler") / "schema"
_OF_INVOICES: Final = "-invoices"
"""In the name of a file: what it makes is left out where the invoice tables are the portal's."""
_SQL: Final = load("schema")

VERSION: Final = SCHEMA_VERSION
"""The version that this program works with; `schema/99-version.sql` writes it."""


class Applied(Struct, frozen=True):
    """What `apply` did."""

    changed: bool
    """Whether any statement was run."""
    says: Sequence[str] = ()
    """Of the tables that were adapted, and of those that were left as they are."""


def statements(*, with_invoices: bool = True) -> str:
    """All statements that make the schema; each may be run again."""
    return "\n".join(
        text for name, text in _files().items() if with_invoices or _OF_INVOICES not in name
    )


@cache
def _files() -> Mapping[str, str]:
    names = sorted(file.name for file in _FOLDER.iterdir() if file.name[:1].isdigit())
    return {name: (_FOLDER / name).read_text(encoding="utf-8") for name in names}


@cache
def _made() -> tuple[Made, Made]:
    """What the schema makes: of the ledger, and of invoices."""
    ledger = statements(with_invoices=False)
    invoices = "\n".join(text for name, text in _files().items() if _OF_INVOICES in name)
    return made_by(ledger), made_by(invoices)


def drop_statements() -> str:
    """The statements that remove it, with every row."""
    return (_FOLDER / "drop.sql").read_text(encoding="utf-8")


def version(transaction: Transaction) -> int:
    """The version that the database has; 0 where there is none. Raises LedgerError for a newer one."""
    if transaction.value("SELECT to_regclass('reconciler_schema') IS NULL"):
        return 0
    found: int = transaction.value("SELECT coalesce(max(version), 0) FROM reconciler_schema")
    if found > VERSION:
        raise LedgerError(
            f"the schema has version {found}, but this program knows {VERSION}; use a newer reconciler"
        )
    return found


def check_there(transaction: Transaction, database: Database) -> None:
    """Raises LedgerError where there is no schema to read from, or one that is too new."""
    if version(transaction) == 0:
        raise LedgerError(
            f"{database} has no ledger yet; `reconciler run` or `reconciler schema apply` creates it"
        )


def check_current(transaction: Transaction, database: Database) -> None:
    """Raises LedgerError where the schema is not there, or not the one that this program knows."""
    check_there(transaction, database)
    if (found := version(transaction)) < VERSION:
        raise LedgerError(
            f"the schema of {database} has version {found}, and {VERSION} is needed; "
            "`reconciler schema apply`, or the next pass, upgrades it"
        )


def check_readable(transaction: Transaction, database: Database) -> None:
    """Raises LedgerError where a dry run, which upgrades nothing, cannot read the ledger as it is."""
    if version(transaction) == 1:
        raise LedgerError(
            f"the schema of {database} has version 1, which a dry run cannot read; "
            "`reconciler schema apply`, or the next pass, upgrades it"
        )


def preparation(transaction: Transaction) -> str:
    """The statements that a pass runs first; empty where the tables are as it needs them.

    Raises UnfitTables where nothing can be done about them, and LedgerError.
    """
    found = _inspected(transaction)
    return _all_of(found) if found.is_due else ""


def apply(
    database: Database,
    *,
    always: bool = False,
    tables: str | None = None,
    grants: Mapping[str, str] | None = None,
) -> Applied:
    """Runs the statements where the schema is behind (or `always`), all in one transaction.

    `tables`: `all`, `ledger` to leave the invoice tables to the portal, None for what was said before.
    `grants`: the role that gets the rights, for each of `grants.ROLES` that is given.
    Raises UnfitTables before anything is changed, and LedgerError, also where the schema is newer.
    """
    with database.transaction() as transaction:
        if not always and not _inspected(transaction).is_due:
            return Applied(changed=False)
        # Several may start at once; the others find it done.
        transaction.lock(lambda: None)
        found = _inspected(transaction, tables, is_asked=always)
        if not found.is_due:
            return Applied(changed=False)
        transaction.execute(_all_of(found))
        if found.is_adopted:
            for correction in corrections(transaction):
                log.warning("the portal's row cannot be true: %s", correction)
            for contradiction in contradictions(transaction):
                log.warning("the portal's rows contradict themselves, and are kept: %s", contradiction)
        for kind, role in (grants or {}).items():
            grant(transaction, database, kind, role)
    return Applied(changed=True, says=[*map(str, found.adaptations), *found.notes])


def _inspected(
    transaction: Transaction, tables: str | None = None, *, is_asked: bool = False
) -> Installation:
    """Raises UnfitTables, with the same words whoever asks, and LedgerError."""
    ledger, invoices = _made()
    catalog = read_catalog(transaction, ledger | invoices)
    if unseen := hidden(catalog, ledger):
        # The version itself could not be read.
        raise UnfitTables(unseen)
    found = install(
        catalog,
        ledger,
        invoices,
        tables=tables or tables_asked_for(transaction, catalog),
        is_behind=version(transaction) < VERSION,
        is_asked=is_asked,
    )
    # Who may not change a table may not read it either, perhaps.
    if problems := found.problems or [*answers(transaction, found.questions)]:
        raise UnfitTables(problems)
    return found


def _all_of(found: Installation) -> str:
    """The statements of the schema, between those that go before and those that come after."""
    before = [one.statement for one in found.adaptations if not one.is_last]
    after = [one.statement for one in found.adaptations if one.is_last]
    # A later version of the schema, and a role that only runs passes, go by what was said here.
    after.append(
        f"UPDATE reconciler_schema SET tables = '{found.tables}' WHERE version = {VERSION}"  # noqa: S608 - both are ours
    )
    made = statements(with_invoices=found.with_invoices)
    return "\n".join([*(f"{one};" for one in before), made, *(f"{one};" for one in after)])


def missing(transaction: Transaction) -> Sequence[Gap]:
    """What of the schema is not there, in a database in which it has been. Raises LedgerError."""
    ledger, invoices = _made()
    catalog = read_catalog(transaction, ledger | invoices)
    tables = tables_asked_for(transaction, catalog)
    found = [*gaps(catalog, ledger, invoices, tables=tables)]
    # Of an earlier version more is missing, and that is told otherwise.
    is_there = "reconciler_schema" in catalog.tables
    return () if is_there and version(transaction) < VERSION else found


def contradictions(transaction: Transaction) -> list[str]:
    """What the portal's rows say twice in a row, for people; they are kept as they are."""
    return [text for (text,) in transaction.rows(_SQL["contradictions"])]


def corrections(transaction: Transaction) -> list[str]:
    """The portal's rows that could not be true, and as what they count, for people."""
    return [text for (text,) in transaction.rows(_SQL["corrections"])]


def drop(database: Database) -> None:
    """Removes the schema, with every row. Raises LedgerError."""
    with database.transaction() as transaction:
        transaction.lock(lambda: None)
        transaction.execute(drop_statements())
