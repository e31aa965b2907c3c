"""Prices, organisations and their payment methods, held against every writer."""

# ruff: noqa: S608 - the names in these statements are our own

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.billing.database import Connection, apply, insert, one, refused


def test_platform_pricing_holds_one_row_of_zeros_with_the_vat_rate(ledger: Connection) -> None:
    (row,) = ledger.execute("SELECT * FROM platform_pricing").fetchall()
    del row["updated_at"]
    assert row == {
        "id": 1,
        "tenant_monthly_fee_chf": Decimal("0.00"),
        "tenant_setup_fee_chf": Decimal("0.00"),
        "threema_message_chf": Decimal("0.00000"),
        "vat_rate_chli": Decimal("8.10"),
    }


def test_prices_that_were_set_survive_the_next_apply(ledger: Connection) -> None:
    ledger.execute(
        "UPDATE platform_pricing SET tenant_monthly_fee_chf = 49.90, threema_message_chf = 0.005"
    )
    insert(ledger, "skill_pricing", skill_id="mail", daily_price_chf="0.12345")
    before = ledger.execute("SELECT * FROM platform_pricing, skill_pricing").fetchall()
    apply(ledger)
    assert ledger.execute("SELECT * FROM platform_pricing, skill_pricing").fetchall() == before
    assert before[0]["threema_message_chf"] == Decimal("0.00500")
    assert before[0]["daily_price_chf"] == Decimal("0.12345")


@pytest.mark.parametrize(
    ("identity", "rule"), [(1, "platform_pricing_pkey"), (2, "platform_pricing_single_row")]
)
def test_platform_pricing_never_has_a_second_row(ledger: Connection, identity: int, rule: str) -> None:
    with refused(by=rule):
        insert(ledger, "platform_pricing", id=identity)


NO_PRICES = [
    ("tenant_monthly_fee_chf", "-0.01", "platform_pricing_monthly_fee_not_negative"),
    ("tenant_monthly_fee_chf", "NaN", "platform_pricing_monthly_fee_not_negative"),
    ("tenant_setup_fee_chf", "-0.01", "platform_pricing_setup_fee_not_negative"),
    ("tenant_setup_fee_chf", "NaN", "platform_pricing_setup_fee_not_negative"),
    ("threema_message_chf", "-0.00001", "platform_pricing_threema_message_not_negative"),
    ("threema_message_chf", "NaN", "platform_pricing_threema_message_not_negative"),
    ("vat_rate_chli", "-0.01", "platform_pricing_vat_rate_in_percent"),
    ("vat_rate_chli", "100.01", "platform_pricing_vat_rate_in_percent"),
    ("vat_rate_chli", "NaN", "platform_pricing_vat_rate_in_percent"),
]


def test_a_price_that_is_none_is_refused(ledger: Connection) -> None:
    for column, value, rule in NO_PRICES:
        with refused(by=rule):
            ledger.execute(f"UPDATE platform_pricing SET {column} = %s", (value,))


def test_a_skill_price_that_is_none_is_refused(ledger: Connection) -> None:
    for price in ("-0.00001", "NaN"):
        with refused(by="skill_pricing_daily_price_not_negative"):
            insert(ledger, "skill_pricing", skill_id="mail", daily_price_chf=price)
    with refused(by="skill_pricing_skill_named"):
        insert(ledger, "skill_pricing", skill_id="")


def test_a_skill_price_is_set_by_its_conflict_target(ledger: Connection) -> None:
    for price in ("1", "2.5"):
        ledger.execute(
            """
            INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('mail', %s)
            ON CONFLICT (skill_id) DO UPDATE SET daily_price_chf = excluded.daily_price_chf
            """,
            (price,),
        )
    assert one(ledger, "SELECT daily_price_chf FROM skill_pricing") == Decimal("2.50000")


def test_an_organisation_begins_with_nothing_automatic(ledger: Connection) -> None:
    assert one(ledger, "SELECT count(*) FROM org_billing_config") == 0
    row = insert(ledger, "org_billing_config", zitadel_org_id="org-a")
    assert (row["pay_by_invoice"], row["auto_invoice_enabled"], row["auto_reminders_enabled"]) == (
        False,
        False,
        False,
    )
    assert row["stripe_customer_id"] is None
    assert row["created_at"] is not None


