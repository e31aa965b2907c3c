"""The tables of prices and invoices in a real Postgres: made, and made again."""

# ruff: noqa: S608 - the names in these statements are our own

from uuid import uuid4

from tests.billing.database import TABLES, Connection, apply, connect, connect_to_schema, dump, one
from tests.billing.invoices import issue


def test_a_fresh_database_gets_all_eight_tables(ledger: Connection) -> None:
    tables = ledger.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {row["tablename"] for row in tables} >= TABLES


def test_applying_the_schema_again_changes_nothing(database: str) -> None:
    with connect_to_schema(database) as connection:
        apply(connection)
        before = dump(database)
        assert apply(connection) == []
    assert dump(database) == before
    assert "CREATE TABLE ledger.invoices" in before


def test_the_search_path_decides_where_everything_goes(database: str) -> None:
    with connect_to_schema(database) as connection:
        apply(connection)
        for catalog, column in (("pg_class", "relnamespace"), ("pg_proc", "pronamespace")):
            assert (
                one(
                    connection, f"SELECT count(*) FROM {catalog} WHERE {column} = 'public'::regnamespace"
                )
                == 0
            )


def test_a_role_without_privileges_beyond_its_schema_can_apply_it(database: str) -> None:
    role = f"owner_{uuid4().hex}"
    with connect(database) as connection:
        connection.execute(
            f"""
            CREATE ROLE {role};
            CREATE SCHEMA ledger AUTHORIZATION {role};
            SET ROLE {role};
            SET search_path = ledger;
            """
        )
        try:
            apply(connection)
            apply(connection)
            assert issue(connection)["number"] is not None
        finally:
            connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


def test_every_table_column_and_function_says_what_it_is(ledger: Connection) -> None:
    silent = ledger.execute(
        """
        SELECT attrelid::regclass || '.' || attname AS name FROM pg_attribute
        WHERE attrelid::regclass::text = ANY (%(tables)s) AND attnum > 0
            AND col_description(attrelid, attnum) IS NULL
        UNION ALL
        SELECT relname FROM pg_class
        WHERE relname = ANY (%(tables)s) AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
        """,
        {"tables": list(TABLES)},
    ).fetchall()
    assert silent == []


def test_money_has_its_scale_and_nothing_is_a_float(ledger: Connection) -> None:
    types = {
        row["name"]: row["type"]
        for row in ledger.execute(
            """
            SELECT attrelid::regclass || '.' || attname AS name, format_type(atttypid, atttypmod) AS type
            FROM pg_attribute WHERE attrelid::regclass::text = ANY (%s) AND attnum > 0
            """,
            (list(TABLES),),
        )
    }
    assert not {name for name, type_ in types.items() if type_ in ("real", "double precision", "money")}
    assert {name: type_ for name, type_ in types.items() if type_.startswith("numeric")} == {
        # Their CHECKs have the scale: a type that has it rounds before they are asked.
        "platform_pricing.tenant_monthly_fee_chf": "numeric",
        "platform_pricing.tenant_setup_fee_chf": "numeric",
        "platform_pricing.threema_message_chf": "numeric",
        "platform_pricing.vat_rate_chli": "numeric",
        "skill_pricing.daily_price_chf": "numeric",
        "invoices.net_amount": "numeric(10,2)",
        "invoices.vat_rate": "numeric(5,2)",
        "invoices.vat_amount": "numeric(10,2)",
        "invoices.gross_amount": "numeric(10,2)",
        "invoice_lines.quantity": "numeric",
        "invoice_lines.out_of": "numeric",
        "invoice_lines.unit_price": "numeric",
        "invoice_lines.vat_rate": "numeric(5,2)",
        "invoice_lines.amount": "numeric(10,2)",
        "invoice_reminders.fee": "numeric(10,2)",
        "invoice_payments.amount": "numeric(10,2)",
    }


def test_every_foreign_key_has_an_index_on_the_side_that_refers(ledger: Connection) -> None:
    without = ledger.execute(
        """
        SELECT conname FROM pg_constraint AS c
        WHERE contype = 'f' AND conrelid::regclass::text = ANY (%s) AND NOT EXISTS (
            SELECT FROM pg_index AS i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1]
        )
        """,
        (list(TABLES),),
    ).fetchall()
    assert without == []
