"""Reads rows back, with the passes that wrote them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from reconciler.core.history import (
    Coverage,
    Gap,
    PassRecord,
    Span,
    WrittenLifecycle,
    WrittenOverride,
    WrittenRow,
)
from reconciler.core.kinds import Kind
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("history_reader")


def history(
    transaction: Transaction, tenant: str | None = None, *, org: str | None = None
) -> Sequence[WrittenLifecycle]:
    """All lifecycles of a tenant, by its name or a uid, or of an org, by name and oldest first."""
    # Unused filters are NULL, and `= NULL` matches no row.
    return _lifecycles(transaction, transaction.rows(_SQL["found"], org, tenant, tenant, tenant))


def moved_to(
    transaction: Transaction, lifecycles: Sequence[WrittenLifecycle]
) -> Mapping[int, Sequence[WrittenLifecycle]]:
    """What each of these goes on in, by its id: the lifecycle it moved to, and where that moved to."""
    moves = transaction.rows(_SQL["moves"], [one.id for one in lifecycles])
    numbers = sorted({(later,) for _, later in moves})
    later = {one.id: one for one in _lifecycles(transaction, numbers)}
    return {id_: [later[number] for _, number in group] for id_, group in groupby(moves, itemgetter(0))}


def _lifecycles(transaction: Transaction, numbers: Sequence[tuple[int]]) -> Sequence[WrittenLifecycle]:
    ids = [number for (number,) in numbers]
    found = transaction.rows(_SQL["lifecycles"], ids)
    events = transaction.rows(_SQL["events"], ids)
    of = defaultdict[int, list[tuple[Any, ...]]](list)
    for lifecycle_id, *event in events:
        of[lifecycle_id].append(tuple(event))
    overrides = defaultdict[int, list[WrittenOverride]](list)
    for lifecycle_id, *decided in transaction.rows(_SQL["overrides"], ids):
        overrides[lifecycle_id].append(_override(decided))
    wrote = {row[10] for row in found} | {row[14] for row in found} | {row[7] for row in events}
    wanted = sorted(number for number in wrote if number is not None)
    passes = {row[0]: _pass(row) for row in transaction.rows(_SQL["passes"], wanted)}
    lifecycles = []
    for row in found:
        id_, name, uid, pays, cluster_uid, created_at, deleted_at, *evidence = row
        rows = [_row(Kind.CREATED, None, created_at, evidence[:4], passes)]
        org_name = evidence.pop()
        rows += [
            _row(Kind(kind), skill, occurred_at, event, passes)
            for kind, skill, occurred_at, *event in of[id_]
        ]
        if deleted_at is not None:
            rows.append(_row(Kind.DELETED, None, deleted_at, evidence[4:], passes))
        lifecycles.append(
            WrittenLifecycle(
                id=id_,
                tenant_name=name,
                tenant_uid=uid,
                zitadel_org_id=pays,
                org_name=org_name,
                cluster_uid=cluster_uid,
                created_at=created_at,
                deleted_at=deleted_at,
                rows=rows,
                overrides=overrides[id_],
            )
        )
    return lifecycles


def coverage(
    transaction: Transaction, start: datetime | None, end: datetime, longest: timedelta
) -> Coverage:
    """What the lists up to `end` vouch for; `start` None is the first one of all."""
    ((first, number, last_id, last_at),) = transaction.rows(_SQL["looks"], start, end)
    start = start or first
    if start is None or start >= end:
        return Coverage(start, 0, ())
    rows = transaction.rows(_SQL["gaps"], last_id or 0, start, end, longest)
    gaps = [Gap(Span(since, until), kind == "lost") for kind, since, until in rows]
    # What no list has looked at yet.
    seen = max(last_at or start, start)
    if end - seen > longest:
        gaps.append(Gap(Span(seen, end), is_lost=False))
    return Coverage(start, number, gaps)


def _row(
    kind: Kind,
    skill: str | None,
    occurred_at: datetime,
    evidence: Sequence[Any],
    passes: dict[int, PassRecord],
) -> WrittenRow:
    not_before, time_source, observed_at, pass_id = evidence[:4]
    return WrittenRow(
        kind=kind,
        skill_id=skill,
        occurred_at=occurred_at,
        not_before=not_before,
        time_source=time_source,
        observed_at=observed_at,
        written_by=passes.get(pass_id),
    )


def _override(row: Sequence[Any]) -> WrittenOverride:
    override, pass_id, decided_at, decided_by, database_user, because, effective_at, outside = row
    return WrittenOverride(
        override=override,
        pass_id=pass_id,
        decided_at=decided_at,
        decided_by=decided_by,
        database_user=database_user,
        because=because,
        effective_at=effective_at,
        outside=outside,
    )


def _pass(row: Sequence[Any]) -> PassRecord:
    id_, source, cluster_uid, resource_version, asked_at, observed_at, written_at = row
    return PassRecord(
        id=id_,
        source=source,
        cluster_uid=cluster_uid,
        resource_version=resource_version,
        asked_at=asked_at,
        observed_at=observed_at,
        written_at=written_at,
    )
