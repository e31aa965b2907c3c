"""What was issued stays: an invoice, its lines, and the order of its statuses."""

# ruff: noqa: S608 - the names in these statements are our own

import itertools
from datetime import date
from decimal import Decimal

import pytest
from psycopg import errors

from tests.billing.database import Connection, apply, connect, insert, one, refused
from tests.billing.invoices import STATUSES, draft, go, invoice_in, issue, line

ATTACHED_LATER = {"pdf": b"%PDF-1.7", "stripe_invoice_id": "in_1", "stripe_payment_intent_id": "pi_1"}
OTHER_VALUES: dict[str, object] = {
    "bigint": 1,
    "text": "other",
    "date": date(2031, 1, 1),
    "timestamp with time zone": date(2031, 1, 1),
    "numeric": Decimal("1.00"),
    "character": "EU",
    "bytea": b"other",
}


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "draft"])
def test_no_column_of_an_issued_invoice_can_be_changed(ledger: Connection, status: str) -> None:
    """Every column there is, so that a new one is frozen, too, or named here."""
    invoice = invoice_in(ledger, status)
    for name, value in ATTACHED_LATER.items():
        ledger.execute(f"UPDATE invoices SET {name} = %s WHERE id = %s", (value, invoice))
    before = ledger.execute("SELECT * FROM invoices WHERE id = %s", (invoice,)).fetchone()
    assert before is not None
    columns = ledger.execute(
        """
        SELECT column_name AS name, data_type AS type FROM information_schema.columns
        WHERE table_name = 'invoices' AND column_name NOT IN ('id', 'status', 'pdf_sha256', 'updated_at')
        """
    ).fetchall()
    assert len(columns) == len(before) - 4
    for column in columns:
        name, kind = column["name"], column["type"]
        other = not before[name] if kind == "boolean" else OTHER_VALUES[kind]
        if (status, name) == ("issued", "due_date"):
            # It moves, on record.
            continue
        for changed in (other, None) if before[name] is not None else (other,):
            with refused(by="invoices_c_frozen"):
                ledger.execute(f"UPDATE invoices SET {name} = %s WHERE id = %s", (changed, invoice))
    for name in ("id", "pdf_sha256"):
        with pytest.raises(errors.GeneratedAlways):
            ledger.execute(f"UPDATE invoices SET {name} = NULL WHERE id = %s", (invoice,))
    after = ledger.execute("SELECT * FROM invoices WHERE id = %s", (invoice,)).fetchone()
    assert after == before


FOLLOWS = {
    ("draft", "issued"),
    ("issued", "paid"),
    ("issued", "void"),
    ("issued", "written_off"),
    ("written_off", "paid"),
    ("paid", "issued"),
}


def test_a_status_follows_only_where_it_can(ledger: Connection) -> None:
    for before, after in itertools.permutations(STATUSES, 2):
        invoice = invoice_in(ledger, before)
        if (before, after) in FOLLOWS:
            assert go(ledger, invoice, after)["status"] == after
        else:
            with refused(by="invoices_a_status_follows"):
                go(ledger, invoice, after)


NO_STATUSES = [
    ("status = 'lost'", "invoices_status_known"),
    ("status = 'paid'", "invoices_paid_at_when_paid"),
    ("status = 'paid', paid_at = now(), paid_via = ''", "invoices_paid_via_named"),
    ("credited_at = now(), status = 'draft', number = NULL", "invoices_credited_at_from_issue_on"),
    ("status = 'void'", "invoices_voided_at_when_void"),
    ("status = 'written_off'", "invoices_written_off_at_when_written_off"),
    ("number = NULL", "invoices_number_from_issue_on"),
    ("issued_at = NULL", "invoices_issued_at_from_issue_on"),
    ("issue_date = NULL", "invoices_issue_date_from_issue_on"),
    ("due_date = NULL", "invoices_due_date_from_issue_on"),
    ("billing_name = ''", "invoices_billing_name_from_issue_on"),
    ("pdf = ''", "invoices_pdf_size"),
]


def test_a_status_without_what_belongs_to_it_is_refused_even_without_the_triggers(
    ledger: Connection,
) -> None:
    issue(ledger)
    ledger.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    for change, rule in NO_STATUSES:
        with refused(by=rule):
            ledger.execute(f"UPDATE invoices SET {change}")


