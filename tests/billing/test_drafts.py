"""Drafts of invoices, their lines, and what it takes to issue them."""

# ruff: noqa: S608 - the names in these statements are our own

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.billing.database import Connection, insert, one, refused
from tests.billing.invoices import draft, go, issue, line


def test_issuing_gives_the_number_and_the_dates(ledger: Connection) -> None:
    invoice = draft(ledger, net="1234.55", issued_at=None)
    assert (invoice["number"], invoice["gross_amount"]) == (None, Decimal("1334.55"))
    issued = go(ledger, invoice["id"], "issued")
    today = one(ledger, "SELECT (now() AT TIME ZONE 'Europe/Zurich')::date")
    assert issued["number"] == f"{today.year}-000001"
    assert issued["issued_at"] is not None
    assert issued["issue_date"] == today
    assert issued["due_date"] == today + timedelta(days=30)
    assert go(ledger, draft(ledger)["id"], "issued")["number"] == f"{today.year}-000002"


def test_an_invoice_issued_at_midnight_counts_in_the_year_of_zurich(ledger: Connection) -> None:
    invoice = draft(ledger)["id"]
    row = ledger.execute(
        """
        UPDATE invoices SET status = 'issued', issued_at = '2026-12-31 23:30Z' WHERE id = %s RETURNING *
        """,
        (invoice,),
    ).fetchone()
    assert row is not None
    assert (row["issue_date"], row["number"]) == (date(2027, 1, 1), "2027-000001")


def test_a_number_and_dates_that_are_given_are_kept(ledger: Connection) -> None:
    number = one(ledger, "SELECT next_invoice_number('A')")
    row = ledger.execute(
        """
        UPDATE invoices
        SET status = 'issued', number = %s, issue_date = '2026-11-01', due_date = '2026-11-11'
        WHERE id = %s RETURNING *
        """,
        (number, draft(ledger)["id"]),
    ).fetchone()
    assert row is not None
    assert (row["number"], row["issue_date"], row["due_date"]) == (
        "A-000001",
        date(2026, 11, 1),
        date(2026, 11, 11),
    )


def test_an_invoice_begins_as_a_draft(ledger: Connection) -> None:
    with refused(by="invoices_begin_as_draft"):
        draft(ledger, status="issued", number="1", issued_at=date(2026, 1, 1))


def test_an_invoice_whose_lines_do_not_add_up_is_not_issued_and_takes_no_number(
    ledger: Connection,
) -> None:
    invoice = draft(ledger, net="100.00")["id"]
    line(ledger, invoice, "-0.01")
    with refused(by="invoices_b_issue"):
        go(ledger, invoice, "issued")
    ledger.execute("DELETE FROM invoice_lines WHERE invoice_id = %s AND amount < 0", (invoice,))
    assert go(ledger, invoice, "issued")["number"].endswith("-000001")


def test_an_invoice_without_lines_is_not_issued(ledger: Connection) -> None:
    invoice = draft(ledger, net="0.00")["id"]
    ledger.execute("DELETE FROM invoice_lines")
    with refused(by="invoices_b_issue"):
        go(ledger, invoice, "issued")


def test_an_invoice_to_nobody_is_not_issued_and_takes_no_number(ledger: Connection) -> None:
    with refused(by="invoices_billing_name_from_issue_on"):
        issue(ledger, billing_name=None)
    assert issue(ledger)["number"].endswith("-000001")


