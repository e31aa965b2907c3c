"""How organisations are billed: read, and changed with a record of who and when."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from reconciler.core.prices import Decision, Posture, Validity, Value
from reconciler.core.text import quoted
from reconciler.errors import UsageError
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load

LONGEST_NAME: Final = 1_000
"""Bytes; an index holds no more than about twice as many."""

TABLE: Final = "org_billing_config"

_COLUMNS: Final = (
    *("pay_by_invoice", "auto_invoice_enabled"),
    *("auto_reminders_enabled", "stripe_customer_id", "display_name"),
)
_SQL: Final = load("decisions")

Columns: TypeAlias = Mapping[str, Value]


def postures(database: Database) -> Sequence[Posture]:
    """How each organisation is billed that the ledger knows. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        return [_posture(row) for row in transaction.rows(_SQL["postures"], None, None)]


def posture(
    database: Database, org: str, by: str, *, create: bool = False
) -> tuple[Posture, Decision | None]:
    """How an organisation is billed. The first to read it creates its row: then that is on record.

    Raises UsageError for one that never had a tenant and has no row, unless it is to be created.
    """
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        if not create and not _is_known(transaction, org):
            raise UsageError(
                f"org {quoted(org)} has no tenant and never had one; check the id, or give --create"
            )
        decision = _change(transaction, named("org", org), {}, by)
        return _posture(transaction.rows(_SQL["postures"], org, org)[0]), decision


def is_org_known(database: Database, org: str) -> bool:
    """Whether an organisation has its settings, or ever had a tenant. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        return _is_known(transaction, org)


def _is_known(transaction: Transaction, org: str) -> bool:
    return bool(transaction.rows(_SQL["known_org"], org, org))


def set_posture(
    database: Database, org: str, given: Mapping[str, bool | str | None], by: str
) -> Decision | None:
    """Changes how an organisation is billed, by column; None where it is so already."""
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        wanted = {
            column: named(column, value) if isinstance(value, str) else value
            for column, value in given.items()
        }
        return _change(transaction, named("org", org), wanted, by)


def org_names(transaction: Transaction) -> Mapping[str, str]:
    """What people call the organisations, by id; only of those that were given a name."""
    return dict(transaction.rows(_SQL["names"]))


def named(what: str, name: str) -> str:
    """A name that can be kept. Raises UsageError."""
    if not name.strip() or "\0" in name or len(name.encode()) > LONGEST_NAME:
        raise UsageError(f"{what} {quoted(name)}: expected a name of up to {LONGEST_NAME:,} bytes")
    return name


def _change(transaction: Transaction, org: str, wanted: Columns, by: str) -> Decision | None:
    """Brings a row to what is wanted, making it where there is none, and records what that changed."""
    begun = bool(transaction.rows(_SQL["begin"], org))
    row = dict(zip(_COLUMNS, transaction.rows(_SQL["row"], org)[0], strict=True))
    differing = {column: value for column, value in wanted.items() if row[column] != value}
    if not begun and not differing:
        return None
    after = {**row, **differing}
    if differing:
        transaction.execute(_SQL["change"], *(after[column] for column in _COLUMNS), org)
    if begun:
        return record(transaction, TABLE, org, by, before=None, after=after)
    before = {column: row[column] for column in differing}
    return record(transaction, TABLE, org, by, before=before, after=differing)


def record(
    transaction: Transaction,
    table: str,
    subject: str | None,
    by: str,
    *,
    before: Columns | None,
    after: Columns | None,
    validity: Mapping[str, Validity] | None = None,
    closed_months: Sequence[str] = (),
) -> Decision:
    """Puts a change on record."""
    values = [None if row is None else msgspec.json.encode(row).decode() for row in (before, after)]
    ((id_, decided_at, database_user),) = transaction.rows(_SQL["record"], by, table, subject, *values)
    return Decision(
        id=id_,
        decided_at=decided_at,
        decided_by=by,
        database_user=database_user,
        table=table,
        subject=subject,
        before=before,
        after=after,
        validity=validity or {},
        closed_months=closed_months,
    )


def _posture(row: Sequence[Any]) -> Posture:
    org, invoice, auto_invoice, auto_reminders, stripe, name, tenants, is_stored = row
    return Posture(
        zitadel_org_id=org,
        pay_by_invoice=invoice,
        auto_invoice_enabled=auto_invoice,
        auto_reminders_enabled=auto_reminders,
        stripe_customer_id=stripe,
        display_name=name,
        tenants=tenants,
        is_stored=is_stored,
    )
