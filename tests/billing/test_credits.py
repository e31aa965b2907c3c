"""Credits, and what replaces an invoice: no more than there is, and no day billed twice."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from psycopg import errors

from tests.billing.database import Connection, apply, connect, insert, one, refused, waiting
from tests.billing.invoices import draft, go, issue

OCTOBER: dict[str, Any] = {"period_start": date(2026, 10, 1), "period_end": date(2026, 11, 1)}


def credit(ledger: Connection, invoice: dict[str, Any], net: str, **values: Any) -> dict[str, Any]:
    return draft(ledger, net=net, credits_invoice_id=invoice["id"], **values)


def test_a_credited_invoice_is_replaced_by_another_for_its_period(ledger: Connection) -> None:
    first = issue(ledger, **OCTOBER)
    issue(ledger, net="-40.00", credits_invoice_id=first["id"])
    with refused(by="invoices_one_per_period"):
        draft(ledger, **OCTOBER)
    last = issue(ledger, net="-60.00", credits_invoice_id=first["id"])
    assert one(ledger, "SELECT credited_at FROM invoices WHERE id = %s", first["id"]) is not None
    replacement = issue(ledger, net="90.00", **OCTOBER)
    # The credit cannot be taken back any more: its invoice would bill the days a second time.
    with refused(by="invoices_one_per_period"):
        go(ledger, last["id"], "void")
    go(ledger, replacement["id"], "void")
    go(ledger, last["id"], "void")
    assert one(ledger, "SELECT credited_at FROM invoices WHERE id = %s", first["id"]) is None


def test_what_was_paid_stays_on_record_where_its_invoice_is_credited(ledger: Connection) -> None:
    first = issue(ledger, **OCTOBER)
    insert(ledger, "invoice_payments", invoice_id=first["id"], amount="108.10", via="twint")
    issue(ledger, net="-100.00", credits_invoice_id=first["id"])
    issue(ledger, net="90.00", **OCTOBER)
    assert one(ledger, "SELECT paid_at FROM invoices WHERE id = %s", first["id"]) is not None


@pytest.mark.parametrize(
    ("net", "values", "told"),
    [
        ("-1000.00", {"zitadel_org_id": "org-b"}, "of another organisation"),
        ("-100.01", {}, "100.00 left to credit"),
        ("-100.00", {"currency": "EUR"}, "in CHF"),
    ],
)
def test_a_credit_that_cannot_be_is_refused_as_a_draft(
    ledger: Connection, net: str, values: dict[str, Any], told: str
) -> None:
    invoice = issue(ledger)
    with pytest.raises(errors.RestrictViolation, match=told) as refusal:
        credit(ledger, invoice, net, **values)
    assert refusal.value.diag.constraint_name == "invoices_b_credits"


def test_only_an_issued_invoice_is_credited_and_no_credit(ledger: Connection) -> None:
    invoice = issue(ledger)
    once = issue(ledger, net="-10.00", credits_invoice_id=invoice["id"])
    void = go(ledger, issue(ledger)["id"], "void")
    for other in (once, draft(ledger), void):
        with refused(by="invoices_b_credits"):
            credit(ledger, other, "-1.00")


def test_several_credits_come_to_no_more_than_the_invoice(ledger: Connection) -> None:
    invoice = issue(ledger)
    drafts = [credit(ledger, invoice, "-60.00"), credit(ledger, invoice, "-60.00")]
    go(ledger, drafts[0]["id"], "issued")
    with refused(by="invoices_b_credits"):
        go(ledger, drafts[1]["id"], "issued")
    with refused(by="invoices_b_credits"):
        credit(ledger, invoice, "-40.01")


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_two_credits_at_once_come_to_no_more_either(database: str, isolation: str) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        invoice = issue(first)
        drafts = [credit(first, invoice, "-60.00"), credit(first, invoice, "-60.00")]
        second.execute(f"SET default_transaction_isolation = '{isolation}'")
        first.execute("BEGIN")
        go(first, drafts[0]["id"], "issued")
        statement = "UPDATE invoices SET status = 'issued' WHERE id = %s"
        with waiting(second, statement, drafts[1]["id"]) as failures:
            first.execute("COMMIT")
        (failure,) = failures
        expected = (
            errors.RestrictViolation if isolation == "READ COMMITTED" else errors.SerializationFailure
        )
        assert isinstance(failure, expected)


OVERLAPPING = [
    (date(2026, 10, 1), date(2026, 11, 1)),
    (date(2026, 10, 31), date(2026, 12, 1)),
    (date(2026, 9, 1), date(2026, 10, 2)),
    (date(2026, 10, 10), date(2026, 10, 11)),
    (date(2026, 1, 1), date(2027, 1, 1)),
]


@pytest.mark.parametrize(("start", "end"), OVERLAPPING)
def test_no_day_is_billed_twice(ledger: Connection, start: date, end: date) -> None:
    draft(ledger, **OCTOBER)
    with refused(by="invoices_one_per_period"):
        draft(ledger, period_start=start, period_end=end)
    draft(ledger, period_start=start, period_end=end, zitadel_org_id="org-b")


def test_the_next_period_begins_where_one_ends(ledger: Connection) -> None:
    draft(ledger, **OCTOBER)
    draft(ledger, period_start=date(2026, 11, 1), period_end=date(2026, 12, 1))
    draft(ledger, period_start=date(2026, 9, 1), period_end=date(2026, 10, 1))


def test_the_default_payment_method_is_moved_by_one_statement(ledger: Connection) -> None:
    insert(ledger, "org_billing_config", zitadel_org_id="org-a")
    ids = [
        insert(ledger, "org_payment_methods", zitadel_org_id="org-a", stripe_payment_method_id=name)[
            "id"
        ]
        for name in ("pm_1", "pm_2", "pm_3")
    ]
    for id_ in (*ids, *reversed(ids), *ids):
        ledger.execute("UPDATE org_payment_methods SET is_default = (id = %s)", (id_,))
        assert one(ledger, "SELECT id FROM org_payment_methods WHERE is_default") == id_
    with refused(by="org_payment_methods_one_default"):
        ledger.execute("UPDATE org_payment_methods SET is_default = true")


def test_an_invoice_with_two_rates_of_vat_says_so_line_by_line(ledger: Connection) -> None:
    invoice = insert(
        ledger,
        "invoices",
        zitadel_org_id="org-a",
        billing_name="Alpenglow AG",
        period_start=date(2026, 10, 1),
        period_end=date(2026, 11, 1),
    )["id"]
    for position, (amount, rate) in enumerate(
        [("10.00", "8.1"), ("20.00", "8.8"), ("1.00", "8.1")], start=1
    ):
        insert(
            ledger,
            "invoice_lines",
            invoice_id=invoice,
            position=position,
            kind="adjustment",
            description="x",
            unit_price=amount,
            amount=amount,
            vat_rate=rate,
        )
    ledger.execute("SELECT total_invoice(%s)", (invoice,))
    row = ledger.execute("SELECT * FROM invoices WHERE id = %s", (invoice,)).fetchone()
    assert row is not None
    assert (row["net_amount"], row["vat_rate"], row["vat_amount"]) == (
        Decimal("31.00"),
        None,
        Decimal("2.65"),
    )
    ledger.execute("UPDATE invoice_lines SET vat_rate = NULL WHERE position = 3")
    with refused(by="invoices_b_issue"):
        go(ledger, invoice, "issued")
    with pytest.raises(errors.NotNullViolation, match="several rates"):
        ledger.execute("SELECT total_invoice(%s)", (invoice,))
    ledger.execute("UPDATE invoice_lines SET vat_rate = 8.8 WHERE position = 3")
    with refused(by="invoices_b_issue"):
        go(ledger, invoice, "issued")
    ledger.execute("SELECT total_invoice(%s)", (invoice,))
    assert go(ledger, invoice, "issued")["vat_amount"] == Decimal("2.66")


def test_a_line_of_llm_spend_has_a_price_as_fine_as_it_is(ledger: Connection) -> None:
    invoice = draft(ledger, net="0.00")["id"]
    ledger.execute("DELETE FROM invoice_lines")
    insert(
        ledger,
        "invoice_lines",
        invoice_id=invoice,
        position=1,
        kind="llm_spend",
        description="GPT, 1 M tokens",
        quantity=1_234_567,
        unit_price="0.0000015",
        amount="1.85",
        vat_rate="8.1",
    )
    ledger.execute("SELECT total_invoice(%s)", (invoice,))
    assert go(ledger, invoice, "issued")["gross_amount"] == Decimal("2.00")
