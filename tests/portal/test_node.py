"""The portal's own helpers, through Node's `pg`, on a database that the ledger is in."""

import json
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import Command
from tests.portal.node import node_url, run_node
from tests.portal.portal import PHASE_1

HERE = Path(__file__).parent


def answers(url: str, variant: str, folder: Path, *calls: list[Any]) -> list[dict[str, Any]]:
    for file in [*HERE.glob("*.ts"), *HERE.glob("*.sql"), HERE / "package.json"]:
        shutil.copy(file, folder)
    told = run_node(folder, "call.ts", node_url(url), variant, stdin="\n".join(map(json.dumps, calls)))
    return [json.loads(line) for line in told.splitlines()]


@pytest.mark.parametrize("variant", ["A", "C"])
def test_the_portal_s_helpers_work_beside_the_ledger_but_for_the_hooks(
    variant: str, database: str, tmp_path: Path
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(PHASE_1[variant.lower()].encode())
    command = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})
    assert command("schema", "apply").status == 0
    year, org = 2026, "org-1"
    card = {"id": "pm_1", "brand": "visa", "last4": "4242", "m": 1, "y": 2030, "def": True}
    prices = {"monthly": "49", "setup": "199", "threema": "0.03", "vat": "8.10", "by": "me"}
    *served, created, skill, suspended = answers(
        database,
        variant,
        tmp_path,
        ["getPlatformPricing"],
        ["updatePlatformPricing", prices],
        ["upsertSkillPricing", "mail", "0.5"],
        ["upsertSkillPricing", "mail", "0.75"],
        ["listSkillPricing"],
        ["getOrgBillingConfig", org],
        ["addOrgPaymentMethod", org, card],
        ["listOrgPaymentMethods", org],
        ["createInvoice", org, f"{year}-01-01", f"{year}-02-01", "10.00", "0.81", "10.81"],
        ["listInvoices", org],
        ["listTenantsForOrg", org],
        ["recordTenantCreated", "ada", org, "2026-01-01T00:00:00Z"],
        ["recordSkillEvents", "ada", org, ["mail"], []],
        ["recordSuspensionEvent", "ada", org, "suspended"],
    )
    assert [one for one in served if "code" in one] == []
    assert created["code"] == "42P10"
    for refused in (skill, suspended):
        assert refused["code"] == "23001"
        assert refused["hint"].startswith("Switch off the portal's hook")
