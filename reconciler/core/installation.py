"""What is to be done so that a database holds the ledger, table by table and as a whole.

A pure comparison of what the catalog says with what the schema makes. `schema apply`, `run` and a dry
run all go by it, before any of them changes something.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from reconciler.core.adoption import Finding, differences
from reconciler.core.catalog import Catalog, Made, Table
from reconciler.core.tables import (
    FACTS,
    LIFECYCLES,
    PRICES,
    SKILL_EVENTS,
    SUSPENSION_EVENTS,
    Adaptation,
    Problem,
    Question,
    quoted,
)

ALL: Final = "all"
LEDGER: Final = "ledger"

PASSES: Final = "reconciler_passes"
STATE: Final = "reconciler_state"

_FIRST: Final = {*FACTS, *PRICES, PASSES, STATE, "reconciler_schema"}
"""The tables that every version of the schema has made."""

_COUNTED: Final = {
    LIFECYCLES: "lifecycle_inserted",
    SKILL_EVENTS: "events_inserted",
    SUSPENSION_EVENTS: "suspension_events_inserted",
}
"""Where passes say how many rows they gave a number."""


_ELSEWHERE: Final = "the schema was renamed, and functions look for their tables under its old name"


class Installation(Struct, frozen=True):
    """What is to be done, and what is left as it is."""

    adaptations: Sequence[Adaptation]
    problems: Sequence[Problem]
    questions: Sequence[Question]
    notes: Sequence[str]
    """What a person should know of."""
    tables: str
    """What was asked for: ALL, or LEDGER where the invoice tables are the portal's to make."""
    with_invoices: bool
    """Whether the statements for invoices are run: asked for, and no table of the portal in the way."""
    is_adopted: bool
    """The ledger has never been here."""
    is_due: bool
    """Whether anything is to be done at all."""


def install(
    catalog: Catalog,
    ledger: Made,
    invoices: Made,
    *,
    tables: str,
    is_behind: bool,
    is_asked: bool,
) -> Installation:
    """What is to be done.

    `tables`: ALL or LEDGER. `is_behind`: the database has an earlier version of the schema, or none.
    `is_asked`: by `schema apply`, which completes a current schema too, and makes lost tables again.
    """
    is_adopted = not _has_been_here(catalog)
    findings: list[Finding] = []
    notes: list[str] = []
    for name, table in catalog.tables.items():
        if name in FACTS or name in PRICES:
            findings += differences(name, table, ledger, is_adopted=is_adopted)
        if name in ledger.tables and table.has_policies:
            notes.append(f"{name}: has row-level security; any other role needs BYPASSRLS")
    if is_adopted:
        findings += _namesakes(catalog, ledger)
    else:
        # Tables that a later version has added are only missing.
        lost = sorted((_FIRST if is_behind else ledger.tables) - catalog.tables.keys())
        findings += _remade(catalog, lost) if is_asked else map(_lost, lost)
        if not is_behind:
            # Without them a pass has no digest, and what is written can be changed.
            findings += [
                Adaptation(name, f"the trigger {trigger} is switched on again", "SELECT")
                for name, trigger in _triggers_off(catalog, ledger)
            ]
        if catalog.looks_elsewhere:
            # All statements are run again, which leads them to the tables.
            findings.append(Adaptation(PASSES, _ELSEWHERE, "SELECT"))
        notes += [f"{name}: is made again, without its rows" for name in lost]
    portals = [name for name in sorted(invoices.tables) if _is_portals(catalog, invoices, name)]
    with_invoices = tables == ALL and not portals
    if is_asked and with_invoices:
        findings += _remade_invoices(catalog, invoices)
    if is_asked and tables == LEDGER:
        findings += _removed_invoices(catalog, invoices)
    if with_invoices and is_adopted:
        findings += _namesakes(catalog, invoices)
    if tables == ALL:
        notes += [f"{name}: is the portal's own, and left as it is" for name in portals]
    adaptations = [one for one in findings if isinstance(one, Adaptation)]
    touched = {one.table for one in adaptations}
    if is_behind or is_asked:
        touched |= ledger.tables | (invoices.tables if with_invoices else set())
    return Installation(
        adaptations=adaptations,
        problems=[
            *(one for one in findings if isinstance(one, Problem)),
            *_not_ours(catalog, touched),
        ],
        questions=[one for one in findings if isinstance(one, Question)],
        notes=notes,
        tables=tables,
        with_invoices=with_invoices,
        is_adopted=is_adopted,
        is_due=is_behind or is_asked or bool(adaptations),
    )