def test_an_organisation_and_its_customer_have_names(ledger: Connection) -> None:
    with refused(by="org_billing_config_org_named"):
        insert(ledger, "org_billing_config", zitadel_org_id="")
    with refused(by="org_billing_config_stripe_customer_named"):
        insert(ledger, "org_billing_config", zitadel_org_id="org-a", stripe_customer_id="")


def test_two_organisations_never_share_a_stripe_customer(ledger: Connection) -> None:
    insert(ledger, "org_billing_config", zitadel_org_id="org-a", stripe_customer_id="cus_1")
    with refused(by="org_billing_config_stripe_customer_id_key"):
        insert(ledger, "org_billing_config", zitadel_org_id="org-b", stripe_customer_id="cus_1")


def test_a_change_of_prices_or_settings_moves_updated_at(ledger: Connection) -> None:
    insert(ledger, "skill_pricing", skill_id="mail", daily_price_chf=1)
    created = insert(ledger, "org_billing_config", zitadel_org_id="org-a")["created_at"]
    for table, change in (
        ("platform_pricing", "vat_rate_chli = 7.7"),
        ("skill_pricing", "daily_price_chf = 2"),
        ("org_billing_config", "pay_by_invoice = true"),
    ):
        before = one(ledger, f"SELECT updated_at FROM {table}")
        ledger.execute(f"UPDATE {table} SET {change}")
        assert one(ledger, f"SELECT updated_at FROM {table}") > before
    assert one(ledger, "SELECT created_at FROM org_billing_config") == created


def test_an_organisation_has_at_most_one_default_payment_method(ledger: Connection) -> None:
    for org in ("org-a", "org-b"):
        insert(ledger, "org_billing_config", zitadel_org_id=org)
        insert(
            ledger,
            "org_payment_methods",
            zitadel_org_id=org,
            stripe_payment_method_id=f"pm_{org}",
            is_default=True,
        )
    insert(ledger, "org_payment_methods", zitadel_org_id="org-a", stripe_payment_method_id="pm_3")
    with refused(by="org_payment_methods_one_default"):
        ledger.execute(
            "UPDATE org_payment_methods SET is_default = true WHERE stripe_payment_method_id = 'pm_3'"
        )
    with refused(by="org_payment_methods_default_is_attached"):
        ledger.execute("UPDATE org_payment_methods SET detached_at = now() WHERE is_default")


NO_PAYMENT_METHODS: list[tuple[Any, str]] = [
    ({"zitadel_org_id": "org-x"}, "org_payment_methods_org_fkey"),
    ({"stripe_payment_method_id": "pm_1"}, "org_payment_methods_stripe_payment_method_id_key"),
    ({"stripe_payment_method_id": ""}, "org_payment_methods_stripe_named"),
    ({"type": ""}, "org_payment_methods_type_named"),
    ({"last4": "424"}, "org_payment_methods_last4_is_four"),
    ({"exp_month": 13, "exp_year": 2030}, "org_payment_methods_exp_month_in_year"),
    ({"exp_month": 12, "exp_year": 30}, "org_payment_methods_exp_year_has_century"),
    ({"exp_month": 12}, "org_payment_methods_exp_whole"),
    ({"detached_at": date(2020, 1, 1)}, "org_payment_methods_detached_after_created"),
]


def test_a_payment_method_that_makes_no_sense_is_refused(ledger: Connection) -> None:
    insert(ledger, "org_billing_config", zitadel_org_id="org-a")
    card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}
    insert(
        ledger, "org_payment_methods", zitadel_org_id="org-a", stripe_payment_method_id="pm_1", **card
    )
    for values, rule in NO_PAYMENT_METHODS:
        with refused(by=rule):
            insert(
                ledger,
                "org_payment_methods",
                **{"zitadel_org_id": "org-a", "stripe_payment_method_id": "pm_2", **values},
            )
