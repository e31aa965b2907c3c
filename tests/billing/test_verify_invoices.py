"""`verify --invoices`, and the portal's role: what was invoiced is what the ledger gives."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import InsufficientPrivilege

from tests.billing.database import Connection, connect, insert, one
from tests.billing.invoices import go, issue
from tests.billing.ledger_of_march import ADA, BEA, look, march
from tests.command_line.snapshots import tenant
from tests.conftest import Command

MARCH = "[2026-03-01,2026-04-01)"


@pytest.fixture
def ledger(ledger_url: str, tmp_path: Path) -> Iterator[Connection]:
    with connect(ledger_url) as connection:
        march(connection, ledger_url, tmp_path)
        yield connection


def issued(ledger: Connection, org: str = "org-2") -> int:
    id_: int = one(ledger, "SELECT draft_invoice(%s, %s)", org, MARCH)
    ledger.execute("UPDATE invoices SET billing_name = 'Alpenglow AG' WHERE id = %s", (id_,))
    go(ledger, id_, "issued")
    return id_


def verified(command: Command, status: int = 0) -> list[dict[str, Any]]:
    ran = command("verify", "--ledger-only", "--invoices", "--output", "json")
    assert ran.status == status, ran.err
    findings: list[dict[str, Any]] = json.loads(ran.out)["findings"]
    return findings


def test_an_invoice_holds_whatever_is_written_later(
    command: Command, ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    issued(ledger)
    late = tenant("cleo", "wiki", created="2026-03-10T12:00:00Z", org="org-2")
    look(ledger_url, tmp_path, "0402", ADA, BEA, late)
    ledger.execute("SELECT billing_set_price('tenant_monthly_fee_chf', 59, '2026-03-01')")
    ledger.execute("SELECT billing_set_price('vat_rate_chli', 9, '2026-03-01')")
    assert verified(command) == []


def test_a_line_that_is_not_what_the_ledger_gives_is_a_finding_with_both_figures(
    command: Command, ledger: Connection
) -> None:
    wrong = issued(ledger)
    issued(ledger, "org-1")
    ledger.execute("ALTER TABLE invoice_lines DISABLE TRIGGER USER")
    ledger.execute(
        """
        UPDATE invoice_lines SET quantity = 30, amount = 15 WHERE skill_id = 'wiki' AND invoice_id = %s
        """,
        (wrong,),
    )
    ledger.execute("DELETE FROM invoice_lines WHERE kind = 'setup_fee' AND invoice_id = %s", (wrong,))
    insert(
        ledger,
        "invoice_lines",
        invoice_id=wrong,
        position=9,
        kind="skill",
        description="x",
        lifecycle_id=1,
        tenant_name="ada",
        skill_id="chat",
        unit_price=1,
        amount=1,
    )
    ledger.execute("ALTER TABLE invoice_lines ENABLE TRIGGER USER")
    findings = verified(command, status=5)
    assert {finding["rule"] for finding in findings} == {"invoice-line"}
    assert {(finding["tenantName"], finding["told"].partition(", ")[2]) for finding in findings} == {
        ("bea", "skill wiki: invoiced 30 for 15.00 CHF, the ledger gives 31 for 15.50 CHF"),
        ("bea", "setup_fee: invoiced nothing, the ledger gives 1 for 199.00 CHF"),
        ("ada", "skill chat: invoiced 1 for 1.00 CHF, the ledger gives nothing"),
    }
    assert {finding["rows"][0]["id"] for finding in findings} == {wrong}


def test_lines_of_the_portal_s_own_are_none_of_its_business(
    command: Command, ledger: Connection
) -> None:
    id_ = one(ledger, "SELECT draft_invoice('org-2', %s)", MARCH)
    insert(
        ledger,
        "invoice_lines",
        invoice_id=id_,
        position=9,
        kind="adjustment",
        description="x",
        unit_price=1,
        amount=1,
    )
    ledger.execute("SELECT total_invoice(%s)", (id_,))
    ledger.execute("UPDATE invoices SET billing_name = 'Alpenglow AG'")
    go(ledger, id_, "issued")
    assert verified(command) == []


def test_an_invoice_without_a_position_is_noted(command: Command, ledger: Connection) -> None:
    id_ = one(ledger, "SELECT draft_invoice('org-2', %s)", MARCH)
    ledger.execute("UPDATE invoices SET billing_name = 'Alpenglow AG', as_of_pass = NULL")
    go(ledger, id_, "issued")
    issue(ledger, period_start=date(2025, 1, 1), period_end=date(2025, 2, 1))
    (note,) = verified(command)
    assert (note["rule"], note["isNote"], note["rows"][0]["id"]) == ("invoice-position", True, id_)


def test_where_the_invoices_are_the_portal_s_own_that_is_said(
    command: Command, ledger: Connection
) -> None:
    assert command("schema", "apply", "--tables", "ledger").status == 0
    assert one(ledger, "SELECT to_regclass('invoices')") is None
    ran = command("verify", "--ledger-only", "--invoices")
    assert ran.status == 2
    assert "not reconciler's" in ran.err


# The portal's role -------------------------------------------------------------------------------


@pytest.fixture
def portal(command: Command, ledger: Connection, ledger_url: str) -> Iterator[Connection]:
    """A connection as the portal's role."""
    role = f"portal_{uuid4().hex}"
    ledger.execute(f"CREATE ROLE {role} LOGIN")
    assert command("schema", "apply", "--grant-portal", role).status == 0
    with connect(ledger_url.replace("postgres@", f"{role}@")) as connection:
        yield connection
    ledger.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_portal_bills_a_month_from_end_to_end(portal: Connection) -> None:
    portal.execute("UPDATE platform_pricing SET threema_message_chf = 0.05")
    portal.execute("INSERT INTO skill_pricing VALUES ('chat', 0.1)")
    portal.execute("SELECT billing_set_price('tenant_monthly_fee_chf', 59, '2097-01-01')")
    insert(portal, "org_billing_config", zitadel_org_id="org-2", pay_by_invoice=True)
    insert(portal, "org_payment_methods", zitadel_org_id="org-2", stripe_payment_method_id="pm_1")
    portal.execute("UPDATE org_payment_methods SET is_default = true")
    assert one(portal, "SELECT is_ready FROM billing_ready('2026-03-01', '2026-04-01', 'org-2')")
    portal.execute("SELECT billing_close('2026-03-01', '2026-04-01', 'org-2')")
    invoice = issued(portal)
    insert(portal, "invoice_events", invoice_id=invoice, kind="sent", sent_to="a@example.org")
    portal.execute("UPDATE invoices SET due_date = due_date + 10 WHERE id = %s", (invoice,))
    insert(portal, "invoice_reminders", invoice_id=invoice, level=1, due_date=date(2031, 1, 1))
    insert(portal, "invoice_payments", invoice_id=invoice, amount="296.01", via="twint")
    assert one(portal, "SELECT status FROM invoices") == "paid"
    portal.execute("SELECT * FROM billing_enabled_now('org-2')")
    portal.execute("SELECT * FROM billing_days('2026-03-01', '2026-04-01', 'org-2')")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO reconciler_passes DEFAULT VALUES",
        "INSERT INTO tenant_skill_events (tenant_name) VALUES ('ada')",
        "UPDATE tenant_billing_lifecycle SET deleted_at = now()",
        "DELETE FROM reconciler_state",
        "INSERT INTO reconciler_price_history SELECT * FROM reconciler_price_history",
        "INSERT INTO reconciler_closes (period_start) VALUES ('2026-01-01')",
        "DELETE FROM invoice_payments",
        "UPDATE invoice_events SET sent_to = 'x'",
        "TRUNCATE invoices CASCADE",
        "DELETE FROM invoice_number_counters",
        "CREATE TABLE mine (id int)",
    ],
)
def test_the_portal_writes_nothing_else(portal: Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        portal.execute(statement.encode())
