"""`reconciler void`: takes passes out of the ledger that should never have been, on record."""

from functools import partial

from reconciler.commands.asking import ask
from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import decided_by
from reconciler.errors import UsageError
from reconciler.ledger import voids
from reconciler.output.void import void_json, void_text


def void(
    parts: Parts,
    *,
    first_pass: int,
    output: str,
    because: str | None = None,
    by: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
) -> int:
    """Voids a pass and all after it, and prints what left the ledger. Raises ReconcilerError."""
    if because is None and not dry_run:
        raise UsageError("say why, for the record: --because TEXT")
    why = because or "dry run"
    decided = partial(voids.void, parts.database, first_pass, because=why, by=decided_by(by))
    last_pass = None
    if not (dry_run or yes):
        would = decided(dry_run=True)
        question = "\n".join((*void_text(would, dry_run=True), "Void?"))
        ask(question, "void", why="void withdraws rows from the ledger")
        last_pass = would.last_pass
    done = decided(dry_run=dry_run, last_pass=last_pass)
    return print_either(output, void_json(done, dry_run=dry_run), void_text(done, dry_run=dry_run))
