"""What a price was, from which day on, and who set it: recorded by the database, whoever changes it."""

# ruff: noqa: S608 - the names in these statements are our own

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import errors

from reconciler.ledger.postgres import WRITE_LOCK
from tests.billing.database import Connection, apply, connect, insert, one, refused, waiting
from tests.billing.invoices import issue

FEE = "tenant_monthly_fee_chf"


def today() -> date:
    return datetime.now(ZoneInfo("Europe/Zurich")).date()


def recorded(ledger: Connection) -> list[tuple[Any, ...]]:
    """Column or skill, before, after, and the first day."""
    return [
        (row["skill_id"] or row["column_name"], row["previous"], row["value"], row["valid_from"])
        for row in ledger.execute("SELECT * FROM reconciler_price_history ORDER BY id")
    ]


def a_pass(ledger: Connection, at: str = "2026-11-10Z") -> int:
    """The record of a pass that saw nothing. Returns its number."""
    number: int = one(
        ledger,
        """
        INSERT INTO reconciler_passes (source, asked_at, observed_at, tenants_examined,
            lifecycle_inserted, lifecycle_deleted, events_inserted, suspension_events_inserted,
            program_version)
        VALUES ('test', %s, %s, 0, 0, 0, 0, 0, '0') RETURNING id
        """,
        *(at, at),
    )
    return number


# What is recorded --------------------------------------------------------------------------------

STATEMENTS = {
    "the first value, for all days": (
        [f"UPDATE platform_pricing SET {FEE} = 49"],
        [(FEE, "0", "49", None)],
    ),
    "the next one, from today on": (
        [f"UPDATE platform_pricing SET {FEE} = 49", f"UPDATE platform_pricing SET {FEE} = 59"],
        [(FEE, "0", "49", None), (FEE, "49", "59", "today")],
    ),
    "VAT is never without a value": (
        ["UPDATE platform_pricing SET vat_rate_chli = 8.8"],
        [("vat_rate_chli", "8.1", "8.8", "today")],
    ),
    "several columns at once, and only those that change": (
        [f"UPDATE platform_pricing SET {FEE} = 49, tenant_setup_fee_chf = 199, vat_rate_chli = 8.10"],
        [(FEE, "0", "49", None), ("tenant_setup_fee_chf", "0", "199", None)],
    ),
    "a skill's price by an upsert": (
        [
            """INSERT INTO skill_pricing VALUES ('mail', 0.5)
            ON CONFLICT (skill_id) DO UPDATE SET daily_price_chf = excluded.daily_price_chf"""
        ],
        [("mail", None, "0.5", None)],
    ),
    "the same by a MERGE": (
        [
            """MERGE INTO skill_pricing s USING (VALUES ('mail', 0.5)) AS n (skill, price)
            ON s.skill_id = n.skill
            WHEN NOT MATCHED THEN INSERT (skill_id, daily_price_chf) VALUES (n.skill, n.price)"""
        ],
        [("mail", None, "0.5", None)],
    ),
    "a price of 0 is one": (
        ["INSERT INTO skill_pricing VALUES ('mail', 0)"],
        [("mail", None, "0", None)],
    ),
    "what was deleted": (
        ["INSERT INTO skill_pricing VALUES ('mail', 0.5)", "DELETE FROM skill_pricing"],
        [("mail", None, "0.5", None), ("mail", "0.5", None, "today")],
    ),
    "what was truncated": (
        ["INSERT INTO skill_pricing VALUES ('mail', 0.5)", "TRUNCATE skill_pricing"],
        [("mail", None, "0.5", None), ("mail", "0.5", None, "today")],
    ),
    "given again, after it was taken away": (
        [
            "INSERT INTO skill_pricing VALUES ('mail', 0.5)",
            "DELETE FROM skill_pricing",
            "INSERT INTO skill_pricing VALUES ('mail', 0.7)",
        ],
        [("mail", None, "0.5", None), ("mail", "0.5", None, "today"), ("mail", None, "0.7", "today")],
    ),
    "a skill that is called otherwise": (
        [
            "INSERT INTO skill_pricing VALUES ('mail', 0.5)",
            "UPDATE skill_pricing SET skill_id = 'post'",
        ],
        [("mail", None, "0.5", None), ("mail", "0.5", None, "today"), ("post", None, "0.5", None)],
    ),
    "there and back within a transaction is no change": (
        [
            f"""BEGIN; UPDATE platform_pricing SET {FEE} = 49; UPDATE platform_pricing SET {FEE} = 0;
            INSERT INTO skill_pricing VALUES ('mail', 1); DELETE FROM skill_pricing; COMMIT"""
        ],
        [],
    ),
    "the platform's row is gone: what it was is gone, too": (
        [f"UPDATE platform_pricing SET {FEE} = 49", "DELETE FROM platform_pricing"],
        [(FEE, "0", "49", None), (FEE, "49", None, "today")],
    ),
    "a statement that changes nothing": (
        [f"UPDATE platform_pricing SET {FEE} = 0.00", "UPDATE platform_pricing SET updated_at = now()"],
        [],
    ),
    "one that was rolled back": ([f"BEGIN; UPDATE platform_pricing SET {FEE} = 49; ROLLBACK"], []),
}


