"""Reads where the ledger stands, for whoever watches over passes that no process stays behind of."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from msgspec import Struct

from reconciler.ledger import schema
from reconciler.ledger.postgres import Database
from reconciler.ledger.queries import load

_SQL: Final = load("standing")


class Standing(Struct, frozen=True, kw_only=True):
    """Where the ledger stands. Times are seconds since 1970; None: there was none yet."""

    last_pass: float | None
    """When the last pass was written, be it over a list or over one change."""
    last_list: float | None
    """When the last pass over all tenants was written."""
    last_look: float | None
    """The instant that this one looked at."""
    quarantined: int
    held: int
    live: int
    suspended: int
    unseen: float
    """Seconds of the day before the last look in which changes may be missing."""
    position: int
    passes: int
    rows: Mapping[str, int]
    """Written by passes, by kind."""


def standing(database: Database, longest_gap: timedelta) -> Standing:
    """Where the ledger stands. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        (row,) = transaction.rows(_SQL["standing"], longest_gap)
        last_pass, last_list, last_look, quarantined, held, live, suspended, unseen, position = row
        return Standing(
            last_pass=last_pass,
            last_list=last_list,
            last_look=last_look,
            quarantined=quarantined,
            held=held,
            live=live,
            suspended=suspended,
            unseen=unseen,
            position=position or 0,
            passes=transaction.value(_SQL["passes"]),
            rows=dict(transaction.rows(_SQL["rows"])),
        )
