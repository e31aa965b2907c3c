"""Invoices made from the ledger: their lines, and where they were computed from."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg import errors

from tests.billing.database import Connection, connect, insert, one, refused
from tests.billing.invoices import go
from tests.billing.ledger_of_march import ADA, BEA, look, march
from tests.command_line.snapshots import tenant

MARCH = "[2026-03-01,2026-04-01)"


@pytest.fixture
def ledger(ledger_url: str, tmp_path: Path) -> Iterator[Connection]:
    with connect(ledger_url) as connection:
        march(connection, ledger_url, tmp_path)
        yield connection


def lines(ledger: Connection, invoice: int) -> list[tuple[Any, ...]]:
    rows = ledger.execute(
        "SELECT * FROM invoice_lines WHERE invoice_id = %s ORDER BY position", (invoice,)
    )
    return [
        (row["kind"], row["tenant_name"], row["skill_id"], row["quantity"], row["out_of"], row["amount"])
        for row in rows
    ]


def draft(ledger: Connection, org: str = "org-2", **flags: Any) -> dict[str, Any]:
    named = "".join(f", {flag} => %s" for flag in flags)
    id_ = one(ledger, f"SELECT draft_invoice(%s, %s{named})", org, MARCH, *flags.values())
    row = ledger.execute("SELECT * FROM invoices WHERE id = %s", (id_,)).fetchone()
    assert row is not None
    return row


def test_one_call_makes_the_draft_and_its_lines(ledger: Connection) -> None:
    insert(ledger, "org_billing_config", zitadel_org_id="org-2", pay_by_invoice=True)
    invoice = draft(ledger)
    assert lines(ledger, invoice["id"]) == [
        ("setup_fee", "bea", None, 1, 1, Decimal("199.00")),
        ("monthly_fee", "bea", None, 31, 31, Decimal("49.00")),
        ("skill", "bea", "mail", 31, 1, Decimal("10.33")),
        ("skill", "bea", "wiki", 31, 1, Decimal("15.50")),
    ]
    assert (invoice["net_amount"], invoice["vat_rate"], invoice["gross_amount"]) == (
        Decimal("273.83"),
        Decimal("8.10"),
        Decimal("296.01"),
    )
    assert (invoice["period_start"], invoice["period_end"]) == (date(2026, 3, 1), date(2026, 4, 1))
    assert (invoice["pay_by_invoice"], invoice["close_id"]) == (True, None)
    assert invoice["as_of_pass"] == one(ledger, "SELECT billing_position()")


def test_the_portal_adds_its_own_lines_and_issues_it(ledger: Connection) -> None:
    invoice = draft(ledger)["id"]
    insert(
        ledger,
        "invoice_lines",
        invoice_id=invoice,
        position=5,
        kind="llm_spend",
        description="LiteLLM, March",
        quantity=1000,
        unit_price="0.0123",
        amount="12.30",
    )
    ledger.execute("SELECT total_invoice(%s)", (invoice,))
    ledger.execute("UPDATE invoices SET billing_name = 'Alpenglow AG' WHERE id = %s", (invoice,))
    issued = go(ledger, invoice, "issued")
    assert (issued["net_amount"], issued["vat_amount"]) == (Decimal("286.13"), Decimal("23.18"))


def test_a_draft_is_of_the_last_close_of_its_period(
    ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    close = one(ledger, "SELECT billing_close('2026-03-01', '2026-04-01')")
    position = one(ledger, "SELECT billing_position()")
    late = tenant("cleo", "wiki", created="2026-03-10T12:00:00Z", org="org-2")
    look(ledger_url, tmp_path, "0402", ADA, BEA, late)
    invoice = draft(ledger)
    assert (invoice["close_id"], invoice["as_of_pass"]) == (close, position)
    assert {line[1] for line in lines(ledger, invoice["id"])} == {"bea"}
    ledger.execute("DELETE FROM invoices")
    again = one(ledger, "SELECT billing_close('2026-03-01', '2026-04-01')")
    invoice = draft(ledger)
    assert invoice["close_id"] == again
    assert {line[1] for line in lines(ledger, invoice["id"])} == {"bea", "cleo"}


def test_a_month_with_two_rates_of_vat_is_one_invoice(ledger: Connection) -> None:
    ledger.execute("SELECT billing_set_price('vat_rate_chli', 8.8, '2026-03-11')")
    invoice = draft(ledger)
    assert invoice["vat_rate"] is None
    rates = ledger.execute(
        """
        SELECT vat_rate, sum(amount) AS net, round(sum(amount) * vat_rate / 100, 2) AS vat
        FROM invoice_lines GROUP BY vat_rate ORDER BY 1
        """
    ).fetchall()
    assert [row["vat_rate"] for row in rates] == [Decimal("8.10"), Decimal("8.80")]
    assert invoice["vat_amount"] == sum(row["vat"] for row in rates)
    ledger.execute("UPDATE invoices SET billing_name = 'Alpenglow AG'")
    go(ledger, invoice["id"], "issued")


def test_what_is_not_ready_is_not_drafted(ledger: Connection, ledger_url: str, tmp_path: Path) -> None:
    april = "[2026-04-01,2026-05-01)"
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="not ready to be invoiced: not-over"):
        ledger.execute("SELECT draft_invoice('org-2', %s, in_doubt => true)", (april,))
    odd = {**BEA, "spec": {"packages": "mail"}}
    look(ledger_url, tmp_path, "0430", ADA, odd)
    look(ledger_url, tmp_path, "0502", ADA, odd)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="quarantined bea"):
        ledger.execute("SELECT draft_invoice('org-2', %s)", (april,))
    ledger.execute("SELECT draft_invoice('org-2', %s, in_doubt => true)", (april,))
    ledger.execute("SELECT draft_invoice('org-1', %s)", (april,))


def test_a_period_is_drafted_once(ledger: Connection) -> None:
    draft(ledger)
    with refused(by="invoices_one_per_period"):
        draft(ledger)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("NULL, '[2026-03-01,2026-04-01)'", "expected org"),
        ("'nobody', '[2026-03-01,2026-04-01)'", "knows no organisation"),
        ("'org-2', 'empty'", "a later day to end before"),
        ("'org-2', '[2026-03-01,)'", "a later day to end before"),
        ("'org-2', NULL", "a later day to end before"),
    ],
)
def test_what_cannot_be_drafted_is_said(ledger: Connection, arguments: str, told: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=told):
        ledger.execute(f"SELECT draft_invoice({arguments})".encode())
