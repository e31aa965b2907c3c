"""The steps that write a plan: the rows of each table, in the order in which they are written.

`writer` runs the steps and `script` prints them as SQL. Rows are generated one at a time, because a
backfill has a million.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from reconciler import __version__
from reconciler.core.cases import Record
from reconciler.core.changes import Change, Row
from reconciler.core.kinds import EVENTS, LIFECYCLE, MEANING, Kind, Subject, kinds_of
from reconciler.core.plan import Plan
from reconciler.core.times import TimeSource
from reconciler.ledger.queries import load

_SQL: Final = load("steps")


class Insert(NamedTuple):
    """Rows for a table."""

    table: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Run(NamedTuple):
    """A query that takes each column of its rows as an array."""

    query: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Numbers(NamedTuple):
    """How rows refer to each other: by numbers or, in a script, by SQL that finds the number."""

    pass_id: Any
    lifecycle_id: Callable[[Change], Any]
    previous_id: Callable[[Change], Any]
    """The lifecycle under the old org, of one that was moved."""
    ordinal: Callable[[Change, Row], Any]


_WHEN: Final = ("occurred_at", "not_before", "time_source", "observed_at", "pass_id")

_TYPES: Final = {
    **dict.fromkeys(("id", "lifecycle_id", "previous_lifecycle_id"), "int8"),
    **dict.fromkeys(("pass_id", "created_pass_id", "deleted_pass_id"), "int8"),
    **dict.fromkeys(("ordinal", "tenants_examined"), "int4"),
    **{meaning.counter: "int4" for meaning in MEANING.values()},
    **dict.fromkeys(("suspended", "adopted_cluster", "complete", "gapless", "held", "outside"), "bool"),
    "gap_since": "timestamptz",
    **dict.fromkeys(("quarantined", "held_back"), "jsonb"),
    "skills": "text[]",
    "fingerprint": "bytea",
}


def column_type(column: str) -> str:
    """The Postgres type of one of the columns that a pass writes."""
    if column.endswith(("_at", "_before")):
        return "timestamptz"
    return _TYPES.get(column, "text")


def ordinal_before_first(kind: Kind) -> int:
    """What comes before the first row of a subject. The rows are counted from 1.

    A subject that the portal's own rows left switched on goes off as number 0.
    """
    return -1 if MEANING[kind].switches is False else 0


def _first_ordinal(kind: Kind) -> int:
    """In a lifecycle that begins: on, and after it off, if that happened before its first snapshot."""
    return 2 if MEANING[kind].switches is False else 1


def pass_record(plan: Plan) -> Insert:
    """The row that records the pass itself. It is written first: all others name it."""
    snapshot = plan.snapshot
    record = {
        "source": snapshot.source,
        "cluster_uid": snapshot.cluster_uid,
        "resource_version": snapshot.resource_version,
        "asked_at": snapshot.asked_at,
        "observed_at": snapshot.observed_at,
        "tenants_examined": snapshot.size,
        **plan.counters(),
        "quarantined": _json(
            [
                {"tenantName": one.name, "tenantUid": one.uid, "reason": one.reason}
                for one in plan.quarantined
            ]
        ),
        "held_back": _json([{"tenantName": one.name, "tenantUid": one.uid} for one in plan.held]),
        "adopted_cluster": plan.adopts_cluster,
        "complete": snapshot.scope is None,
        "content_digest": snapshot.digest,
        "scope_uid": next(iter(snapshot.scope or ()), None),
        "scope_name": _scope_name(plan),
        "gapless": snapshot.gapless,
        "gap_since": snapshot.gap_since,
        "program_version": __version__,
    }
    return Insert("reconciler_passes", tuple(record), iter([tuple(record.values())]))


def _scope_name(plan: Plan) -> str | None:
    """The name of the one tenant that a watched pass is about; a deletion shows only its uid."""
    if not plan.snapshot.scope:
        return None
    names: list[str | None] = [change.lifecycle.name for change in plan.changes]
    names += [one.name for one in plan.snapshot.tenants]
    names += [one.name for one in plan.snapshot.unreadable]
    return next((name for name in names if name is not None), None)


def steps(plan: Plan, numbers: Numbers) -> Iterator[Insert | Run]:
    """All other steps, in the order that the constraints of the database need."""
    # The database accepts what an operator allowed only if it is on record.
    yield _rebindings(plan, numbers)
    yield _reopenings(plan, numbers)
    yield Run(_SQL["reopen"], ("id",), ((id_,) for _, id_ in _reopenings(plan, numbers).rows))
    yield _recognised(plan, numbers)
    # A predecessor ends before its successor takes the name.
    yield _ends(plan, numbers)
    yield Run(_SQL["forget_state"], ("lifecycle_id",), _known(plan, numbers))
    yield _begins(plan, numbers)
    yield _moves(plan, numbers)
    yield _overrides(plan, numbers)
    for subject in EVENTS:
        yield _events(plan, numbers, subject)
    yield _states(plan, numbers)


def _rebindings(plan: Plan, numbers: Numbers) -> Insert:
    return Insert(
        "reconciler_rebindings",
        ("pass_id", "lifecycle_id", "old_uid", "new_uid"),
        (
            (numbers.pass_id, numbers.lifecycle_id(change), change.previous.uid, change.lifecycle.uid)
            for change in plan.recorded(Record.REBINDING)
            if change.previous is not None
        ),
    )


def _reopenings(plan: Plan, numbers: Numbers) -> Insert:
    return Insert(
        "reconciler_reopenings",
        ("pass_id", "lifecycle_id"),
        ((numbers.pass_id, numbers.lifecycle_id(change)) for change in plan.recorded(Record.REOPENING)),
    )


def _recognised(plan: Plan, numbers: Numbers) -> Run:
    """The lifecycles that get a uid. One that is reopened may be the portal's, which has none."""
    return Run(
        _SQL["recognise"],
        ("id", "tenant_uid", "cluster_uid"),
        (
            (numbers.lifecycle_id(change), change.lifecycle.uid, plan.snapshot.cluster_uid)
            for change in plan.changes
            if change.known is not None
            and (change.known.uid != change.lifecycle.uid or change.case.record is Record.REOPENING)
        ),
    )