@pytest.mark.parametrize("case", STATEMENTS.values(), ids=STATEMENTS)
def test_whatever_statement_changes_a_price_is_recorded(
    ledger: Connection, case: tuple[list[str], list[tuple[str, str | None, str | None, str | None]]]
) -> None:
    statements, expected = case
    for statement in statements:
        ledger.execute(statement.encode())
    assert recorded(ledger) == [
        (name, before and Decimal(before), after and Decimal(after), since and today())
        for name, before, after, since in expected
    ]


def test_the_seed_of_the_design_runs_as_it_stands(ledger: Connection) -> None:
    ledger.execute(
        """
        UPDATE platform_pricing SET tenant_monthly_fee_chf = 49.00, tenant_setup_fee_chf = 99.00,
            threema_message_chf = 0.05000, vat_rate_chli = 8.10 WHERE id = 1;
        INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('mail', 0.50000), ('wiki', 0.25000)
        ON CONFLICT (skill_id) DO UPDATE SET daily_price_chf = EXCLUDED.daily_price_chf;
        """
    )
    assert len(recorded(ledger)) == 5
    assert {row[3] for row in recorded(ledger)} == {None}


def test_who_it_was_is_what_the_transaction_or_the_row_says(ledger: Connection) -> None:
    ledger.execute("ALTER TABLE platform_pricing ADD COLUMN updated_by text")
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 1")
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 2, updated_by = 'bea'")
    with ledger.transaction():
        ledger.execute("SELECT set_config('reconciler.by', 'anna', true)")
        ledger.execute(f"UPDATE platform_pricing SET {FEE} = 3")
    rows = ledger.execute("SELECT recorded_by, database_user FROM reconciler_price_history ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        (None, "postgres"),
        ("bea", "postgres"),
        ("anna", "postgres"),
    ]


