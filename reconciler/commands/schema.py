"""`reconciler schema`: creates the tables, prints the SQL that does, or drops them."""

from reconciler import SCHEMA_VERSION
from reconciler.commands.asking import ask
from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_lines
from reconciler.core.installation import LEDGER
from reconciler.errors import ExitStatus
from reconciler.ledger import schema as ledger_schema


def schema_apply(parts: Parts, *, tables: str | None = None, **roles: str) -> int:
    """Creates the tables or upgrades them, and grants rights to roles. Raises ReconcilerError."""
    database = parts.database
    grants = {grant.removeprefix("grant_"): role for grant, role in roles.items()}
    applied = ledger_schema.apply(database, always=True, tables=tables, grants=grants)
    done = [*applied.says, f"{database}: the schema has version {SCHEMA_VERSION}"]
    done += [f"{database}: {role} has the rights of a {kind}" for kind, role in grants.items()]
    print_lines(done)
    return ExitStatus.DONE


def schema_print(_: Parts, *, tables: str | None = None) -> int:
    """Prints the SQL. It needs no database."""
    print_lines([ledger_schema.statements(with_invoices=tables != LEDGER).rstrip()])
    return ExitStatus.DONE


def schema_drop(parts: Parts, *, yes: bool = False) -> int:
    """Drops the tables. Raises ReconcilerError."""
    if not yes:
        ask(
            f"Drop the billing tables and every row in them from {parts.database}?",
            "drop",
            why="schema drop removes the whole ledger",
        )
    ledger_schema.drop(parts.database)
    print_lines([f"{parts.database}: the tables are dropped"])
    return ExitStatus.DONE
