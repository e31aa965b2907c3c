"""Invoice numbers: without a gap and without a double."""

# ruff: noqa: S608, S311 - the names in these statements are our own, and the chances no secrets

import random
from concurrent.futures import ThreadPoolExecutor

from tests.billing.database import Connection, apply, connect, insert, one, refused, waiting
from tests.billing.invoices import draft, issue


def test_numbers_count_up_within_their_series(ledger: Connection) -> None:
    year = one(ledger, "SELECT to_char(now() AT TIME ZONE 'Europe/Zurich', 'YYYY')")
    assert one(ledger, "SELECT next_invoice_number()") == f"{year}-000001"
    assert one(ledger, "SELECT next_invoice_number()") == f"{year}-000002"
    assert one(ledger, "SELECT next_invoice_number('CREDIT-2026')") == "CREDIT-2026-000001"
    assert one(ledger, "SELECT next_invoice_number()") == f"{year}-000003"


def test_a_number_that_outgrows_its_zeros_is_not_cut(ledger: Connection) -> None:
    insert(ledger, "invoice_number_counters", series="2026", last_number=999_998)
    assert one(ledger, "SELECT next_invoice_number('2026')") == "2026-999999"
    assert one(ledger, "SELECT next_invoice_number('2026')") == "2026-1000000"


def test_a_counter_goes_up_by_one_and_is_never_deleted(ledger: Connection) -> None:
    insert(ledger, "invoice_number_counters", series="2026", last_number=5)
    for change in (
        "last_number = 4",
        "last_number = 5",
        "last_number = 7",
        "series = '2027', last_number = 6",
    ):
        with refused(by="invoice_number_counters_one_at_a_time"):
            ledger.execute(f"UPDATE invoice_number_counters SET {change}")
    with refused(by="invoice_number_counters_last_number_not_negative"):
        insert(ledger, "invoice_number_counters", series="2027", last_number=-1)
    with refused(by="invoice_number_counters_series_named"):
        ledger.execute("SELECT next_invoice_number('')")
    for statement in ("DELETE FROM invoice_number_counters", "TRUNCATE invoice_number_counters"):
        with refused(by="invoice_number_counters_kept"):
            ledger.execute(statement)
    assert one(ledger, "SELECT next_invoice_number('2026')") == "2026-000006"


def test_a_rollback_gives_the_number_back_to_whoever_waits_for_it(database: str) -> None:
    with connect(database) as first, connect(database) as second:
        apply(first)
        first.execute("BEGIN")
        assert one(first, "SELECT next_invoice_number('2026')") == "2026-000001"
        with waiting(
            second, "CREATE TEMPORARY TABLE taken AS SELECT next_invoice_number('2026') AS number"
        ) as failures:
            first.execute("ROLLBACK")
        assert failures == []
        assert one(second, "SELECT number FROM taken") == "2026-000001"


def test_eight_callers_at_once_leave_no_gap_and_no_double(database: str) -> None:
    with connect(database) as connection:
        apply(connection)

    def take(seed: int) -> list[str]:
        chance = random.Random(seed)
        kept: list[str] = []
        with connect(database) as caller:
            while len(kept) < 25:
                caller.execute("BEGIN")
                number = one(caller, "SELECT next_invoice_number('2026')")
                if chance.random() < 0.3:
                    caller.execute("ROLLBACK")
                else:
                    caller.execute("COMMIT")
                    kept.append(number)
        return kept

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for kept in pool.map(take, range(8)) for number in kept]
    assert sorted(numbers) == [f"2026-{number:06}" for number in range(1, 201)]


def test_a_number_given_by_hand_ahead_of_the_counter_is_passed_over(ledger: Connection) -> None:
    series = one(ledger, "SELECT to_char(now() AT TIME ZONE 'Europe/Zurich', 'YYYY')")
    numbers = [issue(ledger)["number"]]
    for by_hand in (f"{series}-000002", f"{series}-000003", f"{series}-000005"):
        invoice = draft(ledger)["id"]
        ledger.execute(
            "UPDATE invoices SET status = 'issued', number = %s WHERE id = %s", [by_hand, invoice]
        )
        numbers.append(by_hand)
    numbers += [issue(ledger)["number"] for _ in range(2)]
    assert sorted(numbers) == [f"{series}-{n:06}" for n in range(1, 7)]
