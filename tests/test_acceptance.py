"""The acceptance steps of the design, one after the other, on one ledger."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import COUNTS, Json, snapshot, tenant
from tests.conftest import Command

TENANTS = {
    "alpha": tenant("alpha", "mail", "wiki", org="org-a"),
    "bravo": tenant("bravo", "mail", org="org-a"),
    "charlie": tenant("charlie", org="org-b"),
    "delta": tenant("delta", "chat", "crm", "vault", org="org-c"),
    "echo": tenant("echo", "mail", org="org-c", suspend=True, suspended_at="2026-11-02T00:00:00Z"),
}


class Steps:
    """The ledger, and the cluster that it follows: a change a day."""

    def __init__(self, command: Command, ledger: "psycopg.Connection[Any]", folder: Path) -> None:
        self.command = command
        self.ledger = ledger
        self.tenants = dict(TENANTS)
        self._folder = folder
        self._day = 2

    def run(self) -> Json:
        self._day += 1
        taken = f"202611{self._day:02}T000000Z"
        file = snapshot(self._folder, taken, *self.tenants.values())
        done = self.command("run", "--snapshot", file, "--output", "json")
        assert done.status == 0, done.err
        return done.report

    def counts(self) -> list[int]:
        """Of one more pass: lifecycles begun and ended, skill events, suspension events."""
        report = self.run()
        return [report[count] for count in COUNTS]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.ledger.execute(query.encode()).fetchall()


@pytest.fixture
def steps(tmp_path: Path, database: str) -> Iterator[Steps]:
    command = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})
    with psycopg.connect(database, autocommit=True) as ledger:
        yield Steps(command, ledger, tmp_path)


def test_the_design_is_met_step_by_step(steps: Steps) -> None:
    # 1. The migration runs; platform_pricing holds one row of zeros with 8.10.
    assert steps.command("schema", "apply").status == 0
    prices = "SELECT tenant_monthly_fee_chf, tenant_setup_fee_chf, threema_message_chf, vat_rate_chli"
    assert steps.rows(f"{prices} FROM platform_pricing") == [(0, 0, 0, Decimal("8.10"))]

    # 2. org_billing_config is empty at first.
    assert steps.rows("SELECT * FROM org_billing_config") == []

    # 3. The backfill of N tenants has the right counts.
    backfill = steps.run()
    assert backfill["tenantsExamined"] == 5
    assert [backfill[count] for count in COUNTS] == [5, 0, 7, 1]
    assert steps.rows("SELECT count(*) FROM tenant_billing_lifecycle WHERE deleted_at IS NULL") == [(5,)]

    # 4. A second run is all zeros.
    assert steps.counts() == [0, 0, 0, 0]

    # 5. Every package has a matching enabled row, as of the tenant's creation.
    enabled = steps.rows("""
        SELECT e.tenant_name, skill_id FROM tenant_skill_events e
        JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
        WHERE event_kind = 'enabled' AND occurred_at = created_at""")
    packages = [(name, skill) for name, one in TENANTS.items() for skill in one["spec"]["packages"]]
    assert sorted(enabled) == sorted(packages)

    # 6. A skill is toggled: on, off.
    last = "SELECT event_kind, tenant_name FROM {} ORDER BY id DESC LIMIT 1"
    steps.tenants["bravo"] = tenant("bravo", "mail", "wiki", org="org-a")
    assert steps.counts() == [0, 0, 1, 0]
    assert steps.rows(last.format("tenant_skill_events")) == [("enabled", "bravo")]
    steps.tenants["bravo"] = TENANTS["bravo"]
    assert steps.counts() == [0, 0, 1, 0]
    assert steps.rows(last.format("tenant_skill_events")) == [("disabled", "bravo")]

    # 7. A tenant is suspended, and resumed.
    steps.tenants["charlie"] = tenant("charlie", org="org-b", suspend=True)
    assert steps.counts() == [0, 0, 0, 1]
    assert steps.rows(last.format("tenant_suspension_events")) == [("suspended", "charlie")]
    steps.tenants["charlie"] = TENANTS["charlie"]
    assert steps.counts() == [0, 0, 0, 1]
    assert steps.rows(last.format("tenant_suspension_events")) == [("resumed", "charlie")]

    # 8. A tenant is deleted: its lifecycle ends, its events stay.
    del steps.tenants["delta"]
    assert steps.counts() == [0, 1, 0, 0]
    ended = "SELECT tenant_name FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"
    assert steps.rows(ended) == [("delta",)]
    assert steps.rows("SELECT count(*) FROM tenant_skill_events WHERE tenant_name = 'delta'") == [(3,)]

    # 9. Prices that were set by SQL survive a restart.
    steps.ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49, vat_rate_chli = 2.60")
    steps.ledger.execute("""
        INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('mail', 0.5)
        ON CONFLICT (skill_id) DO UPDATE SET daily_price_chf = EXCLUDED.daily_price_chf""")
    assert steps.command("schema", "apply").status == 0
    assert steps.counts() == [0, 0, 0, 0]
    assert steps.rows(f"{prices} FROM platform_pricing") == [(49, 0, 0, Decimal("2.60"))]
    assert steps.rows("SELECT daily_price_chf FROM skill_pricing") == [(Decimal("0.50000"),)]

    # 10. Nobody has read an org's posture, so there is none yet.
    assert steps.rows("SELECT * FROM org_billing_config") == []