NO_DRAFTS: list[tuple[Any, str]] = [
    ({"gross_amount": "108.11"}, "invoices_gross_is_net_and_vat"),
    ({"vat_amount": "8.11", "gross_amount": "108.11"}, "invoices_vat_is_rate_of_net"),
    (
        {"vat_rate": "100.01", "vat_amount": "100.01", "gross_amount": "200.01"},
        "invoices_vat_rate_in_percent",
    ),
    (
        {"net_amount": "-100.00", "vat_amount": "-8.10", "gross_amount": "-108.10"},
        "invoices_only_credits_are_negative",
    ),
    (
        {"net_amount": "NaN", "vat_amount": "NaN", "gross_amount": "NaN"},
        "invoices_net_amount_is_a_number",
    ),
    (
        {"credits_invoice_id": 99, "net_amount": 0, "vat_amount": 0, "gross_amount": 0},
        "invoices_credits_invoice_fkey",
    ),
    ({"currency": "USD"}, "invoices_currency_payable"),
    ({"period_end": date(2025, 1, 1)}, "invoices_period_forward"),
    ({"zitadel_org_id": ""}, "invoices_org_named"),
    ({"number": "2026-000001"}, "invoices_number_from_issue_on"),
    ({"issued_at": date(2026, 1, 1)}, "invoices_issued_at_from_issue_on"),
    ({"issue_date": date(2026, 1, 2), "due_date": date(2026, 1, 1)}, "invoices_due_after_issue"),
    ({"paid_at": date(2026, 1, 1)}, "invoices_paid_at_when_paid"),
    ({"paid_via": "stripe"}, "invoices_paid_via_when_paid"),
    ({"voided_at": date(2026, 1, 1)}, "invoices_voided_at_when_void"),
    ({"written_off_at": date(2026, 1, 1)}, "invoices_written_off_then_at_most_paid"),
    ({"qr_reference": "123"}, "invoices_qr_reference_form"),
    ({"billing_country": "ch"}, "invoices_billing_country_code"),
    ({"pdf": b"%PDF-1.7"}, "invoices_pdf_shows_a_number"),
]


def test_a_draft_that_makes_no_sense_is_refused(ledger: Connection) -> None:
    for values, rule in NO_DRAFTS:
        with refused(by=rule):
            draft(ledger, net="100.00", **values)


NO_LINES: list[tuple[Any, str]] = [
    ({"kind": "gift"}, "invoice_lines_kind_known"),
    ({"kind": "monthly_fee", "tenant_name": "acme"}, "invoice_lines_tenant_named"),
    ({"kind": "skill", "tenant_name": "acme", "lifecycle_id": 1}, "invoice_lines_skill_named"),
    ({"kind": "threema_message", "skill_id": "mail"}, "invoice_lines_skill_only_where_sold"),
    ({"lifecycle_id": 2}, "invoice_lines_lifecycle_fkey"),
    ({"description": ""}, "invoice_lines_described"),
    ({"position": 0}, "invoice_lines_position_counts_from_one"),
    ({"position": 1}, "invoice_lines_by_invoice"),
    ({"period_start": date(2026, 1, 1)}, "invoice_lines_period_whole"),
    ({"period_start": date(2026, 1, 1), "period_end": date(2026, 1, 1)}, "invoice_lines_period_forward"),
    ({"amount": "10.01"}, "invoice_lines_amount_is_price_of_quantity"),
    ({"quantity": "NaN", "amount": "NaN"}, "invoice_lines_amount_is_a_number"),
    ({"out_of": "0"}, "invoice_lines_out_of_positive"),
    ({"out_of": "Infinity", "amount": "0"}, "invoice_lines_out_of_positive"),
]


def test_an_invoice_never_credits_itself(ledger: Connection) -> None:
    invoice = draft(ledger, net="0.00")["id"]
    with refused(by="invoices_credits_another"):
        ledger.execute("UPDATE invoices SET credits_invoice_id = id WHERE id = %s", (invoice,))


def test_what_finds_an_invoice_finds_one(ledger: Connection) -> None:
    invoice, other = issue(ledger, qr_reference="RF18539007547034"), issue(ledger)
    with refused(by="invoices_qr_reference_key"):
        draft(ledger, qr_reference="RF18539007547034")
    with refused(by="invoices_number_key"):
        ledger.execute(
            "UPDATE invoices SET status = 'issued', number = %s WHERE id = %s",
            (invoice["number"], draft(ledger)["id"]),
        )
    for name in ("stripe_invoice_id", "stripe_payment_intent_id"):
        ledger.execute(f"UPDATE invoices SET {name} = 'x' WHERE id = %s", (invoice["id"],))
        with refused(by=f"invoices_{name}_key"):
            ledger.execute(f"UPDATE invoices SET {name} = 'x' WHERE id = %s", (other["id"],))


