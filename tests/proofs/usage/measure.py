"""How long a month takes, next to one lead() over the rows that it must look at."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

SKILLS = 10
MONTHS = {"half-way back": ("2026-01-01", "2026-02-01"), "the latest": ("2026-12-01", "2027-01-01")}


class Scale(NamedTuple):
    """All tenants live through two years; their skills are switched at any time."""

    tenants: int
    events: int


_PASSES = """
INSERT INTO reconciler_passes (source, asked_at, observed_at, written_at, tenants_examined,
    lifecycle_inserted, lifecycle_deleted, events_inserted, suspension_events_inserted, program_version)
SELECT 'measured', at, at, at, 0, 0, 0, 0, 0, '0'
FROM generate_series('2025-01-01Z'::timestamptz, '2027-01-01Z', '1 hour') AS at
"""

_LIFECYCLES = """
INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at, tenant_uid,
    created_not_before, created_time_source, created_observed_at, created_pass_id)
SELECT 'tenant-' || n, 'org-' || n %% 500, '2025-01-01Z', 'uid-' || n,
       '2025-01-01Z', 'creation', '2025-01-01Z', 1
FROM generate_series(1, %(tenants)s) AS n
"""

# As passes write them: in the order of time, whoever's they are.
_EVENTS = """
INSERT INTO {table} (lifecycle_id, tenant_name, tenant_uid, {skill} event_kind, occurred_at, not_before,
    time_source, observed_at, pass_id, ordinal)
SELECT tenant, 'tenant-' || tenant, 'uid-' || tenant, {skill_value}
       CASE WHEN ordinal %% 2 = 1 THEN '{on}' ELSE '{off}' END, moment, moment - interval '1 hour',
       'observed', moment, 1 + extract(epoch FROM moment - '2025-01-01Z')::int / 3600, ordinal
FROM (
    SELECT *, row_number() OVER (PARTITION BY tenant, skill ORDER BY moment) AS ordinal
    FROM (
        SELECT tenant, skill, '2025-01-01Z'::timestamptz + random() * interval '730 days' AS moment
        FROM generate_series(1, %(tenants)s) AS tenant, generate_series(1, %(skills)s) AS skill,
             generate_series(1, %(each)s)
    ) AS anywhere
) AS numbered
ORDER BY moment
"""

# The rows of the month, and of each subject the last one before it; made beforehand, so that nothing but
# the lead() is measured.
_ROWS = """
CREATE TEMP TABLE looked_at AS
SELECT lifecycle_id, skill_key, ordinal, occurred_at FROM tenant_skill_events
WHERE occurred_at >= %(start)s AND occurred_at < %(end)s
UNION ALL
SELECT last.* FROM tenant_skill_events AS first
CROSS JOIN LATERAL (
    SELECT lifecycle_id, skill_key, ordinal, occurred_at FROM tenant_skill_events AS e
    WHERE e.lifecycle_id = first.lifecycle_id AND e.skill_key = first.skill_key
      AND occurred_at < %(start)s
    ORDER BY e.ordinal DESC LIMIT 1) AS last
WHERE first.ordinal = 1
"""

_LEAD = """
SELECT count(*), count(following) FROM (
    SELECT lead(occurred_at) OVER (PARTITION BY lifecycle_id, skill_key ORDER BY ordinal) AS following
    FROM looked_at) AS led
"""
_SKILL_DAYS = "SELECT count(*), sum(days) FROM billing_skill_days(%(start)s, %(end)s)"
_USAGE = "SELECT count(*), sum(amount_chf) FROM billing_usage(%(start)s, %(end)s)"
_OF_ONE = {
    "billing_usage()": "SELECT * FROM billing_usage(%(start)s, %(end)s, org => 'org-7')",
    "billing_days()": "SELECT * FROM billing_days(%(start)s, %(end)s, 'org-7')",
    "billing_totals()": "SELECT * FROM billing_totals(%(start)s, %(end)s, org => 'org-7')",
}
MOST_OF_ONE = 30
"""Milliseconds more than an empty query."""


def measured(connection: psycopg.Connection[Any], scale: Scale) -> Iterator[str]:
    """Fills an empty ledger, and tells the times, the best of five each, and the ratios."""
    fill(connection, scale)
    for month, (start, end) in MONTHS.items():
        days = {"start": start, "end": end}
        zurich = {name: f"{day} 00:00 Europe/Zurich" for name, day in days.items()}
        connection.execute("DROP TABLE IF EXISTS looked_at")
        connection.execute(_ROWS, zurich)
        connection.execute("ANALYZE looked_at")
        rows = connection.execute("SELECT count(*) FROM looked_at").fetchone()
        lead = _seconds(connection, _LEAD, {})
        yield f"the month {month}, {start}: {rows[0] if rows else 0} rows to look at"
        yield f"  one lead() over them    {lead:6.2f} s"
        for name, query in (("billing_skill_days()", _SKILL_DAYS), ("billing_usage()", _USAGE)):
            taken = _seconds(connection, query, days)
            yield f"  {name:<22}  {taken:6.2f} s  {taken / lead:4.1f} times as long"


def measured_of_one(connection: psycopg.Connection[Any], scale: Scale) -> Iterator[str]:
    """Fills an empty ledger, and tells what a month of one organisation takes beyond an empty query."""
    fill(connection, scale)
    empty = _seconds(connection, "SELECT 1", {})
    for month, (start, end) in MONTHS.items():
        yield f"the month {month}, {start}, of one organisation of 500, with {scale.tenants} tenants:"
        for name, query in _OF_ONE.items():
            taken = 1000 * (_seconds(connection, query, {"start": start, "end": end}) - empty)
            holds = "holds" if taken <= MOST_OF_ONE else "DOES NOT HOLD"
            yield f"  {name:<22}  {taken:6.1f} ms, at most {MOST_OF_ONE}: {holds}"


def fill(connection: psycopg.Connection[Any], scale: Scale) -> None:
    """Rows as passes would have written them, without the passes."""
    numbers = {"tenants": scale.tenants, "skills": SKILLS}
    numbers["each"] = max(1, scale.events // (scale.tenants * SKILLS))
    with connection.transaction():
        # Nobody else looks: what triggers and foreign keys would find is not measured here.
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("SET LOCAL work_mem = '256MB'")
        connection.execute(_PASSES)
        connection.execute(_LIFECYCLES, numbers)
        for table, skill, value, on, off, each in (
            ("tenant_skill_events", "skill_id,", "'skill-' || skill,", "enabled", "disabled", {}),
            ("tenant_suspension_events", "", "", "suspended", "resumed", {"skills": 1, "each": 10}),
        ):
            statement = _EVENTS.format(table=table, skill=skill, skill_value=value, on=on, off=off)
            connection.execute(statement.encode(), {**numbers, **each})
    connection.execute("VACUUM ANALYZE")


def _seconds(connection: psycopg.Connection[Any], query: str, values: dict[str, str]) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        connection.execute(query.encode(), values).fetchall()
        times.append(time.perf_counter() - began)
    return min(times)
