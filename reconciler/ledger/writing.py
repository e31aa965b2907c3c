"""Turns a plan into the rows of the tables, and writes them: in bulk, in a fixed number of statements.

The rows are made by one pure function, `entries`. A pass copies them into Postgres; `script` prints
them as SQL.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from reconciler import __version__
from reconciler.core.plan import Change, Kind, Plan, Row
from reconciler.ledger.postgres import Transaction

_SKILL_KINDS: Final = (Kind.ENABLED, Kind.DISABLED)
_ON: Final = (Kind.ENABLED, Kind.SUSPENDED)

type_of: Final[Mapping[str, str]] = {
    "id": "int8",
    "lifecycle_id": "int8",
    "pass_id": "int8",
    "created_pass_id": "int8",
    "deleted_pass_id": "int8",
    "ordinal": "int4",
    "suspended": "bool",
    "adopted_cluster": "bool",
    "skills": "text[]",
    "quarantined": "jsonb",
    "held": "jsonb",
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
    """Rows for one table."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


class Entries(NamedTuple):
    """All that a plan changes in the tables, in the order in which it has to be written."""

    ended: Sequence[tuple[Any, datetime, datetime, str, datetime]]
    """lifecycle id, deleted_at, not_before, time_source, observed_at"""
    recognised: Sequence[tuple[Any, str | None]]
    """lifecycle id, and the uid under which it is known from now on"""
    rebindings: Table
    """The record that a lifecycle goes on under another uid; it allows the change of uid."""
    reopenings: Table
    """The record of a deletion that is withdrawn; it allows that."""
    lifecycles: Table
    skill_events: Table
    suspension_events: Table
    outdated: Sequence[Any]
    """The lifecycles whose row in `reconciler_state` is replaced or removed."""
    state: Table


# An id may be a number, or in a script an expression that finds it.
LifecycleId = Callable[[Change], Any]
Ordinal = Callable[[Change, Row], Any]


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
        "held": _json([{"tenantName": one.name, "tenantUid": one.uid} for one in plan.held]),
        "adopted_cluster": plan.adopts_cluster,
        "program_version": __version__,
    }
    return Table("reconciler_passes", tuple(record), [tuple(record.values())])


def entries(plan: Plan, pass_id: Any, lifecycle_id: LifecycleId, ordinal: Ordinal) -> Entries:
    """The rows that the plan stands for."""
    observed_at, cluster_uid = plan.snapshot.observed_at, plan.snapshot.cluster_uid
    ended, recognised, lifecycles, outdated, state = [], [], [], [], []
    skill_events, suspension_events, rebindings, reopenings = [], [], [], []
    for change in plan.changes:
        lifecycle, id_ = change.lifecycle, lifecycle_id(change)
        # What ends a lifecycle is explained as what begins it is.
        end: tuple[Any, ...] = (None,) * 5
        for row in change.rows:
            at = row.at
            event = (at.occurred_at, at.not_before, at.source.value, observed_at, pass_id)
            who = (id_, lifecycle.name, lifecycle.uid)
            if row.kind in _SKILL_KINDS:
                number = 1 if change.begins else ordinal(change, row)
                skill_events.append((*who, row.skill, row.kind.value, *event, number))
            elif row.kind is Kind.DELETED:
                end = event
            elif row.kind is not Kind.CREATED:
                number = 1 if change.begins else ordinal(change, row)
                suspension_events.append((*who, row.kind.value, *event, number))
        if change.begins:
            at = change.rows[0].at
            begin = (at.occurred_at, at.not_before, at.source.value, observed_at, pass_id)
            facts = (id_, lifecycle.name, lifecycle.org, lifecycle.uid, cluster_uid)
            lifecycles.append((*facts, *begin, *end))
        else:
            outdated.append(id_)
            if change.ends:
                ended.append((id_, *end[:4]))
            if change.recognised or change.rebound_from is not None:
                recognised.append((id_, lifecycle.uid))
            if change.rebound_from is not None:
                rebindings.append((pass_id, id_, change.rebound_from, lifecycle.uid))
            if change.reopened:
                reopenings.append((pass_id, id_))
        if not change.ends:
            state.append(
                (
                    id_,
                    list(lifecycle.skills),
                    lifecycle.suspended,
                    lifecycle.changed_at,
                    lifecycle.read_at,
                )
            )
    when = ("occurred_at", "not_before", "time_source", "observed_at", "pass_id", "ordinal")
    return Entries(
        ended=ended,
        recognised=recognised,
        rebindings=Table(
            "reconciler_rebindings", ("pass_id", "lifecycle_id", "old_uid", "new_uid"), rebindings
        ),
        reopenings=Table("reconciler_reopenings", ("pass_id", "lifecycle_id"), reopenings),
        lifecycles=Table(
            "tenant_billing_lifecycle",
            (
                *("id", "tenant_name", "zitadel_org_id", "tenant_uid", "cluster_uid"),
                *("created_at", "created_not_before", "created_time_source"),
                *("created_observed_at", "created_pass_id"),
                *("deleted_at", "deleted_not_before", "deleted_time_source"),
                *("deleted_observed_at", "deleted_pass_id"),
            ),
            lifecycles,
        ),
        skill_events=Table(
            "tenant_skill_events",
            ("lifecycle_id", "tenant_name", "tenant_uid", "skill_id", "event_kind", *when),
            skill_events,
        ),
        suspension_events=Table(
            "tenant_suspension_events",
            ("lifecycle_id", "tenant_name", "tenant_uid", "event_kind", *when),
            suspension_events,
        ),
        outdated=outdated,
        state=Table(
            "reconciler_state",
            ("lifecycle_id", "skills", "suspended", "changed_at", "read_at"),
            state,
        ),
    )


