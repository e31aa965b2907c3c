"""Prints a plan as SQL for `psql`: one statement for each row that a pass would write."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import Any, Final

from reconciler.core.cases import Record
from reconciler.core.changes import Change, Row
from reconciler.core.kinds import MEANING
from reconciler.core.plan import Plan
from reconciler.core.tenant import KnownState
from reconciler.ledger.postgres import FIRST_LOCK, WRITE_LOCK
from reconciler.ledger.steps import (
    Insert,
    Numbers,
    Run,
    column_type,
    ordinal_before_first,
    pass_record,
    steps,
)

_CURRENT: Final = "currval(pg_get_serial_sequence('reconciler_passes', 'id'))"


class _Expression(str):
    """SQL that finds the value when the script runs."""

    __slots__ = ()


def script(plan: Plan, known: KnownState) -> Iterator[str]:
    """The statements, line by line. They fail if another pass was written since the plan was made."""
    yield "\\set ON_ERROR_STOP on"
    yield "SET client_encoding = 'UTF8';"
    yield "BEGIN;"
    yield "SET LOCAL standard_conforming_strings = on;"
    if known.preparation:
        yield f"{FIRST_LOCK};"
        yield known.preparation
    yield f"{WRITE_LOCK};"
    yield (
        "DO $$ BEGIN IF (SELECT ROW(id, observed_at) FROM reconciler_passes ORDER BY id DESC LIMIT 1) "
        f"IS DISTINCT FROM {_last(known)} "
        "THEN RAISE EXCEPTION 'another pass was written since this was planned; plan again'; "
        "END IF; END $$;"
    )
    yield from _statements(pass_record(plan))
    numbers = Numbers(_Expression(_CURRENT), _lifecycle_id, _previous_id, _ordinal)
    for step in steps(plan, numbers):
        yield from _statements(step)
    yield "COMMIT;"


def _last(known: KnownState) -> str:
    if known.last_pass is None:
        return "NULL"
    # A last pass without an id was inserted earlier in the same script.
    id_ = _CURRENT if known.last_pass.id is None else _literal(known.last_pass.id, "bigint")
    return f"ROW({id_}::bigint, {_literal(known.last_pass.observed_at, 'timestamptz')})"


def _statements(step: Insert | Run) -> Iterator[str]:
    """One statement for each row."""
    # The id of a lifecycle that begins is given by the database.
    given = [not (isinstance(step, Insert) and column == "id") for column in step.columns]
    columns = [*compress(step.columns, given)]
    for row in step.rows:
        values = map(_literal, compress(row, given), map(column_type, columns))
        if isinstance(step, Insert):
            yield f"INSERT INTO {step.table} ({', '.join(columns)}) VALUES ({', '.join(values)});"
        else:
            query = " ".join(step.query.split()).replace("%s", "ARRAY[{}]")
            yield f"{query.format(*values)};"


def _lifecycle_id(change: Change) -> Any:
    lifecycle = change.lifecycle
    if lifecycle.id is not None:
        return lifecycle.id
    found = f"tenant_uid = {_literal(lifecycle.uid, 'text')}"
    if change.case.record is Record.REBINDING and change.previous is not None:
        # Before and after the statement that gives it the new uid.
        found += f" OR tenant_uid = {_literal(change.previous.uid, 'text')}"
    if not change.case.begins:
        # The portal's bears no uid until it is recognised.
        found += f" OR (tenant_uid IS NULL AND tenant_name = {_literal(lifecycle.name, 'text')})"
    return _Expression(f"(SELECT max(id) FROM tenant_billing_lifecycle WHERE {found})")


def _previous_id(change: Change) -> Any:
    if change.previous is not None and change.previous.id is not None:
        return change.previous.id
    uid = _literal(change.lifecycle.uid, "text")
    return _Expression(
        f"(SELECT id FROM tenant_billing_lifecycle WHERE tenant_uid = {uid} "
        f"AND deleted_pass_id = {_CURRENT})"
    )


def _ordinal(change: Change, row: Row) -> Any:
    subject = MEANING[row.kind].subject
    which = f" AND {subject.value} = {_literal(row.value, 'text')}" if subject.key else ""
    return _Expression(
        f"(SELECT coalesce(max(ordinal), {ordinal_before_first(row.kind)}) + 1 FROM {subject.table} "
        f"WHERE lifecycle_id = {_lifecycle_id(change)}{which})"
    )


def _literal(value: Any, kind: str) -> str:
    match value:
        case None:
            return "NULL"
        case _Expression():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            return f"'{value.astimezone(UTC).isoformat()}'::{kind}"
        case list():
            items: Sequence[str] = [_quoted(item) for item in value]
            return f"ARRAY[{', '.join(items)}]::{kind}"
        case bytes():
            return f"'\\x{value.hex()}'::{kind}"
        case str() if kind == "text":
            return _quoted(value)
        case _:
            return f"{_quoted(value)}::{kind}"


def _quoted(text: str) -> str:
    """A string literal that can neither end early nor reach the terminal as a control sequence."""
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    escaped = "".join(_escaped(character) for character in text)
    return f"E'{escaped}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08X}"
