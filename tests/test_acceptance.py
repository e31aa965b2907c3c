"""Eight acceptance steps: the installed wheel, a cluster over HTTP, a real Postgres.

In the README a person follows the same steps, with a file in the cluster's place.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.apiserver import ApiServer, Json
from tests.command_line.snapshots import COUNTS
from tests.conftest import Command, Ran

PACKAGES = {
    "alpha": ["mail", "wiki"],
    "bravo": ["mail"],
    "charlie": [],
    "delta": ["chat", "crm", "vault"],
    "echo": ["mail"],
}
ORGS = {"alpha": "org-a", "bravo": "org-a", "charlie": "org-b", "delta": "org-c", "echo": "org-c"}
SUSPENDED = {"echo": {"suspendedAt": "2026-11-02T00:00:00Z"}}
CREATED = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """The cluster of five tenants; one of them is suspended."""
    with ApiServer(token="of-the-reconciler") as server:
        for name, packages in PACKAGES.items():
            server.tenants.create(
                name,
                packages,
                org=ORGS[name],
                created=CREATED,
                suspend=name in SUSPENDED,
                status=SUSPENDED.get(name, {}),
            )
        yield server


class Steps:
    """The program, the cluster as kubectl would change it, and a look into the ledger."""

    def __init__(self, command: Command, server: ApiServer, ledger: "psycopg.Connection[Any]") -> None:
        self._command = command
        self.cluster = server.tenants
        self.ledger = ledger

    def reconciler(self, *arguments: str) -> Ran:
        done = self._command(*arguments)
        assert done.status == 0, done.out + done.err
        return done

    def run(self) -> Json:
        """What a run wrote in all: one pass for each change, and one over the list."""
        passes = self.reconciler("run", "--output", "json").reports
        sums = {count: sum(one[count] for one in passes) for count in COUNTS}
        return {**passes[-1], **sums, "rows": [row for one in passes for row in one["rows"]]}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.ledger.execute(query.encode()).fetchall()


@pytest.fixture
def steps(installed: Sequence[str], tmp_path: Path, server: ApiServer, database: str) -> Iterator[Steps]:
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    settings = {"RECONCILER_DATABASE_URL": database, "RECONCILER_KUBECONFIG": str(kubeconfig)}
    with psycopg.connect(database, autocommit=True) as ledger:
        yield Steps(Command(tmp_path, installed, settings), server, ledger)


def counts(report: Json) -> list[int]:
    """Lifecycles begun and ended, skill events, suspension events."""
    return [report[count] for count in COUNTS]


def test_a_ledger_is_made_and_kept_step_by_step(steps: Steps, server: ApiServer) -> None:
    # 1. The tables are made; there is one row of prices, zeros with 8.10, and no organisation.
    steps.reconciler("schema", "apply")
    prices = "SELECT tenant_monthly_fee_chf, tenant_setup_fee_chf, threema_message_chf, vat_rate_chli"
    assert steps.rows(f"{prices} FROM platform_pricing") == [(0, 0, 0, Decimal("8.10"))]
    assert steps.rows("SELECT * FROM org_billing_config") == []

    # 2. The first pass is the backfill of every tenant.
    backfill = steps.run()
    assert backfill["tenantsExamined"] == 5
    assert counts(backfill) == [5, 0, 7, 1]
    assert steps.rows("SELECT count(*) FROM tenant_billing_lifecycle WHERE deleted_at IS NULL") == [(5,)]

    # 3. A second pass finds nothing left to do.
    again = steps.run()
    assert counts(again) == [0, 0, 0, 0]
    assert again["rows"] == []

    # 4. Every package has a matching enabled row, as of the tenant's creation.
    enabled = steps.rows("""
        SELECT e.tenant_name, skill_id FROM tenant_skill_events e
        JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
        WHERE event_kind = 'enabled' AND occurred_at = created_at""")
    assert sorted(enabled) == [(name, skill) for name, skills in PACKAGES.items() for skill in skills]

    # 5. A skill is switched on, and off.
    last = "SELECT event_kind, tenant_name FROM {} ORDER BY id DESC LIMIT 1"
    steps.cluster.patch("bravo", spec={"packages": ["mail", "wiki"]})
    on = steps.run()
    assert counts(on) == [0, 0, 1, 0]
    assert steps.rows(last.format("tenant_skill_events")) == [("enabled", "bravo")]
    steps.cluster.patch("bravo", spec={"packages": ["mail"]})
    off = steps.run()
    assert counts(off) == [0, 0, 1, 0]
    assert steps.rows(last.format("tenant_skill_events")) == [("disabled", "bravo")]

    # 6. A tenant is suspended, and resumed.
    steps.cluster.patch("charlie", spec={"suspend": True})
    assert counts(steps.run()) == [0, 0, 0, 1]
    assert steps.rows(last.format("tenant_suspension_events")) == [("suspended", "charlie")]
    steps.cluster.patch("charlie", spec={"suspend": False})
    assert counts(steps.run()) == [0, 0, 0, 1]
    assert steps.rows(last.format("tenant_suspension_events")) == [("resumed", "charlie")]

    # 7. A tenant is deleted: its lifecycle ends, its events stay.
    steps.cluster.delete("delta")
    assert counts(steps.run()) == [0, 1, 0, 0]
    ended = "SELECT tenant_name FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"
    assert steps.rows(ended) == [("delta",)]
    assert steps.rows("SELECT count(*) FROM tenant_skill_events WHERE tenant_name = 'delta'") == [(3,)]

    # 8. Prices that were set by SQL survive a restart; nobody has read an organisation's posture yet.
    steps.ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49, vat_rate_chli = 2.60")
    steps.ledger.execute("""
        INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('mail', 0.5)
        ON CONFLICT (skill_id) DO UPDATE SET daily_price_chf = EXCLUDED.daily_price_chf""")
    steps.reconciler("schema", "apply")
    assert counts(steps.run()) == [0, 0, 0, 0]
    assert steps.rows(f"{prices} FROM platform_pricing") == [(49, 0, 0, Decimal("2.60"))]
    assert steps.rows("SELECT daily_price_chf FROM skill_pricing") == [(Decimal("0.50000"),)]
    assert steps.rows("SELECT * FROM org_billing_config") == []

    # The ledger is consistent, says why it bills what it bills, and the cluster was only ever read.
    assert "the ledger is consistent\n" in steps.reconciler("verify", "--deep").out
    switched = [report["rows"][0]["occurredAt"] for report in (on, off)]
    billable, after = (steps.reconciler("history", "bravo", "--at", at).out for at in switched)
    assert "  wiki  billable: it was enabled\n" in billable
    assert re.search(
        "  enabled +wiki  managed-fields(, not before .+)?; pass [0-9]+, watch of ", billable
    )
    assert "  wiki  not billable: it was disabled\n" in after
    two_days = ("--from", "2026-11-01", "--to", "2026-11-03", "--org", "org-a", "--prices")
    (total,) = steps.reconciler("usage", *two_days, "--output", "json").report["totals"]
    # Of alpha and bravo alike: 3.27 for 2 of 30 days, and 2 days of mail; VAT as it was then.
    assert (total["netChf"], total["vatChf"], total["grossChf"]) == ("8.54", "0.69", "9.23")
    assert {request.method for request in server.requests} == {"GET"}
