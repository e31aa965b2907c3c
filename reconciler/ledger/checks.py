"""Checks the rules of the ledger in SQL, over all rows at once and in bounded memory.

Each statement in `rules/` returns: rule, tenant_name, tenant_uid, tables, ids, told. `tables` and `ids`
together name the rows. `core.verify` says what the rules mean.
"""

from collections.abc import Callable, Iterator
from importlib import resources
from typing import Final

from msgspec.structs import replace

from reconciler.core.kinds import EVENTS, MEANING, Subject, kinds_of
from reconciler.core.tenant import Lifecycle
from reconciler.core.verify import Checked, Digests, Finding, Rebuilt, RowName
from reconciler.errors import UsageError
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("checks")
_FOLDER: Final = resources.files("reconciler") / "ledger" / "rules"


def prepare(transaction: Transaction) -> None:
    """Sets memory for sorting, and plans for reading all rows, until the end of the transaction."""
    transaction.execute(
        "SET LOCAL work_mem = '64MB'; SET LOCAL cursor_tuple_fraction = 1; SET LOCAL jit = off"
    )


def checked(transaction: Transaction) -> Checked:
    """The number of rows of each kind."""
    return Checked(*transaction.rows(_SQL["checked"])[0])


def rebuilt(transaction: Transaction) -> Iterator[Rebuilt]:
    """The live lifecycles, rebuilt from their events."""
    for row in transaction.portions(_SQL["rebuilt"]):
        id_, uid, name, org, created_at, skills, suspended, changed_at, *rest = row
        state_of, its_skills, its_suspension, its_change, read_at, held, fingerprint, *rest = rest
        seen_at, is_adopted = rest
        told = Lifecycle(
            id=id_,
            uid=uid,
            name=name,
            org=org,
            created_at=created_at,
            skills=tuple(skills),
            suspended=suspended,
            changed_at=changed_at,
            read_at=read_at,
            held=bool(held),
            fingerprint=fingerprint,
        )
        known = None
        if state_of is not None:
            known = replace(
                told, skills=tuple(its_skills), suspended=its_suspension, changed_at=its_change
            )
        yield Rebuilt(lifecycle=told, known=known, seen_at=seen_at, is_adopted=is_adopted)


def contradictions(
    transaction: Transaction, progress: Callable[[str], object] = lambda _: None
) -> Iterator[Finding]:
    """The broken rules, and the notes about rows of the portal. `progress` is told what is checked."""
    names = ("passes", "lifecycles", "live", "states", "overrides")
    statements = {
        **{name: _statement(name) for name in names},
        **{subject.table: event_rules(subject) for subject in EVENTS},
        "rows of the portal": _statement("portal"),
    }
    for number, (name, statement) in enumerate(statements.items(), start=1):
        progress(f"checking {name} ({number} of {len(statements)})")
        yield from _findings(transaction, statement)


def invoices(transaction: Transaction) -> Iterator[Finding]:
    """Lines of issued invoices that the ledger does not give. Raises UsageError without our tables."""
    if not transaction.value(_SQL["has_invoices"]):
        raise UsageError(
            "--invoices: the invoice tables of this database are not reconciler's; "
            "there is nothing to compare"
        )
    return _findings(transaction, _statement("invoices"))


def altered(transaction: Transaction) -> Iterator[Finding]:
    """The passes whose rows were altered since they were written."""
    return _findings(transaction, _statement("digests"))


def digests(transaction: Transaction) -> Digests:
    """How many passes have a digest, and the last digest."""
    return Digests(*transaction.rows(_SQL["digests"])[0])


def event_rules(subject: Subject) -> str:
    """The rules of one table of events: `rules/events.sql`, with its placeholders filled in."""
    kinds = kinds_of(subject)
    switches_on = [kind for kind in kinds if MEANING[kind].switches]
    return _statement("events").format(
        table=subject.table,
        value=subject.value or "NULL::text",
        key=subject.key or "NULL::text",
        kinds=", ".join(f"'{kind}'" for kind in kinds),
        # Null where nothing is switched: then nothing alternates.
        is_on=f"event_kind = '{switches_on[0]}'" if switches_on else "NULL::boolean",
    )


def _statement(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()


def _findings(transaction: Transaction, statement: str) -> Iterator[Finding]:
    for rule, name, uid, tables, ids, told in transaction.portions(statement):
        rows = [RowName(table, id_) for table, id_ in zip(tables, ids, strict=True)]
        yield Finding(rule=rule, tenant_name=name, tenant_uid=uid, rows=rows, told=told)
