"""`reconciler schema`: makes the tables, prints the SQL that does, or removes them."""

import sys
from typing import Any

from reconciler.commands.parts import open_database
from reconciler.commands.printing import print_lines
from reconciler.core.installation import LEDGER
from reconciler.errors import UsageError
from reconciler.ledger import schema as ledger_schema
from reconciler.logs import set_up_logging
from reconciler.settings import load


def schema(
    flags: dict[str, Any],
    *,
    action: str,
    yes: bool = False,
    tables: str | None = None,
    **roles: str,
) -> int:
    """Raises ReconcilerError."""
    if action == "print":
        print_lines([ledger_schema.statements(with_invoices=tables != LEDGER).rstrip()])
        return 0
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
    with open_database(settings) as database:
        if action == "apply":
            grants = {grant.removeprefix("grant_"): role for grant, role in roles.items()}
            applied = ledger_schema.apply(database, always=True, tables=tables, grants=grants)
            done = [*applied.says, f"{database}: the schema has version {ledger_schema.VERSION}"]
            done += [f"{database}: {role} has the rights of a {kind}" for kind, role in grants.items()]
        else:
            if not yes:
                _ask(str(database))
            ledger_schema.drop(database)
            done = [f"{database}: the tables are removed"]
    print_lines(done)
    return 0


def _ask(database: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("schema drop removes the whole ledger; where nobody can be asked, give --yes")
    answer = input(f"Remove the billing tables and every row in them from {database}? Type 'drop': ")
    if answer.strip() != "drop":
        raise UsageError("nothing was removed")
