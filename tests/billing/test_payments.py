"""Payments, refunds and attempts: rows, from which the status of an invoice follows."""

from datetime import date
from typing import Any

import pytest
from psycopg import errors

from tests.billing.database import Connection, apply, connect, insert, one, refused, waiting
from tests.billing.invoices import draft, go, issue


def pay(ledger: Connection, invoice: int, amount: str, kind: str = "payment", **values: Any) -> str:
    """Records it, and returns the status that the invoice has then."""
    given = {"via": "bank_transfer", **values}
    insert(ledger, "invoice_payments", invoice_id=invoice, kind=kind, amount=amount, **given)
    status: str = one(ledger, "SELECT status FROM invoices WHERE id = %s", invoice)
    return status


def test_parts_make_a_payment_and_refunds_take_it_back(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]  # 108.10
    assert pay(ledger, invoice, "50.00") == "issued"
    assert pay(ledger, invoice, "58.10", via="twint") == "paid"
    assert one(ledger, "SELECT paid_via FROM invoices WHERE id = %s", invoice) == "twint"
    assert pay(ledger, invoice, "10.00", "refund") == "issued"
    assert pay(ledger, invoice, "20.00") == "paid"  # more than is owed
    assert pay(ledger, invoice, "10.00", "refund") == "paid"


def test_failed_attempts_are_kept_and_change_nothing(ledger: Connection) -> None:
    insert(ledger, "org_billing_config", zitadel_org_id="org-a")
    method = insert(
        ledger, "org_payment_methods", zitadel_org_id="org-a", stripe_payment_method_id="pm_1"
    )["id"]
    invoice = issue(ledger)["id"]
    card = {"via": "stripe", "payment_method_id": method, "stripe_payment_intent_id": "pi_1"}
    for _ in range(2):
        assert pay(ledger, invoice, "108.10", "failed", note="card_declined", **card) == "issued"
    assert pay(ledger, invoice, "108.10", **card) == "paid"
    assert one(ledger, "SELECT payment_method_id FROM invoices") == method
    with pytest.raises(errors.UniqueViolation):
        pay(ledger, invoice, "108.10", **card)


def test_a_bad_debt_that_is_paid_after_all_and_comes_back(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    go(ledger, invoice, "written_off")
    assert pay(ledger, invoice, "108.10") == "paid"
    assert pay(ledger, invoice, "108.10", "refund") == "written_off"


def test_what_is_left_after_a_credit_settles_the_invoice(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    assert pay(ledger, invoice, "54.05") == "issued"
    half = issue(ledger, net="-50.00", credits_invoice_id=invoice)["id"]
    assert one(ledger, "SELECT status FROM invoices WHERE id = %s", invoice) == "paid"
    go(ledger, half, "void")
    assert one(ledger, "SELECT status FROM invoices WHERE id = %s", invoice) == "issued"


def test_a_credit_is_settled_by_a_refund(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    credit = issue(ledger, net="-50.00", credits_invoice_id=invoice)["id"]
    assert pay(ledger, credit, "54.05", "refund") == "paid"


@pytest.mark.parametrize("kind", ["payment", "refund", "failed"])
def test_of_a_draft_or_a_void_invoice_nothing_is_paid(ledger: Connection, kind: str) -> None:
    for invoice in (draft(ledger), go(ledger, issue(ledger)["id"], "void")):
        with refused(by="invoice_payments_settle"):
            pay(ledger, invoice["id"], "1.00", kind)


def test_no_more_is_refunded_than_was_paid(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    pay(ledger, invoice, "10.00")
    with pytest.raises(errors.RestrictViolation, match=r"was paid only 10\.00"):
        pay(ledger, invoice, "10.01", "refund")


def test_a_payment_that_makes_no_sense_is_refused(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    for amount in ("0", "-1", "NaN"):
        with refused(by="invoice_payments_amount_positive"):
            pay(ledger, invoice, amount)
    with refused(by="invoice_payments_kind_known"):
        pay(ledger, invoice, "1", "gift")
    with refused(by="invoice_payments_via_named"):
        pay(ledger, invoice, "1", via="")


def test_payments_stay_and_who_recorded_them_is_the_database_s_to_say(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    pay(ledger, invoice, "1.00", database_user="nobody", recorded_at=date(2020, 1, 1))
    assert one(ledger, "SELECT database_user FROM invoice_payments") == "postgres"
    assert one(ledger, "SELECT recorded_at > now() - interval '1 hour' FROM invoice_payments") is True
    for statement in ("UPDATE invoice_payments SET amount = 2", "DELETE FROM invoice_payments"):
        with refused(by="invoice_payments_kept"):
            ledger.execute(statement)


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_two_parts_at_once_make_a_payment_or_one_is_tried_again(database: str, isolation: str) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        invoice = issue(first)["id"]
        second.execute(f"SET default_transaction_isolation = '{isolation}'")
        statement = "INSERT INTO invoice_payments (invoice_id, amount, via) VALUES (%s, 54.05, 'twint')"
        first.execute("BEGIN")
        first.execute(statement, (invoice,))
        with waiting(second, statement, invoice) as failures:
            first.execute("COMMIT")
        if isolation == "REPEATABLE READ":
            assert [type(failure) for failure in failures] == [errors.SerializationFailure]
            second.execute(statement, (invoice,))
        assert one(first, "SELECT status FROM invoices WHERE id = %s", invoice) == "paid"


# What happened besides ---------------------------------------------------------------------------


def test_an_invoice_is_sent_as_often_as_it_has_to_be(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    for address in ("a@example.org", "b@example.org"):
        insert(ledger, "invoice_events", invoice_id=invoice, kind="sent", sent_to=address)
    with refused(by="invoice_events_sent_to_somebody"):
        insert(ledger, "invoice_events", invoice_id=invoice, kind="sent")
    with refused(by="invoice_events_stamp"):
        insert(ledger, "invoice_events", invoice_id=draft(ledger)["id"], kind="sent", sent_to="a")
    for statement in ("UPDATE invoice_events SET sent_to = 'c'", "DELETE FROM invoice_events"):
        with refused(by="invoice_events_kept"):
            ledger.execute(statement)


def test_a_due_date_moves_on_record_while_the_invoice_is_unpaid(ledger: Connection) -> None:
    invoice = issue(ledger, due_date=date(2031, 1, 31))["id"]
    with ledger.transaction():
        ledger.execute("SELECT set_config('reconciler.by', 'anna', true)")
        ledger.execute("UPDATE invoices SET due_date = '2031-02-28' WHERE id = %s", (invoice,))
    (event,) = ledger.execute("SELECT * FROM invoice_events").fetchall()
    assert (event["due_date_before"], event["due_date"]) == (date(2031, 1, 31), date(2031, 2, 28))
    assert (event["kind"], event["recorded_by"], event["database_user"]) == (
        "due_date",
        "anna",
        "postgres",
    )
    with refused(by="invoice_events_due_date_is_moved"):
        insert(ledger, "invoice_events", invoice_id=invoice, kind="due_date")
    go(ledger, invoice, "paid")
    with refused(by="invoices_c_frozen"):
        ledger.execute("UPDATE invoices SET due_date = '2031-03-31' WHERE id = %s", (invoice,))
