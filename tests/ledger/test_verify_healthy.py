"""Whatever passes did to a ledger, verify finds nothing in it."""

import os
from collections.abc import Sequence
from contextlib import closing

import psycopg
import pytest
from msgspec.structs import replace

from reconciler.core.guard import guard
from reconciler.core.plan import plan
from reconciler.core.verify import Finding, compare_creation, compare_state
from reconciler.ledger import checks, state_reader
from tests.conftest import open_database
from tests.ledger.histories import Step, forget, live_through

HISTORIES = int(os.environ.get("TEST_HISTORIES", "1000"))
"""How many; `make histories` takes thousands."""
SHARE = 50
SHARES = [
    pytest.param(first, marks=[pytest.mark.long] if first else [])
    for first in range(0, HISTORIES, SHARE)
]
PASSES = 10
WHAT_HAPPENED = (
    "reconciler_rebindings",
    "reconciler_reopenings",
    "reconciler_overrides",
    "reconciler_moves",
    "reconciler_passes WHERE NOT complete",
    "reconciler_passes WHERE held_back <> '[]'",
    "reconciler_passes WHERE quarantined <> '[]'",
    "reconciler_passes WHERE adopted_cluster",
    "tenant_billing_lifecycle WHERE recognised_pass_id IS NOT NULL",
    "tenant_billing_lifecycle WHERE deleted_time_source = 'deletion'",
    "tenant_billing_lifecycle WHERE deleted_time_source = 'successor'",
    "tenant_billing_lifecycle WHERE deleted_time_source = 'observed'",
    "tenant_skill_events WHERE ordinal = 0",
)

NOT_AS_IT_SHOULD_BE = {
    "state and events": """
        (SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_state
         EXCEPT SELECT * FROM reconciler_derived_state())
        UNION ALL
        (SELECT * FROM reconciler_derived_state()
         EXCEPT SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_state)""",
    "intervals": """
        SELECT * FROM tenant_skill_events
        WHERE NOT (not_before <= occurred_at AND occurred_at <= observed_at)""",
    "order within a subject": """
        SELECT * FROM (
            SELECT occurred_at,
                   lag(occurred_at) OVER (PARTITION BY lifecycle_id, skill_id ORDER BY ordinal) AS before
            FROM tenant_skill_events WHERE pass_id IS NOT NULL
            UNION ALL
            SELECT occurred_at, lag(occurred_at) OVER (PARTITION BY lifecycle_id ORDER BY ordinal)
            FROM tenant_suspension_events WHERE pass_id IS NOT NULL
        ) e WHERE occurred_at < before""",
    "rows outside their lifecycle": """
        SELECT * FROM (
            SELECT lifecycle_id, occurred_at FROM tenant_skill_events
            UNION ALL SELECT lifecycle_id, occurred_at FROM tenant_suspension_events
        ) e JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
        WHERE occurred_at < created_at OR occurred_at > deleted_at""",
}


def found(url: str, last: Step | None = None) -> Sequence[Finding]:
    """Everything that verify looks for, deep, and against the last snapshot."""
    with closing(open_database(url)) as database, database.transaction(read_only=True) as transaction:
        checks.prepare(transaction)
        findings = [*checks.contradictions(transaction), *checks.altered(transaction)]
        before = state_reader.last_pass(transaction)
        instant = before.last_pass.observed_at if before.last_pass else None
        rebuilt = list(checks.rebuilt(transaction))
        for one in rebuilt:
            findings += compare_state(one, instant)
        if last is None:
            return findings
        shown = {tenant.uid: tenant for tenant in last.snapshot.tenants}
        for one in rebuilt:
            tenant = shown.get(one.lifecycle.uid or "")
            findings += compare_creation(one, tenant) if tenant else ()
        live = {one.lifecycle.uid: one.lifecycle for one in rebuilt if one.lifecycle.uid is not None}
        adopted = {one.lifecycle.name: one.lifecycle for one in rebuilt if one.lifecycle.uid is None}
        state = replace(before, live=live, adopted=adopted)
        state = replace(state, gone=state_reader.gone(transaction, last.snapshot, state))
        # What was decided about the tenants in it was decided; who is reopened is no longer closed.
        again = replace(last.decisions, reopen=frozenset(), move=frozenset())
        pending = guard(plan(last.snapshot, state, again), state, last.limits)
        left = [(change, row) for change, row in pending.rows() if not change.case.is_weak]
        assert left == [], left
        return findings


@pytest.mark.parametrize("first", SHARES)
def test_verify_finds_nothing_in_a_ledger_that_only_passes_have_written(
    ledger_url: str, ledger: "psycopg.Connection[tuple[object, ...]]", first: int
) -> None:
    notes, happened = 0, [0] * len(WHAT_HAPPENED)
    for seed in range(first, min(first + SHARE, HISTORIES)):
        forget(ledger)
        steps = live_through(ledger_url, seed, PASSES)
        findings = found(ledger_url, steps[-1] if steps else None)
        assert [one for one in findings if not one.of.is_note] == [], f"history {seed}"
        for what, query in NOT_AS_IT_SHOULD_BE.items():
            assert ledger.execute(query.encode()).fetchall() == [], f"history {seed}: {what}"
        notes += len(findings)
        for place, what in enumerate(WHAT_HAPPENED):
            happened[place] += len(ledger.execute(f"SELECT FROM {what}".encode()).fetchall())
    # Some of these ledgers were the portal's, which was not always in good order.
    assert notes
    assert all(happened), dict(zip(WHAT_HAPPENED, happened, strict=True))
