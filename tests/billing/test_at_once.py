"""Issuing an invoice and changing its lines at the same time."""

import pytest
from psycopg import errors

from tests.billing.database import apply, connect, one, waiting
from tests.billing.invoices import draft, go, issue, line


def test_a_line_that_waits_for_the_issue_of_its_invoice_is_refused(database: str) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        invoice = draft(first)["id"]
        with first.transaction():
            go(first, invoice, "issued")
            with waiting(second, "UPDATE invoice_lines SET amount = 1, unit_price = 1") as failures:
                first.execute("COMMIT")
        assert [type(failure) for failure in failures] == [errors.RestrictViolation]


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_an_issue_that_waits_for_a_line_is_refused_and_loses_no_number(
    database: str, isolation: str
) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        invoice = draft(first)["id"]
        second.execute(f"SET default_transaction_isolation = '{isolation}'")
        first.execute("BEGIN")
        line(first, invoice, "1.00")
        with waiting(second, "UPDATE invoices SET status = 'issued' WHERE id = %s", invoice) as failures:
            first.execute("COMMIT")
        (failure,) = failures
        expected = (
            errors.RestrictViolation if isolation == "READ COMMITTED" else errors.SerializationFailure
        )
        assert isinstance(failure, expected)
        assert issue(first)["number"].endswith("-000001")


def test_an_issue_that_waits_for_another_change_takes_one_number(database: str) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        invoice = draft(first)["id"]
        first.execute("BEGIN")
        first.execute("UPDATE invoices SET billing_town = 'Chur' WHERE id = %s", (invoice,))
        with waiting(second, "UPDATE invoices SET status = 'issued' WHERE id = %s", invoice) as failures:
            first.execute("COMMIT")
        assert failures == []
        assert one(first, "SELECT number FROM invoices").endswith("-000001")
        assert issue(first)["number"].endswith("-000002")
