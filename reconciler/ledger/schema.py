"""Brings the tables up to date, shows them, and removes them. The SQL itself is in `schema/`."""

import logging
from importlib import resources
from typing import Final

from reconciler.core.text import quoted
from reconciler.errors import LedgerError
from reconciler.ledger.postgres import Database, Transaction

log = logging.getLogger(__name__)

ROLES: Final = {
    "reader": ("reader",),
    "runner": ("runner",),
    "operator": ("reader", "runner", "operator"),
}
"""The roles of the ledger, and which files of `schema/grants` each is made of."""

_FOLDER: Final = resources.files("reconciler") / "schema"

_SEQUENCES: Final = """
SELECT pg_get_serial_sequence(name, 'id')
FROM unnest(ARRAY['reconciler_passes', 'tenant_billing_lifecycle',
                  'tenant_skill_events', 'tenant_suspension_events']) AS name
"""

_CONTRADICTIONS: Final = """
SELECT tenant_name || ' ' || coalesce(skill_id || ' ', '') || event_kind
       || ' without its opposite before it, ' || count(*) || ' times'
FROM (
    SELECT tenant_name, skill_id, event_kind,
           lag(event_kind) OVER (PARTITION BY tenant_name, skill_id ORDER BY occurred_at, id) AS before
    FROM tenant_skill_events WHERE lifecycle_id IS NULL
    UNION ALL
    SELECT tenant_name, NULL, event_kind,
           lag(event_kind) OVER (PARTITION BY tenant_name ORDER BY occurred_at, id)
    FROM tenant_suspension_events WHERE lifecycle_id IS NULL
) portal
WHERE event_kind = before OR (before IS NULL AND event_kind IN ('disabled', 'resumed'))
GROUP BY tenant_name, skill_id, event_kind
ORDER BY tenant_name, skill_id
"""

VERSION: Final = 3
"""The version that this program works with; `schema/99-version.sql` writes it."""


def statements() -> str:
    """All statements that make the schema; each may be run again."""
    files = sorted(file.name for file in _FOLDER.iterdir() if file.name[:1].isdigit())
    return "\n".join((_FOLDER / name).read_text() for name in files)


def drop_statements() -> str:
    """The statements that remove it, with every row."""
    return (_FOLDER / "drop.sql").read_text()


def version(transaction: Transaction) -> int:
    """The version that the database has; 0 where there is none. Raises LedgerError for a newer one."""
    if transaction.value("SELECT to_regclass('reconciler_schema') IS NULL"):
        return 0
    found: int = transaction.value("SELECT coalesce(max(version), 0) FROM reconciler_schema")
    if found > VERSION:
        raise LedgerError(
            f"the schema has version {found}, this program knows {VERSION}; use a newer reconciler"
        )
    return found


def check_there(transaction: Transaction, database: Database) -> None:
    """Raises LedgerError where there is no schema to read from, or one that is too new."""
    if version(transaction) == 0:
        raise LedgerError(f"{database} holds no ledger yet; a first `reconciler run` makes it")


def check_current(transaction: Transaction, database: Database) -> None:
    """Raises LedgerError where the schema is not there, or not the one that this program knows."""
    check_there(transaction, database)
    if (found := version(transaction)) < VERSION:
        raise LedgerError(
            f"the schema of {database} has version {found}, and {VERSION} is needed; "
            "`reconciler schema apply`, or the next pass, brings it there"
        )


def apply(database: Database, *, always: bool = False) -> bool:
    """Runs the statements where the schema is behind (or `always`); tells whether it did.

    Raises LedgerError, also where the schema is newer than this program.
    """
    with database.transaction() as transaction:
        found = version(transaction)
        if found == VERSION and not always:
            return False
        # Several may start at once; the others find it done.
        transaction.lock(lambda: None)
        if version(transaction) == VERSION and not always:
            return False
        transaction.execute(statements())
        if found == 0:
            for contradiction in contradictions(transaction):
                log.warning("the portal's rows contradict themselves, and are kept: %s", contradiction)
        return True


def contradictions(transaction: Transaction) -> list[str]:
    """What the portal's rows say twice in a row, for people; they are kept as they are."""
    return [text for (text,) in transaction.rows(_CONTRADICTIONS)]


def grant(database: Database, kind: str, role: str) -> None:
    """Grants a role what one of ROLES needs, and no more. Raises LedgerError."""
    with database.transaction() as transaction:
        found = transaction.rows("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = %s", role)
        if not found:
            raise LedgerError(
                f"{database} has no role {quoted(role)}; create it first: CREATE ROLE … LOGIN"
            )
        sequences = ", ".join(name for (name,) in transaction.rows(_SEQUENCES))
        schema = transaction.value("SELECT quote_ident(current_schema())")
        transaction.execute(f"GRANT USAGE ON SCHEMA {schema} TO {found[0][0]}")
        for included in ROLES[kind]:
            statements = (_FOLDER / "grants" / f"{included}.sql").read_text()
            transaction.execute(statements.format(role=found[0][0], sequences=sequences))


def drop(database: Database) -> None:
    """Removes the schema, with every row. Raises LedgerError."""
    with database.transaction() as transaction:
        transaction.lock(lambda: None)
        transaction.execute(drop_statements())
