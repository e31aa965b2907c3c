"""The known state can be had from the events, after any history."""

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from reconciler.core.guard import Limits
from reconciler.core.tenant import Snapshot, Tenant, Unreadable
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import Pass, run_pass
from tests.command_line.snapshots import row_counts
from tests.conftest import open_database

Connection = psycopg.Connection[Any]

START = datetime(2026, 11, 1, tzinfo=UTC)
SKILLS = ("mail", "wiki", "chat", "Chat", "ä", "z'", "x" * 200)
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
            FROM tenant_skill_events
            UNION ALL
            SELECT occurred_at, lag(occurred_at) OVER (PARTITION BY lifecycle_id ORDER BY ordinal)
            FROM tenant_suspension_events
        ) e WHERE occurred_at < before""",
    "rows outside their lifecycle": """
        SELECT * FROM (
            SELECT lifecycle_id, occurred_at FROM tenant_skill_events
            UNION ALL SELECT lifecycle_id, occurred_at FROM tenant_suspension_events
        ) e JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
        WHERE occurred_at < created_at OR occurred_at > deleted_at""",
}


class Given:
    """A snapshot that is there already."""

    is_live = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot


def random_history(seed: int) -> Iterator[Snapshot]:
    """A cluster in which everything happens that can happen, as seen every now and then."""
    chance, now, lives, there = random.Random(seed), START, 0, dict[str, Tenant]()  # noqa: S311
    for _ in range(40):
        now += timedelta(seconds=chance.randint(1, 3) * chance.choice((0.5, 60, 86_400)))
        for name in ("ada", "bea", "cleo", "dora", "edda", "flora", "grit", "hanna"):
            known = there.pop(name, None)
            if known is None and chance.random() < 0.5:
                continue
            is_new = known is None or known.deleted_at is not None or chance.random() < 0.1
            lives += is_new
            there[name] = Tenant(
                uid=f"uid-{lives}" if known is None or is_new else known.uid,
                name=name,
                org="org",
                created_at=now - timedelta(seconds=1) if known is None or is_new else known.created_at,
                skills=tuple(sorted(chance.sample(SKILLS, chance.randint(0, 4)))),
                suspended=chance.random() < 0.4,
                suspended_at=chance.choice((None, now, now - timedelta(days=1))),
                deleted_at=now if chance.random() < 0.1 else None,
            )
            if chance.random() < 0.1:
                del there[name]
        sick = {name for name in there if chance.random() < 0.1}
        yield Snapshot(
            tenants=[one for name, one in there.items() if name not in sick],
            unreadable=[Unreadable(uid=there[name].uid, name=name, reason="spec: x") for name in sick],
            asked_at=now,
            observed_at=now + timedelta(seconds=chance.random()),
            source="random",
        )


@pytest.mark.parametrize("seed", range(3))
def test_the_known_state_is_what_the_events_say_after_any_history(
    ledger: Connection, ledger_url: str, seed: int
) -> None:
    with closing(open_database(ledger_url)) as database:

        def make(snapshot: Snapshot) -> Pass:
            return run_pass(Given(snapshot), PostgresLedger(database), Limits(allow_deletions=100))

        for snapshot_ in random_history(seed):
            make(snapshot_)
            assert list(make(snapshot_).plan.rows()) == []
            for what, query in NOT_AS_IT_SHOULD_BE.items():
                assert ledger.execute(query.encode()).fetchall() == [], what
    counts = row_counts(ledger)
    assert counts["tenant_skill_events"] > 100
    assert counts["tenant_suspension_events"] > 30
    assert counts["tenant_billing_lifecycle"] > 20
