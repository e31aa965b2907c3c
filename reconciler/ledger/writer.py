"""Writes a plan: in bulk, in a fixed number of statements."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Final, TypeAlias

from msgspec.structs import replace

from reconciler.core.changes import Change, Row
from reconciler.core.kinds import LIFECYCLE, MEANING
from reconciler.core.plan import Plan
from reconciler.core.state_cache import Written
from reconciler.core.tenant import Setback
from reconciler.errors import Contradicted
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load
from reconciler.ledger.steps import (
    Insert,
    Numbers,
    Run,
    column_type,
    ordinal_before_first,
    pass_record,
    steps,
)

_SQL: Final = load("writer")

Subject: TypeAlias = tuple[int | None, str, str | None]
"""A lifecycle, a table of events and, where a lifecycle has several subjects in it, which."""

_MANY: Final = 500
"""With more changes than this, computing the digest of the rows takes a while."""


def write(transaction: Transaction, plan: Plan) -> Written:
    """Writes the plan and the record of its pass."""
    record = pass_record(plan)
    columns = ", ".join(record.columns)
    values = ", ".join(f"%s::{column_type(column)}" for column in record.columns)
    begun = [change.lifecycle.uid or "" for change in plan.changes if change.case.begins]
    subjects = _known_subjects(plan)
    ((pass_id,),), ids, last = transaction.answers(
        (f"INSERT INTO {record.table} ({columns}) VALUES ({values}) RETURNING id", next(record.rows)),
        (_SQL["new_ids"], [len(begun)]) if begun else None,
        (_SQL["last_ordinals"], [*map(list, zip(*subjects, strict=True))]) if subjects else None,
    )
    new_ids = dict(zip(begun, ids[0][0] if ids else (), strict=True))
    ordinals = {(id_, events, value): ordinal for id_, events, value, ordinal in last}
    for step in steps(plan, _numbers(new_ids, ordinals, pass_id)):
        _do(transaction, step)
    if len(plan.changes) > _MANY:
        # Compute it before the commit, which should be short.
        transaction.execute("SET CONSTRAINTS reconciler_passes_sealed IMMEDIATE")
    return Written(pass_id=pass_id, lifecycle_ids=new_ids)


def refused(transaction: Transaction, plan: Plan) -> Mapping[str, str]:
    """The tenants whose rows break a rule of the tables: why, by name. Writes nothing.

    Halves the plan until the tenants are found: a few among many take few attempts.
    """
    try:
        with transaction.attempt():
            write(transaction, plan)
    except Contradicted as error:
        names = sorted({change.lifecycle.name for change in plan.changes})
        if len(names) < 2:
            reason = f"the database refused its rows: {error}; `reconciler verify` checks the ledger"
            return dict.fromkeys(names, reason)
        half = frozenset(names[: len(names) // 2])
        return {
            **refused(transaction, _only(plan, half)),
            **refused(transaction, _only(plan, frozenset(names) - half)),
        }
    return {}


def _only(plan: Plan, names: AbstractSet[str]) -> Plan:
    return replace(
        plan, changes=tuple(change for change in plan.changes if change.lifecycle.name in names)
    )


def _do(transaction: Transaction, step: Insert | Run) -> None:
    """Raises LedgerError if another number of rows was written or changed."""
    if isinstance(step, Run):
        if rows := list(step.rows):
            transaction.change(step.query, *map(list, zip(*rows, strict=True)), rows=len(rows))
        return
    first = next(step.rows, None)
    if first is not None:
        types = [column_type(column) for column in step.columns]
        transaction.copy(step.table, step.columns, types, chain([first], step.rows))


def _numbers(new_ids: Mapping[str, int], last_ordinals: Mapping[Subject, int], pass_id: int) -> Numbers:
    def lifecycle_id(change: Change) -> int | None:
        return new_ids[change.lifecycle.uid or ""] if change.case.begins else change.lifecycle.id

    def previous_id(change: Change) -> int | None:
        return change.previous.id if change.previous else None

    def ordinal(change: Change, row: Row) -> int:
        return last_ordinals.get(_subject(change, row), ordinal_before_first(row.kind)) + 1

    return Numbers(pass_id, lifecycle_id, previous_id, ordinal)


def _subject(change: Change, row: Row) -> Subject:
    subject = MEANING[row.kind].subject
    return change.lifecycle.id, subject.table, row.value if subject.key else None


def _known_subjects(plan: Plan) -> list[Subject]:
    """The subjects of known lifecycles that get a row. They may have rows already."""
    return [
        _subject(change, row)
        for change in plan.changes
        if not change.case.begins
        for row in change.rows
        if MEANING[row.kind].subject != LIFECYCLE
    ]


def remember(transaction: Transaction, setback: Setback) -> None:
    """Records that the server of the ledger's cluster went back."""
    transaction.execute(
        _SQL["setback"], setback.found_at, str(setback.version), str(setback.ledger_version)
    )


def was_written(transaction: Transaction, pass_id: int) -> bool:
    """Whether the pass is in the ledger. Asked if the answer to its commit was lost."""
    return bool(transaction.rows(_SQL["was_written"], pass_id))