_NEW_IDS = """
SELECT nextval(pg_get_serial_sequence('tenant_billing_lifecycle', 'id')) FROM generate_series(1, %s)
"""

_LAST_ORDINALS = """
SELECT lifecycle_id, skill_id, ordinal
FROM unnest(%s::bigint[], %s::text[]) AS subject (lifecycle_id, skill_id)
CROSS JOIN LATERAL (
    (SELECT ordinal FROM tenant_skill_events e
     WHERE subject.skill_id IS NOT NULL AND e.lifecycle_id = subject.lifecycle_id
       AND e.skill_key = reconciler_skill_key(subject.skill_id) AND e.ordinal IS NOT NULL
     ORDER BY e.ordinal DESC LIMIT 1)
    UNION ALL
    (SELECT ordinal FROM tenant_suspension_events e
     WHERE subject.skill_id IS NULL AND e.lifecycle_id = subject.lifecycle_id AND e.ordinal IS NOT NULL
     ORDER BY e.ordinal DESC LIMIT 1)
) AS last
"""

_END = """
UPDATE tenant_billing_lifecycle l
SET deleted_at = e.at, deleted_not_before = e.not_before, deleted_time_source = e.source,
    deleted_observed_at = e.observed_at, deleted_pass_id = %s
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::timestamptz[])
     AS e (id, at, not_before, source, observed_at)
WHERE l.id = e.id
"""

REOPEN: Final = """
UPDATE tenant_billing_lifecycle
SET deleted_at = NULL, deleted_not_before = NULL, deleted_time_source = NULL,
    deleted_observed_at = NULL, deleted_pass_id = NULL
WHERE id = ANY(%s)
"""

_RECOGNISE = """
UPDATE tenant_billing_lifecycle l SET tenant_uid = r.uid, cluster_uid = coalesce(%s, l.cluster_uid)
FROM unnest(%s::bigint[], %s::text[]) AS r (id, uid) WHERE l.id = r.id
"""


def write(transaction: Transaction, plan: Plan) -> int:
    """Writes the plan and the record of its pass; returns the pass's number."""
    record = pass_record(plan)
    pass_id: int = transaction.value(
        f"INSERT INTO {record.name} ({', '.join(record.columns)}) "
        f"VALUES ({', '.join(f'%s::{column_type(column)}' for column in record.columns)}) RETURNING id",
        *record.rows[0],
    )
    if not plan.changes:
        return pass_id
    began = [change for change in plan.changes if change.begins]
    ids = iter(transaction.rows(_NEW_IDS, len(began)) if began else ())
    new_ids = {change.lifecycle.uid: next(ids)[0] for change in began}
    last = _last_ordinals(transaction, plan)

    def lifecycle_id(change: Change) -> int | None:
        return new_ids[change.lifecycle.uid] if change.begins else change.lifecycle.id

    def ordinal(change: Change, row: Row) -> int:
        # A subject that the portal's own rows left switched on goes off as number 0.
        return last.get((change.lifecycle.id, row.skill), 0 if row.kind in _ON else -1) + 1

    made = entries(plan, pass_id, lifecycle_id, ordinal)
    # A predecessor ends before its successor takes the name.
    if made.ended:
        transaction.execute(_END, pass_id, *map(list, zip(*made.ended, strict=True)))
    for table in (made.rebindings, made.reopenings):
        _copy(transaction, table)
    if made.reopenings.rows:
        transaction.execute(REOPEN, [id_ for _, id_ in made.reopenings.rows])
    if made.recognised:
        uids = map(list, zip(*made.recognised, strict=True))
        transaction.execute(_RECOGNISE, plan.snapshot.cluster_uid, *uids)
    if made.outdated:
        transaction.execute("DELETE FROM reconciler_state WHERE lifecycle_id = ANY(%s)", made.outdated)
    for table in (made.lifecycles, made.skill_events, made.suspension_events, made.state):
        _copy(transaction, table)
    return pass_id


def _copy(transaction: Transaction, table: Table) -> None:
    if table.rows:
        types = [column_type(column) for column in table.columns]
        transaction.copy(table.name, table.columns, types, table.rows)


def was_written(transaction: Transaction, pass_id: int) -> bool:
    """Whether the pass is in the ledger, where the answer to its commit was lost."""
    return bool(transaction.rows("SELECT FROM reconciler_passes WHERE id = %s", pass_id))


def _last_ordinals(transaction: Transaction, plan: Plan) -> Mapping[tuple[Any, str | None], int]:
    subjects = [
        (change.lifecycle.id, row.skill)
        for change, row in plan.rows()
        if not change.begins and row.kind is not Kind.DELETED
    ]
    if not subjects:
        return {}
    ids, skills = zip(*subjects, strict=True)
    rows = transaction.rows(_LAST_ORDINALS, list(ids), list(skills))
    return {(id_, skill): number for id_, skill, number in rows}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
