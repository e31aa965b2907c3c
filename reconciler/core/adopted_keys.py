"""What of the keys and rules that the portal has put on a table of facts cannot stay.

Two true rows may be equal in all that the portal knew: a name lives again, a skill is switched on twice
in one second. And a true row is written whatever else the portal's database holds.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final

from reconciler.core.catalog import Column, Constraint, Table, Unique
from reconciler.core.tables import (
    FACTS,
    LIFECYCLES,
    Adaptation,
    Problem,
    Question,
    literal,
    quoted,
)

_ORG: Final = re.compile(r"(zitadel_)?org(ani[sz]ation)?(_id)?")


def is_org(name: str, column: str, present: Column) -> bool:
    """Whether a table of events has the organisation there, to be filled in."""
    is_open = present.category == "S" and present.default is None
    return name in FACTS and name != LIFECYCLES and is_open and _ORG.fullmatch(column) is not None


def keys(name: str, table: Table) -> Iterator[Adaptation | Problem]:
    """The unique keys that true rows may break."""
    for key in table.uniques:
        if not _always_holds(name, key, table):
            hindrances = [*_hindrances(key)]
            yield from (Problem(name, told, run) for told, run in hindrances)
            if not hindrances:
                yield _no_longer_unique(name, key)


def _always_holds(name: str, key: Unique, table: Table) -> bool:
    if "tenant_name" in key.columns and key.predicate == "(deleted_at IS NULL)":
        return True
    for column in key.columns:
        present = table.columns.get(column or "")
        if column is None or present is None:
            continue
        is_known = column in FACTS[name]
        if column == "id" or (not is_known and present.is_numbered):
            return True
        # Null in every new row, and so never equal; or a column of ours, which only keys of ours have.
        if not is_known and present.default is None and key.nulls_differ:
            return not is_org(name, column, present)
    return False


def _hindrances(key: Unique) -> Iterator[tuple[str, str]]:
    for one in key.referenced_by:
        if one.table not in FACTS:
            told = f"{one.table} refers to its key {key.name}, whose values may come again"
            yield told, _drop(one.table, one.name)
    for view in key.used_by:
        told = f"{view} groups by its key {key.name}, whose values may come again"
        yield told, f"DROP {view}, and make it again afterwards, grouped by all its columns"


def _no_longer_unique(name: str, key: Unique) -> Adaptation:
    statements = [_drop(one.table, one.name) for one in key.referenced_by]
    statements.append(_drop(name, key.name) if key.constraint else f"DROP INDEX {quoted(key.name)}")
    if key.constraint != "p":
        # Under its name, so that CREATE UNIQUE INDEX IF NOT EXISTS at the portal's next boot finds it.
        statements.append(key.definition.replace("CREATE UNIQUE INDEX", "CREATE INDEX", 1))
    columns = ", ".join(column or "an expression" for column in key.columns)
    says = f"{key.name} is no longer unique: two true rows may have the same {columns}"
    for one in key.referenced_by:
        says += f"; {one.name} of {one.table}, which refers to it, is dropped"
    return Adaptation(name, says, "; ".join(statements))


def rules(name: str, table: Table, ours: Collection[str]) -> Iterator[Adaptation | Problem | Question]:
    """The other rules that refuse true rows."""
    for rule in table.constraints:
        if rule.name in ours:
            continue
        drop = _drop(name, rule.name)
        match rule.kind:
            case "x":
                yield Problem(name, f"{rule.name}, an EXCLUDE, may refuse true rows", drop)
            case "f" if _is_written(name, rule, table) and rule.target not in FACTS:
                says = f"{rule.name} is dropped: a true row may name what is not in {rule.target}"
                yield Adaptation(name, says, drop)
            case "c" if {*rule.columns} == {"created_at", "deleted_at"}:
                says = f"{rule.name} is dropped: a life may end in the second in which it begins"
                yield Adaptation(name, says, drop)
            case "c" if [*rule.columns] == ["event_kind"] and not table.columns["event_kind"].labels:
                yield _refused_word(name, rule, drop)
            case _:
                pass


def _is_written(name: str, rule: Constraint, table: Table) -> bool:
    """Whether new rows have a value in what the foreign key is of."""
    return any(one in FACTS[name] or is_org(name, one, table.columns[one]) for one in rule.columns)


def _refused_word(name: str, rule: Constraint, drop: str) -> Question:
    words = ", ".join(f"({literal(word)})" for word in FACTS[name]["event_kind"].words)
    refused = f"(VALUES {words}) AS word (event_kind) WHERE NOT ({rule.expression})"
    told = f"{rule.name} refuses '{{example}}', which passes write"
    return Question(f"count(*), min(event_kind) FROM {refused}", f"{name}.event_kind", told, drop)


def _drop(table: str, rule: str) -> str:
    return f"ALTER TABLE {table} DROP CONSTRAINT {quoted(rule)}"
