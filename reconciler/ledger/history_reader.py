"""Reads rows back, with the passes that wrote them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
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

# Unused filters are NULL, and `= NULL` matches no row.
_LIFECYCLES = """
SELECT id, tenant_name, tenant_uid, zitadel_org_id, cluster_uid, created_at, deleted_at,
       created_not_before, created_time_source, created_observed_at, created_pass_id,
       deleted_not_before, deleted_time_source, deleted_observed_at, deleted_pass_id,
       (SELECT c.display_name FROM org_billing_config c WHERE c.zitadel_org_id = l.zitadel_org_id)
FROM tenant_billing_lifecycle l
WHERE zitadel_org_id = %s OR tenant_name = %s OR tenant_uid = %s
   OR id IN (SELECT lifecycle_id FROM reconciler_rebindings WHERE old_uid = %s)
ORDER BY tenant_name, created_at, id
"""

# Rows of the portal name no lifecycle; theirs is the one of that name that the portal began.
_EVENTS = """
WITH mine AS (
    SELECT id, tenant_name, created_pass_id FROM tenant_billing_lifecycle WHERE id = ANY(%s)
), event AS NOT MATERIALIZED (
    SELECT lifecycle_id, tenant_name, event_kind, skill_id,
           occurred_at, not_before, time_source, observed_at, pass_id, ordinal, id
    FROM tenant_skill_events
    UNION ALL
    SELECT lifecycle_id, tenant_name, event_kind, NULL,
           occurred_at, not_before, time_source, observed_at, pass_id, ordinal, id
    FROM tenant_suspension_events
), of_mine AS (
    SELECT mine.id AS mine_id, event.* FROM mine JOIN event ON event.lifecycle_id = mine.id
    UNION ALL
    SELECT mine.id, event.* FROM mine
    JOIN reconciler_portal_lives() life ON life.lifecycle_id = mine.id
    JOIN event ON event.lifecycle_id IS NULL AND event.tenant_name = life.tenant_name
              AND event.occurred_at > life.after AND event.occurred_at <= life.until
    WHERE mine.created_pass_id IS NULL
)
SELECT mine_id, event_kind, skill_id, occurred_at, not_before, time_source, observed_at, pass_id
FROM of_mine ORDER BY occurred_at, ordinal NULLS FIRST, skill_id COLLATE "C" NULLS FIRST, id
"""

_PASSES = """
SELECT id, source, cluster_uid, resource_version, asked_at, observed_at, written_at
FROM reconciler_passes WHERE id = ANY(%s)
"""


def history(
    transaction: Transaction, tenant: str | None = None, *, org: str | None = None
) -> Sequence[WrittenLifecycle]:
    """All lifecycles of a tenant, by its name or a uid, or of an org, by name and oldest first."""
    found = transaction.rows(_LIFECYCLES, org, tenant, tenant, tenant)
    events = transaction.rows(_EVENTS, [row[0] for row in found])
    of = defaultdict[int, list[tuple[Any, ...]]](list)
    for lifecycle_id, *event in events:
        of[lifecycle_id].append(tuple(event))
    overrides = defaultdict[int, list[WrittenOverride]](list)
    for lifecycle_id, *decided in transaction.rows(_SQL["overrides"], [row[0] for row in found]):
        overrides[lifecycle_id].append(_override(decided))
    numbers = {row[10] for row in found} | {row[14] for row in found} | {row[7] for row in events}
    wanted = sorted(number for number in numbers if number is not None)
    passes = {row[0]: _pass(row) for row in transaction.rows(_PASSES, wanted)}
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