def test_a_line_that_makes_no_sense_is_refused(ledger: Connection) -> None:
    with ledger.transaction():
        ledger.execute("SET LOCAL session_replication_role = replica")
        life = {"zitadel_org_id": "org-a", "created_at": date(2026, 1, 1)}
        insert(ledger, "tenant_billing_lifecycle", id=1, tenant_name="acme", **life)
    invoice = draft(ledger)["id"]
    for values, rule in NO_LINES:
        with refused(by=rule):
            line(ledger, invoice, "10.00", **values)


AMOUNTS = [
    ("49.00", "17", "31", "26.87"),
    ("0.15", "1", "30", "0.01"),  # exactly half a Rappen, which 1/30 written out would miss
    ("0.00500", "1", "1", "0.01"),
    ("0.00500", "3", "1", "0.02"),
    ("0.00500", "-1", "1", "-0.01"),
    ("1.23456", "1000", "1", "1234.56"),
]


def test_a_line_is_its_price_by_its_quantity_rounded_half_up(ledger: Connection) -> None:
    invoice = draft(ledger)["id"]
    for unit_price, quantity, out_of, amount in AMOUNTS:
        line(ledger, invoice, unit_price, quantity=quantity, out_of=out_of, amount=amount)


def test_a_draft_may_be_changed_and_goes_with_its_lines(ledger: Connection) -> None:
    first, second = draft(ledger), draft(ledger)
    ledger.execute(
        "UPDATE invoices SET billing_town = 'Chur', currency = 'EUR' WHERE id = %s", (first["id"],)
    )
    ledger.execute("UPDATE invoice_lines SET description = 'New' WHERE invoice_id = %s", (first["id"],))
    ledger.execute(
        "UPDATE invoice_lines SET invoice_id = %s, position = 2 WHERE invoice_id = %s",
        (second["id"], first["id"]),
    )
    ledger.execute("DELETE FROM invoices")
    assert one(ledger, "SELECT count(*) FROM invoice_lines") == 0


def test_updated_at_is_the_databases_to_say(ledger: Connection) -> None:
    before = draft(ledger)["updated_at"]
    ledger.execute("UPDATE invoices SET updated_at = '2020-01-01'")
    assert one(ledger, "SELECT updated_at FROM invoices") > before


def test_an_invoice_and_its_lines_can_be_written_in_one_statement(ledger: Connection) -> None:
    ledger.execute(
        """
        WITH invoice AS (
            INSERT INTO invoices (zitadel_org_id, period_start, period_end, vat_rate)
            VALUES ('org-a', '2026-10-01', '2026-11-01', 8.10) RETURNING id
        )
        INSERT INTO invoice_lines (invoice_id, position, kind, description, unit_price, amount)
        SELECT id, position, 'adjustment', 'Of many', 1, 1
        FROM invoice, generate_series(1, 100) AS position
        """
    )
    assert one(ledger, "SELECT count(*) FROM invoice_lines") == 100


def test_a_period_is_billed_once_until_its_invoice_is_void(ledger: Connection) -> None:
    october: dict[str, Any] = {"period_start": date(2026, 10, 1), "period_end": date(2026, 11, 1)}
    first = issue(ledger, **october)
    with refused(by="invoices_one_per_period"):
        draft(ledger, **october)
    issue(ledger, **october, zitadel_org_id="org-b")
    issue(ledger, **october, net="-100.00", credits_invoice_id=first["id"])
    go(ledger, first["id"], "void")
    issue(ledger, **october)
