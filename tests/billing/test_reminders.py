"""Reminders: of whom, how many, and what of them stays."""

# ruff: noqa: S608 - the names in these statements are our own

from datetime import date
from typing import Any

from tests.billing.database import Connection, apply, connect, insert, one, refused, waiting
from tests.billing.invoices import STATUSES, invoice_in, issue


def remind(connection: Connection, invoice: int, **values: Any) -> dict[str, Any]:
    return insert(
        connection,
        "invoice_reminders",
        **{"invoice_id": invoice, "level": 1, "due_date": date(2027, 1, 1), **values},
    )


def test_a_reminder_is_for_an_invoice_that_is_issued_and_not_paid(ledger: Connection) -> None:
    assert remind(ledger, invoice_in(ledger, "issued"))["sent_at"] is not None
    for status in set(STATUSES) - {"issued"}:
        with refused(by="invoice_reminders_of_unpaid"):
            remind(ledger, invoice_in(ledger, status))


def test_a_reminder_of_no_invoice_is_refused(ledger: Connection) -> None:
    with refused(by="invoice_reminders_invoice_fkey"):
        remind(ledger, 99)


def test_dunning_has_as_many_levels_as_it_needs_each_once(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    for level in (1, 2, 3, 4, 9):
        remind(ledger, invoice, level=level, fee="20.00")
    with refused(by="invoice_reminders_by_invoice"):
        remind(ledger, invoice, level=3)
    with refused(by="invoice_reminders_level_counts_from_one"):
        remind(ledger, invoice, level=0)
    with refused(by="invoice_reminders_pdf_size"):
        remind(ledger, issue(ledger)["id"], pdf=b"")
    for fee in ("-1", "NaN"):
        with refused(by="invoice_reminders_fee_not_negative"):
            remind(ledger, issue(ledger)["id"], fee=fee)


def test_a_reminder_that_was_sent_stays_and_takes_its_pdf_once(ledger: Connection) -> None:
    remind(ledger, issue(ledger)["id"], sent_to="billing@example.org")
    for change in (
        "invoice_id = 0",
        "level = 2",
        "sent_at = now() + interval '1 day'",
        "sent_to = NULL",
        "fee = 1",
        "due_date = '2030-01-01'",
    ):
        with refused(by="invoice_reminders_frozen"):
            ledger.execute(f"UPDATE invoice_reminders SET {change}")
    ledger.execute("UPDATE invoice_reminders SET pdf = %s", (b"%PDF-1.7",))
    assert one(ledger, "SELECT pdf_sha256 = sha256(pdf) FROM invoice_reminders") is True
    for change in ("pdf = NULL", "pdf = 'other'"):
        with refused(by="invoice_reminders_frozen"):
            ledger.execute(f"UPDATE invoice_reminders SET {change}")
    with refused(by="invoice_reminders_sent_are_kept"):
        ledger.execute("DELETE FROM invoice_reminders")
    with refused(by="invoice_reminders_not_truncated"):
        ledger.execute("TRUNCATE invoice_reminders")


def test_a_reminder_is_planned_changed_and_sent_later(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    with refused(by="invoice_reminders_planned_or_sent"):
        remind(ledger, invoice, sent_at=None)
    remind(ledger, invoice, sent_at=None, planned_for=date(2027, 1, 15))
    ledger.execute("UPDATE invoice_reminders SET planned_for = '2027-01-20', fee = 20")
    remind(ledger, invoice, level=2, sent_at=None, planned_for=date(2027, 2, 15))
    ledger.execute("DELETE FROM invoice_reminders WHERE level = 2")
    ledger.execute("UPDATE invoice_reminders SET sent_at = now(), sent_to = 'a@example.org'")
    with refused(by="invoice_reminders_frozen"):
        ledger.execute("UPDATE invoice_reminders SET fee = 0")


def test_a_planned_reminder_is_not_sent_once_the_invoice_is_paid(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    remind(ledger, invoice, sent_at=None, planned_for=date(2027, 1, 15))
    ledger.execute("UPDATE invoices SET status = 'paid', paid_at = now()")
    with refused(by="invoice_reminders_of_unpaid_when_sent"):
        ledger.execute("UPDATE invoice_reminders SET sent_at = now()")
    ledger.execute("DELETE FROM invoice_reminders")


def test_a_payment_waits_for_a_reminder_that_is_being_written(database: str) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        invoice = issue(first)["id"]
        first.execute("BEGIN")
        remind(first, invoice)
        with waiting(second, "UPDATE invoices SET status = 'paid', paid_at = now()") as failures:
            first.execute("COMMIT")
        assert failures == []
        with refused(by="invoice_reminders_of_unpaid"):
            remind(first, invoice, level=2)
