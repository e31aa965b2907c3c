"""The rights of the ledger's roles, as `schema/grants` has them."""

from importlib import resources
from typing import Final

from reconciler.core.text import quoted
from reconciler.errors import LedgerError
from reconciler.ledger.postgres import Database, Transaction

ROLES: Final = {
    "reader": ("reader",),
    "runner": ("runner",),
    "operator": ("reader", "runner", "operator"),
    "portal": ("reader", "portal"),
}
"""The roles, and which files each is made of."""

_FOLDER: Final = resources.files("reconciler") / "schema" / "grants"

_SEQUENCES: Final = """
SELECT pg_get_serial_sequence(name, 'id')
FROM unnest(ARRAY['reconciler_passes', 'tenant_billing_lifecycle',
                  'tenant_skill_events', 'tenant_suspension_events']) AS name
"""


def grant(transaction: Transaction, database: Database, kind: str, role: str) -> None:
    """Grants a role what one of ROLES needs, and no more. Raises LedgerError."""
    found = transaction.rows("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = %s", role)
    if not found:
        raise LedgerError(f"{database} has no role {quoted(role)}; create it first: CREATE ROLE … LOGIN")
    sequences = ", ".join(name for (name,) in transaction.rows(_SEQUENCES))
    schema = transaction.value("SELECT quote_ident(current_schema())")
    transaction.execute(f"GRANT USAGE ON SCHEMA {schema} TO {found[0][0]}")
    for included in ROLES[kind]:
        statements = (_FOLDER / f"{included}.sql").read_text(encoding="utf-8")
        transaction.execute(statements.format(role=found[0][0], sequences=sequences))
