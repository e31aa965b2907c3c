"""What a ledger says, row by row, without what may differ: ids, and when it was written."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg

from tests.simulation import Change

_FACTS: Final = """
SELECT kind, tenant_name, tenant_uid, zitadel_org_id, cluster_uid, skill, ordinal,
       occurred_at, not_before, time_source, observed_at
FROM (
    SELECT id, 0, 'created', tenant_name, tenant_uid, zitadel_org_id, cluster_uid, NULL, 1,
           created_at, created_not_before, created_time_source, created_observed_at
    FROM tenant_billing_lifecycle
    UNION ALL
    SELECT id, 2, 'deleted', tenant_name, tenant_uid, zitadel_org_id, cluster_uid, NULL, 1,
           deleted_at, deleted_not_before, deleted_time_source, deleted_observed_at
    FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL
    UNION ALL
    SELECT l.id, 1, e.event_kind, e.tenant_name, e.tenant_uid, l.zitadel_org_id, l.cluster_uid,
           e.skill_id, e.ordinal, e.occurred_at, e.not_before, e.time_source, e.observed_at
    FROM tenant_skill_events e LEFT JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
    UNION ALL
    SELECT l.id, 1, e.event_kind, e.tenant_name, e.tenant_uid, l.zitadel_org_id, l.cluster_uid,
           NULL, e.ordinal, e.occurred_at, e.not_before, e.time_source, e.observed_at
    FROM tenant_suspension_events e LEFT JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
) AS fact (lifecycle, place, kind, tenant_name, tenant_uid, zitadel_org_id, cluster_uid, skill, ordinal,
           occurred_at, not_before, time_source, observed_at)
ORDER BY lifecycle, place, skill NULLS FIRST, ordinal
"""

_STATE: Final = """
SELECT l.tenant_uid, s.skills, s.suspended, s.changed_at, s.read_at
FROM reconciler_state s JOIN tenant_billing_lifecycle l ON l.id = s.lifecycle_id
"""

# The known state is what the events add up to, and an event is of its lifecycle's tenant.
_CONTRADICTIONS: Final = """
SELECT 'the state of lifecycle ' || lifecycle_id || ' is not what its events say'
FROM reconciler_state s FULL JOIN reconciler_derived_state() d USING (lifecycle_id)
WHERE (s.skills, s.suspended, s.changed_at) IS DISTINCT FROM (d.skills, d.suspended, d.changed_at)
UNION ALL
SELECT 'event ' || e.id || ' is of another tenant than its lifecycle'
FROM tenant_skill_events e JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
WHERE (e.tenant_uid, e.tenant_name) IS DISTINCT FROM (l.tenant_uid, l.tenant_name)
UNION ALL
SELECT 'event ' || e.id || ' is of another tenant than its lifecycle'
FROM tenant_suspension_events e JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
WHERE (e.tenant_uid, e.tenant_name) IS DISTINCT FROM (l.tenant_uid, l.tenant_name)
"""


class Fact(NamedTuple):
    """One row of a ledger; a lifecycle is one where it begins, and one where it ends."""

    kind: str
    name: str
    uid: str
    org: str
    cluster: str
    skill: str | None
    ordinal: int
    occurred_at: datetime | None = None
    not_before: datetime | None = None
    source: str | None = None
    observed_at: datetime | None = None


class Facts(NamedTuple):
    """All that a ledger says."""

    rows: Counter[Fact]
    state: Mapping[str, Any]
    """By uid, what the next pass will start from."""
    contradictions: Sequence[str] = ()

    def untimed(self) -> "Facts":
        """Who, what, and in which order; not when."""
        rows = Counter(Fact(*row[:7]) for row in self.rows.elements())
        return Facts(rows, {uid: state[:2] for uid, state in self.state.items()}, self.contradictions)


def facts(connection: "psycopg.Connection[Any]") -> Facts:
    """The facts of a ledger."""
    with connection.cursor() as cursor:
        rows = Counter(Fact(*row) for row in cursor.execute(_FACTS))
        state = {uid: tuple(rest) for uid, *rest in cursor.execute(_STATE)}
        return Facts(rows, state, [text for (text,) in cursor.execute(_CONTRADICTIONS)])


def broken_promises(
    rows: Iterable[Fact], truth: Iterable[Change], clocks: timedelta = timedelta()
) -> list[str]:
    """The rows whose interval does not hold what happened, to the second that Kubernetes keeps.

    `clocks` is how far our clock may have been off the API server's.
    """
    happened: dict[tuple[str, str, str | None], list[datetime]] = {}
    for one in truth:
        happened.setdefault((one.uid, one.kind.value, one.skill), []).append(one.at)
    wrong = []
    for row in rows:
        if row.occurred_at is None or row.not_before is None or row.observed_at is None:
            wrong.append(f"a time is missing: {row}")
            continue
        # Enabled at first sight is as of the creation, by rule.
        last = row.observed_at if row.source == "creation" else row.occurred_at
        slack = timedelta(seconds=1) + clocks
        first, last = row.not_before - slack, last + slack
        times = happened.get((row.uid, row.kind, row.skill), [])
        if not row.not_before <= row.occurred_at <= row.observed_at:
            wrong.append(f"no interval: {row}")
        elif not any(first < at < last for at in times):
            wrong.append(f"it was not then: {row}; it was at {', '.join(map(str, times)) or 'no time'}")
    return wrong
