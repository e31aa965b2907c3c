"""Turns a plan into the rows of the tables, and writes them: in bulk, in a fixed number of statements.

The rows are made by pure functions, one a table. A pass copies them into Postgres; `script` prints them
as SQL.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from reconciler import __version__
from reconciler.core.plan import Change, Kind, Plan, Row
from reconciler.core.state_cache import Written
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("writer")

SWITCHED_ON: Final = (Kind.ENABLED, Kind.SUSPENDED)

type_of: Final[Mapping[str, str]] = {
    "id": "int8",
    "lifecycle_id": "int8",
    "previous_lifecycle_id": "int8",
    "pass_id": "int8",
    "created_pass_id": "int8",
    "deleted_pass_id": "int8",
    "ordinal": "int4",
    "suspended": "bool",
    "adopted_cluster": "bool",
    "complete": "bool",
    "skills": "text[]",
    "quarantined": "jsonb",
    "held_back": "jsonb",
    "held": "bool",
    "tenants_examined": "int4",
    "lifecycle_inserted": "int4",
    "lifecycle_deleted": "int4",
    "events_inserted": "int4",
    "suspension_events_inserted": "int4",
}
"""The type of a column, where it is neither `text` nor, by its name in _at or _before, a time."""


def column_type(column: str) -> str:
    """The Postgres type of one of the columns that a pass writes."""
    if column.endswith(("_at", "_before")):
        return "timestamptz"
    return type_of.get(column, "text")


class Table(NamedTuple):
    """Rows for one table; they are made as they are taken, for a backfill has a million."""

    name: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Numbers(NamedTuple):
    """How rows refer to one another: by numbers or, in a script, by expressions that find them."""

    pass_id: Any
    lifecycle_id: Callable[[Change], Any]
    previous_id: Callable[[Change], Any]
    """Of the lifecycle that one under a new org was moved from."""
    ordinal: Callable[[Change, Row], Any]


_WHEN: Final = ("occurred_at", "not_before", "time_source", "observed_at", "pass_id")


def pass_record(plan: Plan) -> Table:
    """The row that records the pass itself."""
    snapshot, counts = plan.snapshot, plan.counts()
    record = {
        "source": snapshot.source,
        "cluster_uid": snapshot.cluster_uid,
        "resource_version": snapshot.resource_version,
        "asked_at": snapshot.asked_at,
        "observed_at": snapshot.observed_at,
        "tenants_examined": snapshot.size,
        "lifecycle_inserted": counts[Kind.CREATED],
        "lifecycle_deleted": counts[Kind.DELETED],
        "events_inserted": counts[Kind.ENABLED] + counts[Kind.DISABLED],
        "suspension_events_inserted": counts[Kind.SUSPENDED] + counts[Kind.RESUMED],
        "quarantined": _json(
            [{"tenantName": one.name, "reason": one.reason} for one in plan.quarantined]
        ),
        "held_back": _json([{"tenantName": one.name, "tenantUid": one.uid} for one in plan.held]),
        "adopted_cluster": plan.adopts_cluster,
        "complete": snapshot.scope is None,
        "program_version": __version__,
    }
    return Table("reconciler_passes", tuple(record), iter([tuple(record.values())]))


def lifecycles(plan: Plan, numbers: Numbers) -> Table:
    """The lifecycles that begin; with their end, where the deletion was there at first sight."""
    columns = (
        *("id", "tenant_name", "zitadel_org_id", "tenant_uid", "cluster_uid"),
        *("created_at", "created_not_before", "created_time_source"),
        *("created_observed_at", "created_pass_id"),
        *("deleted_at", "deleted_not_before", "deleted_time_source"),
        *("deleted_observed_at", "deleted_pass_id"),
    )
    return Table(
        "tenant_billing_lifecycle",
        columns,
        (
            (
                numbers.lifecycle_id(change),
                change.lifecycle.name,
                change.lifecycle.org,
                change.lifecycle.uid,
                plan.snapshot.cluster_uid,
                *_when(plan, numbers, change.rows[0]),
                *(_when(plan, numbers, change.rows[-1]) if change.ends else (None,) * len(_WHEN)),
            )
            for change in plan.changes
            if change.begins
        ),
    )


def skill_events(plan: Plan, numbers: Numbers) -> Table:
    """The rows of tenant_skill_events."""
    return _events(plan, numbers, "tenant_skill_events", (Kind.ENABLED, Kind.DISABLED))


def suspension_events(plan: Plan, numbers: Numbers) -> Table:
    """The rows of tenant_suspension_events."""
    return _events(plan, numbers, "tenant_suspension_events", (Kind.SUSPENDED, Kind.RESUMED))


def _events(plan: Plan, numbers: Numbers, table: str, kinds: Container[Kind]) -> Table:
    of_skills = Kind.ENABLED in kinds
    subject = ("skill_id",) if of_skills else ()
    who = ("lifecycle_id", "tenant_name", "tenant_uid", *subject, "event_kind")
    return Table(
        table,
        (*who, *_WHEN, "ordinal"),
        (
            (
                numbers.lifecycle_id(change),
                change.lifecycle.name,
                change.lifecycle.uid,
                *((row.skill,) if of_skills else ()),
                row.kind.value,
                *_when(plan, numbers, row),
                1 if change.begins else numbers.ordinal(change, row),
            )
            for change, row in plan.rows()
            if row.kind in kinds
        ),
    )


def ended(plan: Plan, numbers: Numbers) -> Iterator[tuple[Any, ...]]:
    """The known lifecycles that end: id, deleted_at, not_before, time_source, observed_at."""
    for change in plan.changes:
        if change.ends and not change.begins:
            yield numbers.lifecycle_id(change), *_when(plan, numbers, change.rows[-1])[:-1]


def recognised(plan: Plan, numbers: Numbers) -> Iterator[tuple[Any, str | None]]:
    """The lifecycles that are known under another uid from now on: id, uid.

    One that is reopened may have been the portal's, which knew no uid.
    """
    for change in plan.changes:
        if change.recognised or change.reopened or change.rebound_from is not None:
            yield numbers.lifecycle_id(change), change.lifecycle.uid


def rebindings(plan: Plan, numbers: Numbers) -> Table:
    """The record that a lifecycle goes on under another uid; it allows the change of uid."""
    return Table(
        "reconciler_rebindings",
        ("pass_id", "lifecycle_id", "old_uid", "new_uid"),
        (
            (
                numbers.pass_id,
                numbers.lifecycle_id(change),
                change.rebound_from,
                change.lifecycle.uid,
            )
            for change in plan.changes
            if change.rebound_from is not None
        ),
    )


def reopenings(plan: Plan, numbers: Numbers) -> Table:
    """The record of a deletion that is withdrawn; it allows that."""
    return Table(
        "reconciler_reopenings",
        ("pass_id", "lifecycle_id"),
        ((numbers.pass_id, numbers.lifecycle_id(change)) for change in plan.changes if change.reopened),
    )


def moves(plan: Plan, numbers: Numbers) -> Table:
    """The record that a lifecycle goes on under another org: it costs no second set-up fee."""
    return Table(
        "reconciler_moves",
        ("pass_id", "lifecycle_id", "previous_lifecycle_id"),
        (
            (numbers.pass_id, numbers.lifecycle_id(change), numbers.previous_id(change))
            for change in plan.changes
            if change.moved_from is not None
        ),
    )


def outdated(plan: Plan, numbers: Numbers) -> Iterator[Any]:
    """The lifecycles whose row in reconciler_state is replaced or removed; what had ended has none."""
    return (
        numbers.lifecycle_id(change)
        for change in plan.changes
        if not change.begins and not change.reopened
    )


def state(plan: Plan, numbers: Numbers) -> Table:
    """The new rows of reconciler_state."""
    return Table(
        "reconciler_state",
        ("lifecycle_id", "skills", "suspended", "changed_at", "read_at", "held"),
        (
            (
                numbers.lifecycle_id(change),
                list(change.lifecycle.skills),
                change.lifecycle.suspended,
                change.lifecycle.changed_at,
                change.lifecycle.read_at,
                change.lifecycle.held,
            )
            for change in plan.changes
            if not change.ends
        ),
    )


def _when(plan: Plan, numbers: Numbers, row: Row) -> tuple[Any, ...]:
    """The columns of _WHEN, which explain a row."""
    at = row.at
    return (
        at.occurred_at,
        at.not_before,
        at.source.value,
        plan.snapshot.observed_at,
        numbers.pass_id,
    )


_MANY: Final = 500


def write(transaction: Transaction, plan: Plan) -> Written:
    """Writes the plan and the record of its pass."""
    record = pass_record(plan)
    columns = ", ".join(record.columns)
    values = ", ".join(f"%s::{column_type(column)}" for column in record.columns)
    begun = [change.lifecycle.uid or "" for change in plan.changes if change.begins]
    switched = _switched(plan)
    ((pass_id,),), ids, last = transaction.answers(
        (f"INSERT INTO {record.name} ({columns}) VALUES ({values}) RETURNING id", next(record.rows)),
        (_SQL["new_ids"], [len(begun)]) if begun else None,
        (_SQL["last_ordinals"], switched) if switched[0] else None,
    )
    new_ids = {uid: id_ for uid, (id_,) in zip(begun, ids, strict=True)}
    ordinals = {(id_, skill): number for id_, skill, number in last}
    numbers = _numbers(new_ids, ordinals, pass_id)
    # What an operator decided is on record before it is done: the database asks for it.
    for record in (rebindings(plan, numbers), reopenings(plan, numbers)):
        _copy(transaction, record)
    if reopened := [id_ for _, id_ in reopenings(plan, numbers).rows]:
        transaction.change(_SQL["reopen"], reopened, rows=len(reopened))
    if known_now := list(recognised(plan, numbers)):
        uids = map(list, zip(*known_now, strict=True))
        transaction.change(_SQL["recognise"], plan.snapshot.cluster_uid, *uids, rows=len(known_now))
    # A predecessor ends before its successor takes the name.
    if ends := list(ended(plan, numbers)):
        transaction.change(_SQL["end"], pass_id, *map(list, zip(*ends, strict=True)), rows=len(ends))
    if old := list(outdated(plan, numbers)):
        transaction.change(_SQL["forget_state"], old, rows=len(old))
    for make in (lifecycles, moves, skill_events, suspension_events, state):
        _copy(transaction, make(plan, numbers))
    if len(plan.changes) > _MANY:
        # The digest of its rows takes a while, in which no commit should be under way.
        transaction.execute("SET CONSTRAINTS reconciler_passes_sealed IMMEDIATE")
    return Written(pass_id=pass_id, lifecycle_ids=new_ids)


def _copy(transaction: Transaction, table: Table) -> None:
    first = next(table.rows, None)
    if first is not None:
        types = [column_type(column) for column in table.columns]
        transaction.copy(table.name, table.columns, types, chain([first], table.rows))


def _numbers(
    new_ids: Mapping[str, int], last: Mapping[tuple[Any, str | None], int], pass_id: int
) -> Numbers:
    def lifecycle_id(change: Change) -> int | None:
        return new_ids[change.lifecycle.uid or ""] if change.begins else change.lifecycle.id

    def previous_id(change: Change) -> int | None:
        return change.moved_from.id if change.moved_from else None

    def ordinal(change: Change, row: Row) -> int:
        # A subject that the portal's own rows left switched on goes off as number 0.
        return last.get((change.lifecycle.id, row.skill), 0 if row.kind in SWITCHED_ON else -1) + 1

    return Numbers(pass_id, lifecycle_id, previous_id, ordinal)


def was_written(transaction: Transaction, pass_id: int) -> bool:
    """Whether the pass is in the ledger, where the answer to its commit was lost."""
    return bool(transaction.rows(_SQL["was_written"], pass_id))


def _switched(plan: Plan) -> tuple[list[int | None], list[str | None]]:
    """The known lifecycles, and their subjects, that are switched on or off."""
    subjects = [
        (change.lifecycle.id, row.skill)
        for change, row in plan.rows()
        if not change.begins and row.kind is not Kind.DELETED
    ]
    return [id_ for id_, _ in subjects], [skill for _, skill in subjects]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
