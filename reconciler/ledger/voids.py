"""Voids passes that should never have been: their rows go on record and out of the ledger."""

from typing import Final

from msgspec.structs import replace

from reconciler.core.voids import Voided
from reconciler.errors import LedgerError, UsageError
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("voids")


class _OnlyTried(Exception):
    """Ends the transaction of a dry run, so that nothing of it stays."""


def void(database: Database, first_pass: int, *, because: str, by: str, dry_run: bool) -> Voided:
    """Voids a pass and all passes after it. With `dry_run` the same is done and taken back.

    Raises UsageError for an unknown pass, and LedgerError, also where the role does not own the tables.
    """
    voided: list[Voided] = []
    try:
        with database.transaction() as transaction:
            schema.check_current(transaction, database)
            _check(transaction, database, first_pass)
            number = transaction.value(_SQL["void"], first_pass, because, by)
            voided.append(_voided(transaction, number))
            if dry_run:
                raise _OnlyTried
    except _OnlyTried:
        pass
    return voided[0]


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
    ((id_, first, last, because, by, at, *counts, at_pass, observed_at, closes),) = transaction.rows(
        _SQL["voided"], number
    )
    passes, begun, ended, skill_events, suspension_events = counts
    found = Voided(
        id=id_,
        first_pass=first,
        last_pass=last,
        because=because,
        decided_by=by,
        decided_at=at,
        passes=passes,
        begun=begun,
        ended=ended,
        skill_events=skill_events,
        suspension_events=suspension_events,
        at_pass=at_pass,
        observed_at=observed_at,
        closes=closes,
    )
    if not transaction.value(_SQL["has_positions"]):
        return found
    return replace(
        found, invoices=[number for (number,) in transaction.rows(_SQL["invoices"], first, id_)]
    )
