"""What the catalog says of the tables of the ledger, and what the schema's SQL makes.

Values only. `ledger.inspection` reads them from Postgres; `installation` says what follows.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field


class Column(Struct, frozen=True, kw_only=True):
    """One column of a table."""

    type: str
    """As SQL writes it, with its precision: `character varying(63)`."""
    base: str
    """The name of the type alone, of a domain the one below it: `varchar`."""
    category: str
    """Postgres' own: S for texts, N for numbers, D for times, B for booleans, E for enums."""
    required: bool
    """NOT NULL."""
    default: str | None = None
    """What an INSERT without the column takes: an expression, or `identity`; None: null."""
    labels: Sequence[str] = ()
    """Of an enum."""
    sequence: str | None = None
    """That numbers the column `id`, and belongs to it."""
    used_by: Sequence[str] = ()
    """What keeps the column from getting another type: views, policies, generated columns, …"""

    @property
    def is_numbered(self) -> bool:
        """Whether its default gives each row a value of its own."""
        told = self.default or ""
        return told == "identity" or told.startswith("nextval(") or "uuid" in told


class Reference(Struct, frozen=True, kw_only=True):
    """A foreign key of some table that refers to a unique key."""

    name: str
    table: str


class Unique(Struct, frozen=True, kw_only=True):
    """A unique index, be it a constraint's or not."""

    name: str
    constraint: str = ""
    """p for a primary key, u for a unique constraint, empty for an index alone."""
    columns: Sequence[str | None] = ()
    """None for an expression."""
    predicate: str | None = None
    nulls_differ: bool = True
    at_once: bool = True
    """Valid, and not deferrable: a foreign key may refer to it."""
    definition: str = ""
    referenced_by: Sequence[Reference] = ()
    used_by: Sequence[str] = ()
    """Views that group by it."""


class Constraint(Struct, frozen=True, kw_only=True):
    """A constraint of a table."""

    name: str
    kind: str
    """c for CHECK, f for a foreign key, p, u, and x for EXCLUDE."""
    columns: Sequence[str] = ()
    expression: str | None = None
    target: str | None = None
    """The table that a foreign key refers to."""


class Table(Struct, frozen=True, kw_only=True):
    """A table, or whatever else has its name."""

    kind: str = "r"
    """r: a table, p: a partitioned one, v: a view, m: a materialized one, f: a foreign table."""
    persistence: str = "p"
    """u for UNLOGGED."""
    owner: str = ""
    is_ours_to_change: bool = True
    """Whether the connected role is its owner, or a member of it."""
    has_policies: bool = False
    """Row-level security is on."""
    is_filtered: bool = False
    """Row-level security hides rows from the connected role."""
    inherits: bool = False
    """It is a partition, or has a parent or children."""
    columns: Mapping[str, Column] = {}
    uniques: Sequence[Unique] = ()
    constraints: Sequence[Constraint] = ()
    triggers: Sequence[str] = ()
    indexes: Sequence[str] = ()

    def names(self) -> set[str]:
        """Of its constraints, triggers and indexes."""
        return {one.name for one in self.constraints} | {*self.triggers} | {*self.indexes}


class Catalog(Struct, frozen=True, kw_only=True):
    """Those of the tables of the ledger that there are."""

    role: str = ""
    """The role that is connected."""
    tables: Mapping[str, Table] = {}
    functions: Sequence[str] = ()
    """Those that have the name of one that the schema makes."""
    looks_elsewhere: bool = False
    """Whether a trigger's function looks for its tables in a schema of another name."""


class Made(Struct, frozen=True, kw_only=True):
    """What files of the schema make, by name. A test holds it against a database."""

    tables: frozenset[str]
    columns: frozenset[tuple[str, str]]
    functions: frozenset[str]
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of each table the constraints, triggers and indexes that have a name of their own."""
    triggers: frozenset[tuple[str, str]] = frozenset()
    rules: frozenset[tuple[str, str]] = frozenset()
    """The indexes and constraints that are made again where they are missing; no primary keys."""

    def __or__(self, other: "Made") -> "Made":
        tables = self.parts.keys() | other.parts.keys()
        nothing: frozenset[str] = frozenset()
        return Made(
            tables=self.tables | other.tables,
            columns=self.columns | other.columns,
            functions=self.functions | other.functions,
            triggers=self.triggers | other.triggers,
            rules=self.rules | other.rules,
            parts={
                table: self.parts.get(table, nothing) | other.parts.get(table, nothing)
                for table in tables
            },
        )


_INDEX: Final = r"CREATE (?:UNIQUE )?INDEX IF NOT EXISTS (?P<name>\w+)\s+ON (?P<table>\w+)"
_TRIGGER: Final = r"CREATE (?:OR REPLACE |CONSTRAINT )?TRIGGER (?P<name>\w+)\s[^;]*?\sON (?P<table>\w+)"
_RULE: Final = r"\('(?P<table>\w+)', '(?P<name>\w+)',\s*'(?:PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY)"
_EXCLUSION: Final = r"ALTER TABLE (?P<table>\w+) ADD CONSTRAINT (?P<name>\w+)\s+EXCLUDE"
_TABLE: Final = re.compile(r"^(?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) (\w+)([^;]*);", re.MULTILINE)
_INLINE: Final = re.compile(r"(?<!DROP )CONSTRAINT (?!IF )(\w+)")


def made_by(sql: str) -> Made:
    """What these files of the schema make. Each table, column and function has a comment there."""
    tables = frozenset(re.findall(r"^COMMENT ON TABLE (\w+) IS", sql, re.MULTILINE))
    parts: dict[str, set[str]] = {table: set() for table in tables}
    for pattern in (_INDEX, _TRIGGER, _RULE, _EXCLUSION):
        for found in re.finditer(pattern, sql):
            parts.setdefault(found["table"], set()).add(found["name"])
    for table, body in _TABLE.findall(sql):
        parts.setdefault(table, set()).update(_INLINE.findall(body))
    return Made(
        tables=tables,
        columns=frozenset(re.findall(r"^COMMENT ON COLUMN (\w+)\.(\w+) IS", sql, re.MULTILINE)),
        functions=frozenset(re.findall(r"^COMMENT ON FUNCTION (\w+)\(", sql, re.MULTILINE)),
        parts={table: frozenset(names) for table, names in parts.items()},
        triggers=frozenset((found["table"], found["name"]) for found in re.finditer(_TRIGGER, sql)),
        rules=frozenset(
            (found["table"], found["name"])
            for pattern in (_INDEX, _RULE, _EXCLUSION)
            for found in re.finditer(pattern, sql)
            if not found["name"].endswith("_pkey")
        ),
    )