def test_a_change_of_status_takes_nothing_else_along(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    with refused(by="invoices_c_frozen_but_status"):
        ledger.execute(
            "UPDATE invoices SET status = 'paid', paid_at = now(), net_amount = 1 WHERE id = %s",
            (invoice,),
        )


def test_a_refusal_says_what_cannot_change(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    with pytest.raises(
        errors.RestrictViolation, match="does not change: billing_town, net_amount of id"
    ):
        ledger.execute(
            "UPDATE invoices SET net_amount = 1, billing_town = 'Chur' WHERE id = %s",
            (invoice,),
        )


def test_a_payment_is_recorded_with_its_method_and_can_be_taken_back(
    ledger: Connection,
) -> None:
    insert(ledger, "org_billing_config", zitadel_org_id="org-a")
    method = insert(
        ledger, "org_payment_methods", zitadel_org_id="org-a", stripe_payment_method_id="pm_1"
    )["id"]
    invoice = issue(ledger)["id"]
    with refused(by="invoices_payment_method_is_of_stripe"):
        ledger.execute(
            "UPDATE invoices SET status = 'paid', paid_at = now(), payment_method_id = %s", (method,)
        )
    ledger.execute(
        """
        UPDATE invoices
        SET status = 'paid', paid_at = now(), paid_via = 'stripe', payment_method_id = %s
        """,
        (method,),
    )
    with refused(by="invoices_payment_method_fkey"):
        ledger.execute("DELETE FROM org_payment_methods")
    ledger.execute(
        """
        UPDATE invoices
        SET status = 'issued', paid_at = NULL, paid_via = NULL, payment_method_id = NULL
        """
    )
    assert one(ledger, "SELECT status FROM invoices WHERE id = %s", invoice) == "issued"


def test_what_is_known_later_is_attached_once(ledger: Connection) -> None:
    invoice = issue(ledger)["id"]
    for column, value in ATTACHED_LATER.items():
        for _ in range(2):  # the same value again is no change
            ledger.execute(f"UPDATE invoices SET {column} = %s WHERE id = %s", (value, invoice))
        for other in ("other", None):
            with refused(by="invoices_c_frozen"):
                ledger.execute(f"UPDATE invoices SET {column} = %s WHERE id = %s", (other, invoice))
    assert one(ledger, "SELECT pdf_sha256 = sha256(pdf) FROM invoices WHERE id = %s", invoice) is True
    go(ledger, invoice, "paid")


def test_an_issued_invoice_is_never_deleted(ledger: Connection) -> None:
    for status in STATUSES[1:]:
        invoice_in(ledger, status)
    with refused(by="invoices_kept"):
        ledger.execute("DELETE FROM invoices")
    with refused(by="invoices_not_truncated"):
        ledger.execute("TRUNCATE invoices CASCADE")
    with refused(by="invoice_lines_not_truncated"):
        ledger.execute("TRUNCATE invoice_lines")
    assert one(ledger, "SELECT count(*) FROM invoices") == 4


def test_the_lines_of_an_issued_invoice_do_not_change(ledger: Connection) -> None:
    issued, other = issue(ledger)["id"], draft(ledger)["id"]
    with refused(by="invoice_lines_of_drafts"):
        line(ledger, issued, "1.00")
    with refused(by="invoice_lines_of_drafts"):
        ledger.execute("UPDATE invoice_lines SET description = 'other' WHERE invoice_id = %s", (issued,))
    with refused(by="invoice_lines_of_drafts"):
        ledger.execute("DELETE FROM invoice_lines WHERE invoice_id = %s", (issued,))
    for source, target in ((issued, other), (other, issued)):
        with refused(by="invoice_lines_of_drafts"):
            ledger.execute(
                "UPDATE invoice_lines SET invoice_id = %s, position = 2 WHERE invoice_id = %s",
                (target, source),
            )


def test_a_line_of_no_invoice_is_refused(ledger: Connection) -> None:
    with refused(by="invoice_lines_invoice_fkey"):
        line(ledger, 99, "1.00")


@pytest.mark.parametrize(
    "path", ["pg_catalog", "pg_temp, public"], ids=["elsewhere", "a temporary table first"]
)
def test_no_search_path_leads_the_guards_astray(database: str, path: str) -> None:
    with connect(database) as connection:
        apply(connection)
        invoice = issue(connection)["id"]
        next_draft = draft(connection)["id"]
        connection.execute("CREATE TEMPORARY TABLE invoices AS SELECT * FROM public.invoices")
        connection.execute(
            "CREATE TEMPORARY TABLE invoice_number_counters AS TABLE public.invoice_number_counters"
        )
        connection.execute("UPDATE pg_temp.invoices SET status = 'draft', number = NULL")
        connection.execute(f"SET search_path = {path}")
        with refused(by="invoice_lines_of_drafts"):
            connection.execute("DELETE FROM public.invoice_lines WHERE invoice_id = %s", (invoice,))
        connection.execute("UPDATE public.invoices SET status = 'issued' WHERE id = %s", (next_draft,))
        number = one(connection, "SELECT number FROM public.invoices WHERE id = %s", next_draft)
        assert number.endswith("-000002")