def hidden(catalog: Catalog, made: Made) -> Sequence[Problem]:
    """The tables of which the connected role may not see every row."""
    told = f"row-level security hides rows from the role {catalog.role}"
    bypass = f"ALTER ROLE {quoted(catalog.role)} BYPASSRLS"
    return [
        Problem(name, told, f"{bypass}, or ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")
        for name, table in catalog.tables.items()
        if name in made.tables and table.is_filtered
    ]


def _has_been_here(catalog: Catalog) -> bool:
    events = catalog.tables.get(SKILL_EVENTS, Table()).columns.keys()
    is_here = any(name.startswith("reconciler_") for name in catalog.tables)
    return is_here or {"pass_id", "ordinal"} <= events


def _not_ours(catalog: Catalog, touched: set[str]) -> Iterator[Problem]:
    role = catalog.role
    for name, table in catalog.tables.items():
        if name in touched and not table.is_ours_to_change:
            told = f"belongs to the role {table.owner}, and {role} is no member of it"
            grant = f"GRANT {quoted(table.owner)} TO {quoted(role)}"
            yield Problem(name, told, f"reconciler schema apply as {table.owner}, or {grant}")


def _namesakes(catalog: Catalog, made: Made) -> Iterator[Problem]:
    for function in sorted(made.functions.intersection(catalog.functions)):
        told = "is a function already, and the schema makes one of this name"
        yield Problem(function, told, f"ALTER FUNCTION {function} RENAME TO …")


class Gap(Struct, frozen=True):
    """Something of the schema that is not there."""

    told: str
    is_read: bool
    """A table or a column: without it the ledger cannot be checked."""


def _triggers_off(catalog: Catalog, made: Made) -> Sequence[tuple[str, str]]:
    """Triggers that are missing or switched off, each with its table."""
    return [
        (name, trigger)
        for name, trigger in sorted(made.triggers)
        if name in catalog.tables and trigger not in catalog.tables[name].triggers
    ]


def gaps(catalog: Catalog, ledger: Made, invoices: Made, *, tables: str) -> Iterator[Gap]:
    """What is missing where the ledger has been."""
    if not _has_been_here(catalog):
        return
    is_portals = any(_is_portals(catalog, invoices, name) for name in invoices.tables)
    made = ledger if is_portals or tables == LEDGER else ledger | invoices
    lost = made.tables - catalog.tables.keys()
    for name in sorted(lost):
        yield Gap(f"{name}: the table is missing", is_read=name not in invoices.tables)
    for name, column in sorted(made.columns):
        if name not in lost and column not in catalog.tables[name].columns:
            yield Gap(f"{name}: the column {column} is missing", is_read=name not in invoices.tables)
    for name, trigger in _triggers_off(catalog, made):
        yield Gap(f"{name}: the trigger {trigger} is missing or switched off", is_read=False)
    present = {(name, one) for name, table in catalog.tables.items() for one in table.names()}
    for name, rule in sorted(made.rules - present):
        # Of prices the portal's own columns keep the portal's rules.
        if name not in lost and name not in PRICES:
            yield Gap(f"{name}: the constraint or index {rule} is missing", is_read=False)
    for function in sorted(made.functions.difference(catalog.functions)):
        yield Gap(f"{function}: the function is missing", is_read=True)
    if catalog.looks_elsewhere:
        yield Gap(_ELSEWHERE, is_read=True)


# Tables that were lost -----------------------------------------------------------------------------


def _restored(name: str) -> str:
    return f"pg_restore --table={name} with a backup"


def _lost(name: str) -> Problem:
    told = "is missing, and the ledger has been here"
    run = f"{_restored(name)}, or reconciler schema apply, which makes it without its rows"
    return Problem(name, told, run)


