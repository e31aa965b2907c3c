"""Prints a plan as SQL that `psql` runs: the same rows that a pass would write, as statements."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.core.plan import Change, Plan, Row
from reconciler.core.tenant import KnownState
from reconciler.ledger.postgres import LOCK_KEY
from reconciler.ledger.queries import load
from reconciler.ledger.schema import statements
from reconciler.ledger.writer import (
    SWITCHED_ON,
    Numbers,
    Table,
    column_type,
    ended,
    lifecycles,
    moves,
    outdated,
    pass_record,
    rebindings,
    recognised,
    reopenings,
    skill_events,
    state,
    suspension_events,
)

_SQL: Final = load("writer")
_CURRENT: Final = "currval(pg_get_serial_sequence('reconciler_passes', 'id'))"


class _Expression(str):
    """SQL that finds a value when the script runs."""

    __slots__ = ()


def script(plan: Plan, known: KnownState) -> Iterator[str]:
    """The statements, one line at a time; they refuse to run where the ledger has moved on since."""
    yield "\\set ON_ERROR_STOP on"
    yield "SET client_encoding = 'UTF8';"
    yield "BEGIN;"
    yield "SET LOCAL standard_conforming_strings = on;"
    yield f"SELECT pg_advisory_xact_lock({LOCK_KEY});"
    if not known.has_tables:
        yield statements()
    yield (
        "DO $$ BEGIN IF (SELECT ROW(id, observed_at) FROM reconciler_passes ORDER BY id DESC LIMIT 1) "
        f"IS DISTINCT FROM {_last(known)} "
        "THEN RAISE EXCEPTION 'the ledger has moved on since this was planned; plan again'; "
        "END IF; END $$;"
    )
    yield from _inserts(pass_record(plan))
    numbers = Numbers(_Expression(_CURRENT), _lifecycle_id, _previous_id, _ordinal)
    for record in (rebindings(plan, numbers), reopenings(plan, numbers)):
        yield from _inserts(record)
    for _, id_ in reopenings(plan, numbers).rows:
        yield f"{' '.join(_SQL['reopen'].split()).replace('ANY(%s)', f'ANY(ARRAY[{id_}])')};"
    for id_, uid in recognised(plan, numbers):
        cluster = _literal(plan.snapshot.cluster_uid, "text")
        yield (
            f"UPDATE tenant_billing_lifecycle SET tenant_uid = {_literal(uid, 'text')}, "
            f"cluster_uid = coalesce({cluster}, cluster_uid) "
            f"WHERE id = {id_} AND tenant_uid IS DISTINCT FROM {_literal(uid, 'text')};"
        )
    for id_, at, not_before, source, observed_at in ended(plan, numbers):
        yield (
            f"UPDATE tenant_billing_lifecycle SET deleted_at = {_literal(at, 'timestamptz')}, "
            f"deleted_not_before = {_literal(not_before, 'timestamptz')}, "
            f"deleted_time_source = {_literal(source, 'text')}, "
            f"deleted_observed_at = {_literal(observed_at, 'timestamptz')}, "
            f"deleted_pass_id = {_CURRENT} WHERE id = {id_};"
        )
    for id_ in outdated(plan, numbers):
        yield f"DELETE FROM reconciler_state WHERE lifecycle_id = {id_};"
    for make in (lifecycles, moves, skill_events, suspension_events, state):
        yield from _inserts(make(plan, numbers))
    yield "COMMIT;"


def _last(known: KnownState) -> str:
    if known.last_pass is None:
        return "NULL"
    # One that is only planned is one that this session has just written.
    id_ = _CURRENT if known.last_pass.id is None else _literal(known.last_pass.id, "bigint")
    return f"ROW({id_}::bigint, {_literal(known.last_pass.observed_at, 'timestamptz')})"


def _inserts(table: Table) -> Iterator[str]:
    # The id of a lifecycle is given by the database.
    columns = [column for column in table.columns if column != "id"]
    for row in table.rows:
        values = [
            _literal(value, column_type(column))
            for column, value in zip(table.columns, row, strict=True)
            if column != "id"
        ]
        yield f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(values)});"


def _lifecycle_id(change: Change) -> Any:
    lifecycle = change.lifecycle
    if lifecycle.id is not None:
        return lifecycle.id
    found = f"tenant_uid = {_literal(lifecycle.uid, 'text')}"
    if change.rebound_from is not None:
        # Before and after the statement that gives it the new uid.
        found += f" OR tenant_uid = {_literal(change.rebound_from, 'text')}"
    if not change.begins:
        # The portal's bears no uid until it is recognised.
        found += f" OR (tenant_uid IS NULL AND tenant_name = {_literal(lifecycle.name, 'text')})"
    return _Expression(f"(SELECT max(id) FROM tenant_billing_lifecycle WHERE {found})")


def _previous_id(change: Change) -> Any:
    if change.moved_from is not None and change.moved_from.id is not None:
        return change.moved_from.id
    uid = _literal(change.lifecycle.uid, "text")
    return _Expression(
        f"(SELECT id FROM tenant_billing_lifecycle WHERE tenant_uid = {uid} "
        f"AND deleted_pass_id = {_CURRENT})"
    )


def _ordinal(change: Change, row: Row) -> Any:
    table, subject = "tenant_suspension_events", ""
    if row.skill is not None:
        table = "tenant_skill_events"
        subject = f" AND skill_key = reconciler_skill_key({_literal(row.skill, 'text')})"
    before = 0 if row.kind in SWITCHED_ON else -1
    return _Expression(
        f"(SELECT coalesce(max(ordinal), {before}) + 1 FROM {table} "
        f"WHERE lifecycle_id = {_lifecycle_id(change)}{subject})"
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
