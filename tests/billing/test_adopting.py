"""Tables that the portal has made itself are adopted, with their rows."""

from decimal import Decimal

import pytest

from tests.billing.database import apply, connect, connect_to_schema, dump, insert, one, refused

AS_IN_THE_DESIGN = """
    CREATE TABLE platform_pricing (
        id integer PRIMARY KEY DEFAULT 1,
        tenant_monthly_fee_chf numeric(10,2) NOT NULL DEFAULT 0,
        tenant_setup_fee_chf numeric(10,2) NOT NULL DEFAULT 0,
        threema_message_chf numeric(10,5) NOT NULL DEFAULT 0,
        vat_rate_chli numeric(5,2) NOT NULL DEFAULT 8.10
    );
    CREATE TABLE skill_pricing (
        skill_id text PRIMARY KEY,
        daily_price_chf numeric(10,5) NOT NULL DEFAULT 0
    );
    CREATE TABLE org_billing_config (
        zitadel_org_id text PRIMARY KEY,
        pay_by_invoice boolean NOT NULL DEFAULT false,
        auto_invoice_enabled boolean NOT NULL DEFAULT false,
        auto_reminders_enabled boolean NOT NULL DEFAULT false
    );
"""
AS_LOOSE_AS_CAN_BE = """
    CREATE TABLE platform_pricing (
        id bigint,
        tenant_monthly_fee_chf numeric,
        tenant_setup_fee_chf double precision,
        threema_message_chf numeric,
        vat_rate_chli numeric(10,4)
    );
    CREATE TABLE skill_pricing (skill_id varchar(255), daily_price_chf numeric);
    CREATE TABLE org_billing_config (
        zitadel_org_id varchar(64),
        pay_by_invoice boolean,
        auto_invoice_enabled boolean,
        auto_reminders_enabled boolean
    );
"""
WITH_A_GENERATED_ID_AND_A_CUSTOMER = """
    CREATE TABLE platform_pricing (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_monthly_fee_chf numeric NOT NULL,
        tenant_setup_fee_chf numeric NOT NULL,
        threema_message_chf numeric NOT NULL,
        vat_rate_chli numeric NOT NULL
    );
    CREATE TABLE skill_pricing (skill_id text PRIMARY KEY, daily_price_chf numeric NOT NULL);
    CREATE TABLE org_billing_config (
        zitadel_org_id text PRIMARY KEY,
        pay_by_invoice boolean NOT NULL,
        auto_invoice_enabled boolean NOT NULL,
        auto_reminders_enabled boolean NOT NULL,
        stripe_customer_id text
    );
"""
ROWS_OF_THE_PORTAL = """
    INSERT INTO platform_pricing OVERRIDING SYSTEM VALUE VALUES (1, 49, 99.5, 0.005, 7.7);
    INSERT INTO skill_pricing VALUES ('mail', 0.5), ('search', 1.23456);
    INSERT INTO org_billing_config VALUES ('org-a', true, false, true), ('org-b', false, true, false);
"""


@pytest.mark.parametrize("rows", ["", ROWS_OF_THE_PORTAL], ids=["empty", "filled"])
@pytest.mark.parametrize(
    "tables",
    [AS_IN_THE_DESIGN, AS_LOOSE_AS_CAN_BE, WITH_A_GENERATED_ID_AND_A_CUSTOMER],
    ids=["as in the design", "as loose as can be", "with a generated id and a customer"],
)
def test_tables_of_the_portal_end_as_fresh_ones_do_and_keep_their_rows(
    database: str, tables: str, rows: str
) -> None:
    with connect_to_schema(database) as connection:
        apply(connection)
        fresh = dump(database, "--schema-only")
    reads = (
        """
        SELECT tenant_monthly_fee_chf, tenant_setup_fee_chf::numeric, threema_message_chf, vat_rate_chli
        FROM platform_pricing
        """,
        "SELECT skill_id, daily_price_chf FROM skill_pricing ORDER BY skill_id",
        """
        SELECT zitadel_org_id, pay_by_invoice, auto_invoice_enabled, auto_reminders_enabled
        FROM org_billing_config ORDER BY zitadel_org_id
        """,
    )
    with connect_to_schema(database) as connection:
        connection.execute(tables + rows)
        before = [connection.execute(read).fetchall() for read in reads]
        assert apply(connection) == []
        after = [connection.execute(read).fetchall() for read in reads]
        if not rows:
            before[0] = [dict(zip(after[0][0], (0, 0, 0, Decimal("8.10")), strict=True))]
        assert after == before
        assert apply(connection) == []
        insert(connection, "org_billing_config", zitadel_org_id="org-c")
    assert dump(database, "--schema-only") == fresh


def test_adopted_rows_that_break_a_rule_are_kept_with_a_warning(database: str) -> None:
    with connect(database) as connection:
        connection.execute(AS_LOOSE_AS_CAN_BE)
        connection.execute(
            """
            INSERT INTO platform_pricing VALUES (1, -5, 0, 0.0000001, 8.1);
            INSERT INTO org_billing_config VALUES ('org-a', NULL, false, false);
            """
        )
        warnings = "\n".join(apply(connection))
        assert "platform_pricing_threema_message_fits" in warnings
        assert "tenant_monthly_fee_chf of the platform is -5, which is no price" in warnings
        assert "org_billing_config.pay_by_invoice stays as it is" in warnings
        assert "platform_pricing_monthly_fee_not_negative" in warnings
        pricing = connection.execute("SELECT * FROM platform_pricing").fetchall()
        assert [(row["tenant_monthly_fee_chf"], row["threema_message_chf"]) for row in pricing] == [
            (Decimal(-5), Decimal("0.0000001"))
        ]
        assert one(connection, "SELECT pay_by_invoice FROM org_billing_config") is None
        with refused(by="platform_pricing_monthly_fee_not_negative"):
            connection.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = -6")


def test_an_adopted_row_with_another_id_gets_no_second_beside_it(database: str) -> None:
    with connect(database) as connection:
        connection.execute(AS_IN_THE_DESIGN)
        connection.execute("INSERT INTO platform_pricing VALUES (7, 49, 99.5, 0.005, 8.1)")
        (warning,) = apply(connection)
        assert "platform_pricing_single_row" in warning
        assert one(connection, "SELECT id FROM platform_pricing") == 7


def test_a_key_that_the_portal_named_otherwise_is_kept(database: str) -> None:
    with connect(database) as connection:
        connection.execute(AS_IN_THE_DESIGN)
        connection.execute(
            "ALTER TABLE skill_pricing RENAME CONSTRAINT skill_pricing_pkey TO prices_of_skills"
        )
        assert apply(connection) == []
        keys = "SELECT conname FROM pg_constraint WHERE conrelid = 'skill_pricing'::regclass"
        assert one(connection, f"{keys} AND contype = 'p'") == "prices_of_skills"


def test_a_default_that_the_portal_chose_stays(database: str) -> None:
    with connect(database) as connection:
        connection.execute(AS_IN_THE_DESIGN)
        connection.execute(
            "ALTER TABLE org_billing_config ALTER COLUMN auto_invoice_enabled SET DEFAULT true"
        )
        apply(connection)
        assert (
            insert(connection, "org_billing_config", zitadel_org_id="org-a")["auto_invoice_enabled"]
            is True
        )