def _remade(catalog: Catalog, lost: Sequence[str]) -> Iterator[Finding]:
    """Made again, unless rows that are left name those that are not."""
    named = {LIFECYCLES: ["lifecycle_id"], PASSES: ["created_pass_id", "deleted_pass_id", "pass_id"]}
    for name in lost:
        for table in FACTS:
            for column in named.get(name, ()):
                if column in catalog.tables.get(table, Table()).columns:
                    yield Question(
                        f"count(*), min({column})::text FROM {table} WHERE {column} IS NOT NULL",
                        name,
                        f"is missing, and {{count}} rows of {table} name rows of it",
                        f"{_restored(name)}, or reconciler schema drop, to begin anew",
                    )
        if name in _COUNTED and PASSES in catalog.tables:
            yield _numbered_on(catalog, name)
    if LIFECYCLES in lost and STATE in catalog.tables:
        yield Adaptation(STATE, "is emptied: its lifecycles are gone", f"DELETE FROM {STATE}")


def _numbered_on(catalog: Catalog, lost: str) -> Adaptation:
    """The lost rows may still come back beside the new ones, and records may still name them."""
    given = [f"(SELECT sum({_COUNTED[lost]}) FROM {PASSES})"]
    if lost == LIFECYCLES:
        given += [
            f"(SELECT max({column}) FROM {name})"
            for name, table in catalog.tables.items()
            for column in ("lifecycle_id", "previous_lifecycle_id")
            if column in table.columns
        ]
    last = f"coalesce(greatest({', '.join(given)}), 0)"
    return Adaptation(
        lost,
        "its numbers go on after those that were given",
        f"SELECT setval(pg_get_serial_sequence('{lost}', 'id'), {last} + 1, false)",
        is_last=True,
    )


# Invoices ------------------------------------------------------------------------------------------


def _is_portals(catalog: Catalog, invoices: Made, name: str) -> bool:
    """Whether the table is there, and none of our rules is on it."""
    table = catalog.tables.get(name)
    if table is None:
        return False
    # Postgres itself gives names that end like these.
    usual = ("_pkey", "_key", "_fkey", "_check")
    return table.names().isdisjoint(one for one in invoices.parts[name] if not one.endswith(usual))


def _remade_invoices(catalog: Catalog, invoices: Made) -> Iterator[Finding]:
    """The five are made together: where one was lost, the others must be empty."""
    left = sorted(invoices.tables & catalog.tables.keys())
    lost = sorted(invoices.tables - catalog.tables.keys())
    if not left or not lost:
        return
    for name in left:
        yield Question(
            f"count(*), NULL FROM {name}",
            lost[0],
            f"is missing, and {name} has {{count}} rows that go with it",
            _restored(lost[0]),
        )
    says = f"is made again, with {', '.join([*left[1:], *lost])}: nothing is in them"
    yield Adaptation(left[0], says, _drop_of_invoices(catalog, invoices, left))


def _removed_invoices(catalog: Catalog, invoices: Made) -> Iterator[Finding]:
    """Those of ours go, if they are empty: the portal can make its own then."""
    left = sorted(invoices.tables & catalog.tables.keys())
    ours = [name for name in left if not _is_portals(catalog, invoices, name)]
    for name in ours:
        yield Question(
            f"count(*), NULL FROM {name}",
            name,
            "has {count} rows, and --tables ledger would remove it",
            "reconciler schema apply --tables all",
        )
    if ours:
        says = ", ".join(["is removed", *ours[1:]]) + ": empty, and left to the portal to make"
        yield Adaptation(ours[0], says, _drop_of_invoices(catalog, invoices, ours))


def _drop_of_invoices(catalog: Catalog, invoices: Made, tables: Sequence[str]) -> str:
    functions = sorted(invoices.functions.intersection(catalog.functions))
    # Those of triggers go after the tables that use them, the others before those that they use.
    of_triggers = [name for name in functions if name.startswith("billing_")]
    others = [name for name in functions if name not in of_triggers]
    drops = [("FUNCTION", others), ("TABLE", tables), ("FUNCTION", of_triggers)]
    return "; ".join(f"DROP {kind} {', '.join(names)}" for kind, names in drops if names)
