"""What is to be done about one table that the portal may have made, so that the ledger can be in it."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from reconciler.core.adopted_keys import is_org, keys, rules
from reconciler.core.catalog import Column, Made, Table
from reconciler.core.tables import (
    FACTS,
    KEYS,
    LIFECYCLES,
    PRICES,
    Adaptation,
    Kind,
    Problem,
    Question,
    Wanted,
    literal,
    quoted,
)

Finding: TypeAlias = Adaptation | Problem | Question

FILLS_ORG: Final = "reconciler_fill_org"
"""The trigger, and its function, that give a row of events the organisation of its lifecycle."""

_KINDS: Final = {
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
}
_EXACT: Final = {
    Kind.TEXT: "text",
    Kind.TIME: "timestamp with time zone",
    Kind.ID: "bigint",
}
_CATEGORY: Final = {Kind.TEXT: "S", Kind.TIME: "D", Kind.NUMBER: "N", Kind.FLAG: "B"}


def differences(name: str, table: Table, made: Made, *, is_adopted: bool) -> Iterator[Finding]:
    """Of one of the tables of facts or prices.

    `is_adopted`: the ledger has never been here, so that all in the table is the portal's.
    """
    if table.kind != "r":
        told = f"is {_KINDS[table.kind]}, and passes need an ordinary table"
        yield Problem(name, told, f"ALTER TABLE {name} RENAME TO …, and copy its rows into a table")
        return
    if table.inherits:
        told = "has a parent, children or partitions, and no key spans their rows"
        yield Problem(name, told, f"ALTER TABLE … NO INHERIT {name}, or copy its rows into one table")
        return
    if table.persistence == "u":
        yield Adaptation(
            name, "is UNLOGGED, and is made to survive a crash", f"ALTER TABLE {name} SET LOGGED"
        )
    yield from _extra_columns(name, table, made, is_adopted=is_adopted)
    if name in PRICES:
        yield from _prices(name, table)
        return
    yield from keys(name, table)
    yield from rules(name, table, made.parts[name])
    for column, wanted in FACTS[name].items():
        present = table.columns.get(column)
        if present is not None:
            yield from _column(name, column, present, wanted, table)
        elif not wanted.is_added:
            yield _missing(name, column, wanted)
    if is_adopted:
        yield from _rows(name, table)
    for column, present in table.columns.items():
        if is_org(name, column, present) and FILLS_ORG not in table.triggers:
            yield _filled(name, column)


def _extra_columns(name: str, table: Table, made: Made, *, is_adopted: bool) -> Iterator[Finding]:
    wanted = {**FACTS, **PRICES}[name]
    for column, present in table.columns.items():
        if column in wanted:
            continue
        is_ours = (name, column) in made.columns
        if is_ours and is_adopted:
            told = "has the name of a column that the ledger adds, and a meaning of its own"
            run = f"ALTER TABLE {name} RENAME COLUMN {quoted(column)} TO {quoted('portal_' + column)}"
            yield Problem(f"{name}.{column}", told, run)
        elif not is_ours and _must_be_given(present) and not is_org(name, column, present):
            alter = f"ALTER TABLE {name} ALTER COLUMN {quoted(column)}"
            told = "is NOT NULL without a default, and new rows come without it"
            run = f"{alter} DROP NOT NULL, or {alter} SET DEFAULT …"
            yield Problem(f"{name}.{column}", told, run)


def _must_be_given(column: Column) -> bool:
    return column.required and column.default is None


def _filled(name: str, column: str) -> Adaptation:
    return Adaptation(
        name,
        f"{column} is filled in for each new row, with the organisation of its lifecycle",
        f"CREATE TRIGGER {FILLS_ORG} BEFORE INSERT ON {name} FOR EACH ROW "
        f"EXECUTE FUNCTION {FILLS_ORG}({literal(column)})",
        is_last=True,
    )


# Columns -------------------------------------------------------------------------------------------


def _column(name: str, column: str, present: Column, wanted: Wanted, table: Table) -> Iterator[Finding]:
    alter = f"ALTER TABLE {name} ALTER COLUMN {column}"
    if present.type != _EXACT[wanted.kind]:
        yield from _type(name, column, present, wanted, table)
    if not wanted.may_be_null and not present.required:
        nulls = f"{name} WHERE {column} IS NULL"
        yield _about(f"{name}.{column}", nulls, "is null in {count} rows, which then say nothing")
        yield Adaptation(name, f"{column} is set NOT NULL", f"{alter} SET NOT NULL")
    if wanted.kind is Kind.ID:
        yield from _numbered(name, present, table)


def _type(name: str, column: str, present: Column, wanted: Wanted, table: Table) -> Iterator[Finding]:
    where, alter = f"{name}.{column}", f"ALTER TABLE {name} ALTER COLUMN {column}"
    lacking = [word for word in wanted.words if present.labels and word not in present.labels]
    if lacking or not _can_become(present, wanted.kind):
        told = f"is {present.type}, and {wanted.kind} is needed"
        using = f"{column}::{wanted.kind}"
        if lacking:
            told = f"is {present.type}, which has no '{lacking[0]}'"
            using = f"CASE {column} WHEN … THEN '{lacking[0]}' … END"
        elif wanted.kind is Kind.TIME and present.base in {"timestamp", "date"}:
            told = f"is {present.type}, which does not tell in which zone"
            using = f"{column} AT TIME ZONE 'UTC'"
        yield Problem(where, told, f"{alter} TYPE {wanted.kind} USING {using}")
    elif not present.used_by:
        yield _retyped(name, column, present, wanted, table)
    # Numbers of events have room in an integer for a while, and nothing of ours needs more.
    elif wanted.kind is not Kind.ID or name == LIFECYCLES:
        told = (
            f"is {present.type}, and {wanted.kind} is needed, but {', '.join(present.used_by)} uses it"
        )
        yield Problem(where, told, f"DROP …, {alter} TYPE {wanted.kind}, and make it again")


def _can_become(present: Column, kind: Kind) -> bool:
    match kind:
        case Kind.TEXT:
            return present.category in {"S", "E"}
        case Kind.TIME:
            return present.base == "timestamptz"
        case _:
            return present.base in {"int2", "int4"}


def _retyped(name: str, column: str, present: Column, wanted: Wanted, table: Table) -> Adaptation:
    alter = f"ALTER TABLE {name} ALTER COLUMN {column}"
    statements = [f"{alter} TYPE {wanted.kind}"]
    if present.category == "E":
        # A rule or a default that names the ENUM would not be understood of a text.
        named = [rule for rule in table.constraints if rule.kind == "c" and column in rule.columns]
        drops = (f"ALTER TABLE {name} DROP CONSTRAINT {quoted(rule.name)}" for rule in named)
        statements = [*drops, f"{alter} DROP DEFAULT", *statements]
    if wanted.kind is Kind.ID and present.sequence and present.default != "identity":
        statements.append(f"ALTER SEQUENCE {present.sequence} AS bigint")
    return Adaptation(
        name, f"{column} becomes {wanted.kind}; it was {present.type}", "; ".join(statements)
    )


def _numbered(name: str, present: Column, table: Table) -> Iterator[Finding]:
    if not any([*key.columns] == ["id"] and key.at_once and not key.predicate for key in table.uniques):
        twice = f"(SELECT id FROM {name} GROUP BY id HAVING count(*) > 1) AS twice"
        yield Question(
            f"count(*), min(id::text) FROM {twice}",
            f"{name}.id",
            "numbers the rows, and {count} of its values come more than once, {example} among them",
            f"UPDATE {name} SET id = … of all but one of each",
        )
    if present.is_numbered and present.sequence:
        return
    alter = f"ALTER TABLE {name} ALTER COLUMN id"
    sequence = f"pg_get_serial_sequence('{name}', 'id')"
    statements = (
        f"{alter} DROP DEFAULT",
        f"{alter} SET NOT NULL",
        f"{alter} ADD GENERATED BY DEFAULT AS IDENTITY",
        f"SELECT setval({sequence}, coalesce(max(id), 0) + 1, false) FROM {name}",
    )
    yield Adaptation(name, "id gets a sequence of its own", "; ".join(statements))


def _missing(name: str, column: str, wanted: Wanted) -> Problem:
    alter = f"ALTER TABLE {name}"
    run = (
        f"{alter} RENAME COLUMN … TO {column}, or {alter} ADD COLUMN {column} {wanted.kind}, and fill it"
    )
    return Problem(f"{name}.{column}", "is missing", run)


# Rows ----------------------------------------------------------------------------------------------


def _rows(name: str, table: Table) -> Iterator[Question]:
    """What the portal may have written, and no ledger can hold."""
    for column, wanted in FACTS[name].items():
        present = table.columns.get(column)
        if present is None:
            continue
        if wanted.words:
            words = ", ".join(map(literal, wanted.words))
            # In other letters it is corrected: schema/11-adoption.sql.
            others = f"{name} WHERE lower(btrim({column}::text)) NOT IN ({words})"
            told = f"is neither {' nor '.join(wanted.words)} in {{count}} rows, but '{{example}}'"
            yield _about(f"{name}.{column}", others, told)
        if wanted.kind is Kind.TIME and present.base == "timestamptz":
            # What lies ahead, infinity too, counts as of the adoption.
            others = f"{name} WHERE {column} < '0001-01-02Z'"
            yield _about(
                f"{name}.{column}", others, "is no day of a calendar in {count} rows: {example}"
            )
    if name == LIFECYCLES and "tenant_name" in table.columns:
        alive = (
            "WHERE coalesce(deleted_at, 'infinity') = 'infinity'"
            if "deleted_at" in table.columns
            else ""
        )
        several = f"SELECT tenant_name FROM {name} {alive} GROUP BY tenant_name HAVING count(*) > 1"
        yield Question(
            f"count(*), min(tenant_name::text) FROM ({several}) AS twice",
            f"{name}.tenant_name",
            "has {count} names with more than one live row, {example} among them",
            f"UPDATE {name} SET deleted_at = … of all but the last of each",
        )


def _about(where: str, others: str, told: str) -> Question:
    """`others`: a table, and the condition that none of its rows should meet."""
    table, column = where.split(".")
    run = f"UPDATE {table} SET {column} = …{others.removeprefix(table)}"
    return Question(f"count(*), min({column}::text) FROM {others}", where, told, run)


def _prices(name: str, table: Table) -> Iterator[Finding]:
    wanted: Mapping[str, Wanted] = PRICES[name]
    for column, want in wanted.items():
        present = table.columns.get(column)
        if present is None:
            if not want.is_added:
                yield _missing(name, column, want)
        elif present.category != _CATEGORY[want.kind]:
            run = (
                f"ALTER TABLE {name} ALTER COLUMN {column} TYPE {want.kind} USING {column}::{want.kind}"
            )
            yield Problem(f"{name}.{column}", f"is {present.type}, and {want.kind} is needed", run)
    for key in KEYS[name]:
        is_kept = any([*one.columns] == [key] and not one.predicate for one in table.uniques)
        if key not in table.columns or is_kept:
            continue
        several = f"SELECT {key} FROM {name} WHERE {key} IS NOT NULL GROUP BY {key} HAVING count(*) > 1"
        yield Question(
            f"count(*), min({key}::text) FROM ({several}) AS twice",
            f"{name}.{key}",
            "is a key, and {count} of its values come more than once, {example} among them",
            f"DELETE FROM {name} … of all but one of each",
        )
        if not wanted[key].may_be_null:
            yield _about(f"{name}.{key}", f"{name} WHERE {key} IS NULL", "is null in {count} rows")
