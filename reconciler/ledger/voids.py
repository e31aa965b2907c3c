"""Voids passes that should never have been: their rows go on record and out of the ledger."""

from contextlib import nullcontext
from typing import Final

from reconciler.core.voids import Voided
from reconciler.errors import Contradicted, LedgerError, Refused, UsageError
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("voids")


def void(
    database: Database,
    first_pass: int,
    *,
    because: str,
    by: str,
    dry_run: bool,
    last_pass: int | None = None,
) -> Voided:
    """Voids a pass and all passes after it. With `dry_run` the same is done and taken back.

    `last_pass` is the last one that may be voided; None: whichever there is. Raises UsageError for an
    unknown pass, Refused for a later one, and LedgerError, also where the role does not own the tables.
    """
    try:
        with database.transaction() as transaction:
            schema.check_current(transaction, database)
            _check(transaction, database, first_pass)
            with transaction.attempt() if dry_run else nullcontext():
                return _void(transaction, first_pass, because=because, by=by, last_pass=last_pass)
    except Contradicted as error:
        raise LedgerError(
            f"{error}. Remove what still names the rows of these passes first: a line of an invoice, "
            "or a row of the portal"
        ) from error


def _void(
    transaction: Transaction, first_pass: int, *, because: str, by: str, last_pass: int | None
) -> Voided:
    number = transaction.value(_SQL["void"], first_pass, because, by)
    voided = _voided(transaction, number)
    if last_pass is not None and voided.last_pass != last_pass:
        raise Refused(
            f"pass {voided.last_pass} was written in the meantime; nothing was voided; try again"
        )
    return voided


def _check(transaction: Transaction, database: Database, first_pass: int) -> None:
    ((is_pass, is_owner, owner),) = transaction.rows(_SQL["standing"], first_pass)
    if not is_pass:
        raise UsageError(
            f"there is no pass {first_pass}; `reconciler history` shows the pass of each row"
        )
    if not is_owner:
        raise LedgerError(
            f"{database}: only the owner of the tables, {owner}, may void passes; nothing was voided"
        )


def _voided(transaction: Transaction, number: int) -> Voided:
    (row,) = transaction.rows(_SQL["voided"], number)
    invoices: list[tuple[str]] = []
    if transaction.value(_SQL["has_positions"]):
        first_pass, *_ = row
        invoices = transaction.rows(_SQL["invoices"], first_pass, number)
    return Voided(number, *(*row, [invoice for (invoice,) in invoices]))