@pytest.fixture
def role(ledger: Connection) -> Iterator[str]:
    name = f"portal_{uuid4().hex}"
    ledger.execute(f"CREATE ROLE {name} LOGIN; GRANT ALL ON platform_pricing, skill_pricing TO {name}")
    yield name
    ledger.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_that_may_change_prices_may_not_write_their_history(
    ledger: Connection, database: str, role: str
) -> None:
    with connect(database.replace("postgres@", f"{role}@")) as portal:
        portal.execute(f"UPDATE platform_pricing SET {FEE} = 49")
        portal.execute("TRUNCATE skill_pricing")
        for statement in (
            "INSERT INTO reconciler_price_history SELECT * FROM reconciler_price_history",
            f"SELECT billing_set_price('{FEE}', 1, '2026-01-01')",
            f"SELECT reconciler_record_price('{FEE}', NULL, 1, NULL, NULL)",
            "SELECT reconciler_show_price('x', 'y', 1)",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                portal.execute(statement.encode())
    assert one(ledger, "SELECT database_user FROM reconciler_price_history") == role


def test_the_history_is_append_only(ledger: Connection) -> None:
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 49")
    for statement in (
        "UPDATE reconciler_price_history SET value = 1",
        "DELETE FROM reconciler_price_history",
        "TRUNCATE reconciler_price_history",
    ):
        with pytest.raises(errors.RestrictViolation, match="append-only"):
            ledger.execute(statement)


def test_applying_the_schema_again_records_nothing(ledger: Connection) -> None:
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 49")
    ledger.execute("INSERT INTO skill_pricing VALUES ('mail', 0)")
    before = recorded(ledger)
    apply(ledger)
    assert recorded(ledger) == before


def test_prices_that_were_there_before_their_history_are_valid_for_all_days(database: str) -> None:
    with connect(database) as ledger:
        apply(ledger)
        ledger.execute("DROP TABLE reconciler_price_history CASCADE")
        ledger.execute("DROP TRIGGER platform_pricing_history ON platform_pricing")
        ledger.execute("DROP TRIGGER skill_pricing_history ON skill_pricing")
        ledger.execute(f"UPDATE platform_pricing SET {FEE} = 49, vat_rate_chli = 7.7")
        ledger.execute("INSERT INTO skill_pricing VALUES ('mail', 0.5)")
        apply(ledger)
        assert sorted(recorded(ledger), key=str) == [
            ("mail", None, Decimal("0.5"), None),
            (FEE, Decimal(0), Decimal(49), None),
            ("vat_rate_chli", Decimal("8.1"), Decimal("7.7"), None),
        ]


# From a day on -----------------------------------------------------------------------------------


def test_a_planned_price_takes_its_place_with_the_first_pass_on_its_day(ledger: Connection) -> None:
    tomorrow = today() + timedelta(days=1)
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 49")
    ledger.execute("SELECT billing_set_price(%s, 59, %s)", (FEE, tomorrow))
    ledger.execute("SELECT billing_set_price('daily_price_chf', 0.5, %s, 'mail')", (tomorrow,))
    a_pass(ledger)
    assert one(ledger, f"SELECT {FEE} FROM platform_pricing") == 49
    assert ledger.execute("SELECT FROM skill_pricing").fetchall() == []
    # The day has come.
    ledger.execute("ALTER TABLE reconciler_price_history DISABLE TRIGGER USER")
    ledger.execute("UPDATE reconciler_price_history SET valid_from = %s WHERE is_planned", (today(),))
    a_pass(ledger)
    assert one(ledger, f"SELECT {FEE} FROM platform_pricing") == 59
    assert one(ledger, "SELECT daily_price_chf FROM skill_pricing") == Decimal("0.5")
    # What the portal shows it writes back, and nothing is recorded by that.
    before = recorded(ledger)
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = {FEE}, updated_at = now()")
    assert recorded(ledger) == before


def test_a_pass_does_not_wait_for_whoever_has_a_price_in_hand(ledger: Connection, database: str) -> None:
    ledger.execute("SELECT billing_set_price(%s, 59, %s)", (FEE, today() + timedelta(days=1)))
    ledger.execute("ALTER TABLE reconciler_price_history DISABLE TRIGGER USER")
    ledger.execute("UPDATE reconciler_price_history SET valid_from = %s", (today(),))
    with connect(database) as slow:
        slow.execute("BEGIN")
        slow.execute("UPDATE platform_pricing SET threema_message_chf = 1")
        a_pass(ledger)
        assert one(ledger, f"SELECT {FEE} FROM platform_pricing") == 0
        slow.execute("COMMIT")
    a_pass(ledger)
    assert one(ledger, f"SELECT {FEE} FROM platform_pricing") == 59


def test_a_price_is_committed_in_its_place_among_the_passes(ledger: Connection, database: str) -> None:
    """Whoever has looked up the last number finds nothing below it later."""
    with connect(database) as other:
        with ledger.transaction():
            ledger.execute(WRITE_LOCK)
            number = a_pass(ledger)
            with waiting(other, f"UPDATE platform_pricing SET {FEE} = 49") as failures:
                ledger.execute("COMMIT")
        assert failures == []
    assert one(ledger, "SELECT id FROM reconciler_price_history") > number


def test_a_price_from_an_earlier_day_is_valid_until_the_next_one_on_record(ledger: Connection) -> None:
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 49")
    for value, since in ((59, "2026-06-01"), (39, "2026-03-01"), (69, "2026-06-01")):
        ledger.execute("SELECT billing_set_price(%s, %s, %s)", (FEE, value, since))
    found = ledger.execute(
        """
        SELECT DISTINCT ON (valid_from) value, valid_from, valid_to
        FROM generate_series('2026-01-01', '2026-12-01', interval '1 month') AS day
        CROSS JOIN billing_prices(day::date) WHERE column_name = %s ORDER BY valid_from NULLS FIRST
        """,
        (FEE,),
    )
    assert [tuple(row.values()) for row in found] == [
        (Decimal(49), None, date(2026, 3, 1)),
        (Decimal(39), date(2026, 3, 1), date(2026, 6, 1)),
        (Decimal(69), date(2026, 6, 1), None),
    ]


def test_a_first_price_does_not_reach_back_into_what_was_billed(ledger: Connection) -> None:
    issue(ledger, period_start=date(2025, 3, 1), period_end=date(2025, 4, 1))
    ledger.execute("INSERT INTO skill_pricing VALUES ('mail', 0.5)")
    assert recorded(ledger) == [("mail", None, Decimal("0.5"), date(2025, 4, 1))]
    ledger.execute("SELECT billing_set_price('daily_price_chf', 0.5, '2025-01-01', 'mail')")
    assert recorded(ledger)[1:] == [("mail", None, Decimal("0.5"), date(2025, 1, 1))]


# What is no price --------------------------------------------------------------------------------

TOO_FINE = [
    (f"UPDATE platform_pricing SET {FEE} = 49.001", "platform_pricing_monthly_fee_fits"),
    ("UPDATE platform_pricing SET tenant_setup_fee_chf = 0.123456", "platform_pricing_setup_fee_fits"),
    (
        "UPDATE platform_pricing SET threema_message_chf = 0.123456",
        "platform_pricing_threema_message_fits",
    ),
    ("UPDATE platform_pricing SET vat_rate_chli = 8.125", "platform_pricing_vat_rate_fits"),
    ("UPDATE platform_pricing SET vat_rate_chli = 810", "platform_pricing_vat_rate_in_percent"),
    (f"UPDATE platform_pricing SET {FEE} = 100000000", "platform_pricing_monthly_fee_fits"),
    (f"UPDATE platform_pricing SET {FEE} = 'Infinity'", "platform_pricing_monthly_fee_fits"),
    ("INSERT INTO skill_pricing VALUES ('mail', 0.123456)", "skill_pricing_daily_price_fits"),
    ("INSERT INTO skill_pricing VALUES ('mail', 100000)", "skill_pricing_daily_price_fits"),
]


def test_an_amount_that_cannot_be_kept_is_refused_and_never_rounded(ledger: Connection) -> None:
    for statement, rule in TOO_FINE:
        with refused(by=rule):
            ledger.execute(statement.encode())
    assert recorded(ledger) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("'nonsense', 1", "there is no price"),
        (f"'{FEE}', NULL", "expected a value"),
        (f"'{FEE}', 'NaN'", "at most 2 decimals"),
        (f"'{FEE}', -1", "at most 2 decimals"),
        (f"'{FEE}', 49.001", "not rounded for you"),
        (f"'{FEE}', 1, NULL, 'mail'", "a skill for daily_price_chf"),
        (f"'{FEE}', 1, '-infinity'", "a day from 1970 to 9000"),
        ("'vat_rate_chli', 810", "percent, from 0 to 100"),
        ("'daily_price_chf', 1", "a skill for daily_price_chf"),
        ("'daily_price_chf', 0.123456, NULL, 'mail'", "at most 5 decimals"),
    ],
)
def test_what_is_no_price_is_refused_with_the_reason(
    ledger: Connection, arguments: str, told: str
) -> None:
    with pytest.raises(psycopg.Error, match=told):
        ledger.execute(f"SELECT billing_set_price({arguments})".encode())


def test_amounts_are_shown_with_the_decimals_that_are_kept(ledger: Connection) -> None:
    ledger.execute(f"UPDATE platform_pricing SET {FEE} = 49, threema_message_chf = 0.05")
    insert(ledger, "skill_pricing", skill_id="mail", daily_price_chf="0.5")
    shown = f"SELECT {FEE}::text || ' ' || threema_message_chf || ' ' || daily_price_chf"
    assert one(ledger, f"{shown} FROM platform_pricing, skill_pricing") == "49.00 0.05000 0.50000"


def test_after_a_restore_without_sequences_no_number_is_given_twice(ledger: Connection) -> None:
    a_pass(ledger)
    ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49")
    highest: int = one(ledger, "SELECT max(id) FROM reconciler_price_history")
    ledger.execute("SELECT setval(pg_get_serial_sequence('reconciler_passes', 'id'), 1)")
    apply(ledger)
    assert a_pass(ledger) > highest