def _ends(plan: Plan, numbers: Numbers) -> Run:
    """The known lifecycles that end. One that is deleted at first sight is inserted with its end."""
    return Run(
        _SQL["end"],
        ("id", *_WHEN),
        (
            (numbers.lifecycle_id(change), *_when(plan, numbers, change.rows[-1]))
            for change in plan.changes
            if change.case.ends and not change.case.begins
        ),
    )


def _known(plan: Plan, numbers: Numbers) -> Iterator[tuple[Any]]:
    """The lifecycles whose state is replaced or removed. One that had ended has no state."""
    for change in plan.changes:
        if not change.case.begins and change.case.record is not Record.REOPENING:
            yield (numbers.lifecycle_id(change),)


def _begins(plan: Plan, numbers: Numbers) -> Insert:
    """The lifecycles that begin, with their end if they were deleted at first sight."""
    columns = (
        *("id", "tenant_name", "zitadel_org_id", "tenant_uid", "cluster_uid"),
        *("created_at", "created_not_before", "created_time_source"),
        *("created_observed_at", "created_pass_id"),
        *("deleted_at", "deleted_not_before", "deleted_time_source"),
        *("deleted_observed_at", "deleted_pass_id"),
    )
    return Insert(
        LIFECYCLE.table,
        columns,
        (
            (
                numbers.lifecycle_id(change),
                change.lifecycle.name,
                change.lifecycle.org,
                change.lifecycle.uid,
                plan.snapshot.cluster_uid,
                *_when(plan, numbers, change.rows[0]),
                *(_when(plan, numbers, change.rows[-1]) if change.case.ends else (None,) * len(_WHEN)),
            )
            for change in plan.changes
            if change.case.begins
        ),
    )


def _moves(plan: Plan, numbers: Numbers) -> Insert:
    """The record of a move to another org, for which no second set-up fee is due."""
    return Insert(
        "reconciler_moves",
        ("pass_id", "lifecycle_id", "previous_lifecycle_id"),
        (
            (numbers.pass_id, numbers.lifecycle_id(change), numbers.previous_id(change))
            for change in plan.recorded(Record.MOVE)
        ),
    )


def _overrides(plan: Plan, numbers: Numbers) -> Insert:
    """Who decided what, for the record."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for override, change in plan.overridden():
            at = change.rows[0].at if change is not None and change.case.record is Record.MOVE else None
            is_given = at is not None and at.source is TimeSource.OPERATOR
            yield (
                numbers.pass_id,
                override,
                None if change is None else numbers.lifecycle_id(change),
                at.occurred_at if at is not None and is_given else None,
                at.not_before == at.occurred_at if at is not None and is_given else None,
                plan.because,
                plan.by,
            )

    columns = ("pass_id", "override", "lifecycle_id", "effective_at", "outside", "because", "decided_by")
    return Insert("reconciler_overrides", columns, rows())


def _events(plan: Plan, numbers: Numbers, subject: Subject) -> Insert:
    kinds, has_value = kinds_of(subject), subject.value is not None

    def rows() -> Iterator[tuple[Any, ...]]:
        for change in plan.changes:
            lifecycle, begins = change.lifecycle, change.case.begins
            id_ = numbers.lifecycle_id(change)
            for row in change.rows:
                if row.kind in kinds:
                    yield (
                        id_,
                        lifecycle.name,
                        lifecycle.uid,
                        *((row.value,) if has_value else ()),
                        row.kind.value,
                        *_when(plan, numbers, row),
                        _first_ordinal(row.kind) if begins else numbers.ordinal(change, row),
                    )

    value = (subject.value,) if subject.value is not None else ()
    who = ("lifecycle_id", "tenant_name", "tenant_uid")
    return Insert(subject.table, (*who, *value, "event_kind", *_WHEN, "ordinal"), rows())


def _states(plan: Plan, numbers: Numbers) -> Insert:
    """The known state of the lifecycles that are live."""
    return Insert(
        "reconciler_state",
        (
            "lifecycle_id",
            "skills",
            "suspended",
            "changed_at",
            "read_at",
            "held",
            "settled_at",
            "fingerprint",
        ),
        (
            (
                numbers.lifecycle_id(change),
                list(change.lifecycle.skills),
                change.lifecycle.suspended,
                change.lifecycle.changed_at,
                change.lifecycle.read_at,
                change.lifecycle.held,
                change.lifecycle.settled_at,
                change.lifecycle.fingerprint,
            )
            for change in plan.changes
            if not change.case.ends
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


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
