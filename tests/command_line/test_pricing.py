"""`reconciler pricing` and `reconciler org`: exact amounts, before and after, and who it was."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.command_line.snapshots import apply, snapshot, tenant
from tests.conftest import Command, Ran

Ledger = psycopg.Connection[Any]


def decision(ran: Ran) -> Any:
    assert ran.status == 0, ran.err
    return json.loads(ran.out)["decision"]


# Prices ------------------------------------------------------------------------------------------


def test_prices_are_zero_until_somebody_sets_them(
    command: Command, ledger_url: str, tmp_path: Path
) -> None:
    apply(ledger_url, snapshot(tmp_path, "20251201T000000Z", tenant("ada", "mail")))
    told = json.loads(command("pricing", "show", "--output", "json").out)
    assert told.pop("day") == datetime.now(ZoneInfo("Europe/Zurich")).date().isoformat()
    assert told == {
        "tenantMonthlyFeeChf": "0.00",
        "tenantSetupFeeChf": "0.00",
        "threemaMessageChf": "0.00000",
        "vatRateChli": "8.10",
        "skills": [],
        "unpriced": ["mail"],
    }


def test_a_change_prints_before_and_after_and_says_who_is_on_record(command: Command) -> None:
    ran = command("pricing", "set", "--tenant-monthly-fee-chf", "49", "--by", "Anna")
    assert ran.status == 0
    assert "tenant_monthly_fee_chf  0.00 → 49.00" in ran.out
    assert "by Anna (database user postgres)" in ran.out
    assert "tenant_setup_fee_chf" not in ran.out


def test_a_change_is_recorded_with_who_and_when(command: Command, ledger: Ledger) -> None:
    told = decision(
        command("pricing", "set", "--threema-message-chf", "0.005", "--output", "json", LOGNAME="otto")
    )
    assert told["before"] == {"threema_message_chf": "0.00000"}
    assert told["after"] == {"threema_message_chf": "0.00500"}
    assert ledger.execute(
        "SELECT decided_by, database_user, table_name, subject, before, after, "
        "decided_at BETWEEN now() - interval '1 minute' AND now() FROM reconciler_decisions"
    ).fetchall() == [
        (
            *("otto", "postgres", "platform_pricing", None),
            *({"threema_message_chf": "0.00000"}, {"threema_message_chf": "0.00500"}, True),
        )
    ]


def test_what_is_so_already_is_no_decision(command: Command, ledger: Ledger) -> None:
    assert decision(command("pricing", "set", "--vat-rate-chli", "8.1", "--output", "json")) is None
    assert "nothing was changed" in command("pricing", "set", "--vat-rate-chli", "8.10").out
    assert ledger.execute("SELECT FROM reconciler_decisions").fetchall() == []


@pytest.mark.parametrize(
    ("amount", "kept"),
    [("0.005", "0.00500"), ("0.00001", "0.00001"), ("1.500000000", "1.50000"), ("7", "7.00000")],
)
def test_an_amount_is_kept_to_the_last_digit(command: Command, amount: str, kept: str) -> None:
    told = decision(command("pricing", "skill", "set", "mail", amount, "--output", "json"))
    assert (told["subject"], told["before"], told["after"]) == ("mail", None, {"daily_price_chf": kept})
    assert json.loads(command("pricing", "show", "--output", "json").out)["skills"] == [
        {"skillId": "mail", "dailyPriceChf": kept}
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["set", "--threema-message-chf", "0.0000001"], "more than the 5 decimals"),
        (["set", "--tenant-monthly-fee-chf", "49.005"], "more than the 2 decimals"),
        (["set", "--tenant-monthly-fee-chf", "100000000"], "8 digits before the decimal point"),
        (["set", "--tenant-setup-fee-chf", "4,5"], "with a decimal point"),
        (["set", "--tenant-setup-fee-chf=-1"], "not negative"),
        (["set", "--tenant-setup-fee-chf", "NaN"], "a number"),
        (["set", "--tenant-setup-fee-chf", "1e3"], "a number"),
        (["set", "--vat-rate-chli", "100.01"], "0 to 100"),
        (["set"], "nothing to set"),
        (["skill", "set", "mail", "0.000001"], "more than the 5 decimals"),
        (["skill", "set", "", "1"], "expected a name"),
        (["skill", "set", " ", "1"], "expected a name"),
        (["skill", "set", "x" * 1001, "1"], "up to 1,000 bytes"),
        (["skill", "remove", "mail"], "no price to remove"),
    ],
)
def test_what_a_column_cannot_hold_as_it_is_written_is_refused_with_the_reason(
    command: Command, ledger: Ledger, arguments: Sequence[str], reason: str
) -> None:
    ran = command("pricing", *arguments)
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert reason in ran.err
    assert ledger.execute("SELECT FROM reconciler_decisions").fetchall() == []


def test_a_skill_s_price_is_changed_and_taken_away(command: Command, ledger: Ledger) -> None:
    command("pricing", "skill", "set", "mail", "0.5")
    again = decision(command("pricing", "skill", "set", "mail", "0.75", "--output", "json"))
    assert (again["before"], again["after"]) == (
        {"daily_price_chf": "0.50000"},
        {"daily_price_chf": "0.75000"},
    )
    removed = decision(command("pricing", "skill", "remove", "mail", "--output", "json"))
    assert (removed["before"], removed["after"]) == ({"daily_price_chf": "0.75000"}, None)
    assert ledger.execute("SELECT FROM skill_pricing").fetchall() == []
    assert ledger.execute("SELECT count(*) FROM reconciler_decisions").fetchall() == [(3,)]


def test_what_is_on_record_stays(command: Command, ledger: Ledger) -> None:
    command("pricing", "skill", "set", "mail", "0.5")
    with pytest.raises(psycopg.errors.RestrictViolation):
        ledger.execute("UPDATE reconciler_decisions SET decided_by = 'nobody'")


# From a day on ---------------------------------------------------------------------------------


def test_a_price_is_set_from_a_day_on_and_shown_as_of_a_day(command: Command) -> None:
    command("pricing", "set", "--tenant-monthly-fee-chf", "49")
    told = decision(
        command(
            *("pricing", "set", "--tenant-monthly-fee-chf", "59", "--vat-rate-chli", "8.8"),
            *("--from", "2097-01-01", "--output", "json"),
        )
    )
    assert told["before"] == {"tenant_monthly_fee_chf": "49.00", "vat_rate_chli": "8.10"}
    assert told["validity"] == {
        "tenant_monthly_fee_chf": {"from": "2097-01-01", "to": None},
        "vat_rate_chli": {"from": "2097-01-01", "to": None},
    }

    def shown(*at: str) -> tuple[str, str]:
        prices = json.loads(command("pricing", "show", *at, "--output", "json").out)
        return prices["tenantMonthlyFeeChf"], prices["vatRateChli"]

    assert shown() == shown("--at", "now") == shown("--at", "2096-12-31") == ("49.00", "8.10")
    assert shown("--at", "2097-01-01") == shown("--at", "2096-12-31T23:00:00Z") == ("59.00", "8.80")


def test_a_skill_s_price_is_taken_away_from_a_day_on(command: Command, ledger: Ledger) -> None:
    command("pricing", "skill", "set", "mail", "0.5")
    ran = command("pricing", "skill", "remove", "mail", "--from", "2097-01-01")
    assert "0.50000 → none, from 2097-01-01" in ran.out
    assert ledger.execute("SELECT FROM skill_pricing").fetchall() == [()]
    before, after = (
        json.loads(command("pricing", "show", "--at", day, "--output", "json").out)["skills"]
        for day in ("2096-12-31", "2097-01-01")
    )
    assert (len(before), len(after)) == (1, 0)


def test_an_earlier_day_is_set_until_the_next_value_on_record(command: Command) -> None:
    command("pricing", "skill", "set", "mail", "0.5", "--from", "2025-06-01")
    ran = command("pricing", "skill", "set", "mail", "0.4", "--from", "2025-03-01")
    assert "none → 0.40000, from 2025-03-01 until 2025-06-01, when another one follows" in ran.out
    again = command("pricing", "skill", "set", "mail", "0.4", "--from", "2025-03-01")
    assert "nothing was changed" in again.out


def test_the_history_of_prices_is_printed(command: Command, ledger: Ledger) -> None:
    ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49")
    command("pricing", "skill", "set", "mail", "0.5", "--by", "Anna")
    command("pricing", "skill", "set", "wiki", "0.5", "--from", "2025-06-01", "--by", "Otto")
    out = command("pricing", "history").out
    assert "tenant_monthly_fee_chf  0.00 → 49.00    for all days before, too" in out
    assert "(database user postgres)" in out
    assert "by Otto (database user postgres)\n3 changes\n" in out
    (change,) = json.loads(command("pricing", "history", "mail", "--output", "json").out)["changes"]
    del change["id"], change["recordedAt"]
    assert change == {
        "column": "daily_price_chf",
        "skillId": "mail",
        "previous": None,
        "value": "0.50000",
        "validFrom": None,
        "recordedBy": "Anna",
        "databaseUser": "postgres",
    }
    assert "0 changes" in command("pricing", "history", "vat_rate_chli").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "--tenant-monthly-fee-chf", "49", "--from", "soon"),
        ("set", "--tenant-monthly-fee-chf", "49", "--from", "0001-01-01"),
        ("set", "--from", "2025-01-01"),
        ("show", "--at", "2025-13-01"),
    ],
)
def test_what_is_no_day_is_refused(command: Command, arguments: Sequence[str]) -> None:
    ran = command("pricing", *arguments)
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (2, "", 1)


# Organisations -----------------------------------------------------------------------------------

DEFAULTS = {
    "zitadelOrgId": "org-1",
    "payByInvoice": False,
    "autoInvoiceEnabled": False,
    "autoRemindersEnabled": False,
    "stripeCustomerId": None,
    "displayName": None,
    "tenants": 1,
    "isStored": True,
}


@pytest.fixture
def one_tenant(ledger_url: str, tmp_path: Path) -> None:
    apply(ledger_url, snapshot(tmp_path, "20251201T000000Z", tenant("ada", "mail")))


@pytest.mark.usefixtures("one_tenant")
def test_the_first_to_read_an_organisation_creates_its_row_and_is_told(
    command: Command, ledger: Ledger
) -> None:
    first = json.loads(command("org", "show", "org-1", "--create", "--output", "json").out)
    assert first["org"] == DEFAULTS
    assert first["decision"]["before"] is None
    assert ledger.execute("SELECT zitadel_org_id FROM org_billing_config").fetchall() == [("org-1",)]
    assert json.loads(command("org", "show", "org-1", "--output", "json").out) == {
        "org": DEFAULTS,
        "decision": None,
    }
    assert "was created" in command("org", "show", "org-2", "--create").out
    assert "was created" not in command("org", "show", "org-2").out


@pytest.mark.usefixtures("one_tenant")
def test_a_list_creates_nothing(command: Command, ledger: Ledger) -> None:
    command("org", "set", "org-2", "--pay-by-invoice", "true")
    told = json.loads(command("org", "list", "--output", "json").out)["orgs"]
    assert told == [
        {**DEFAULTS, "isStored": False},
        {**DEFAULTS, "zitadelOrgId": "org-2", "payByInvoice": True, "tenants": 0},
    ]
    assert ledger.execute("SELECT zitadel_org_id FROM org_billing_config").fetchall() == [("org-2",)]
    assert "no row yet" in command("org", "list").out


def test_how_an_organisation_is_billed_is_changed_and_recorded(command: Command) -> None:
    command("org", "show", "org-1", "--create")
    told = decision(
        command(
            *("org", "set", "org-1", "--auto-invoice-enabled", "true", "--output", "json"),
            *("--stripe-customer-id", "cus_1", "--by", "Anna"),
        )
    )
    assert (told["table"], told["subject"], told["decidedBy"]) == ("org_billing_config", "org-1", "Anna")
    assert told["before"] == {"auto_invoice_enabled": False, "stripe_customer_id": None}
    assert told["after"] == {"auto_invoice_enabled": True, "stripe_customer_id": "cus_1"}
    taken = command("org", "set", "org-1", "--stripe-customer-id", "")
    assert "stripe_customer_id  cus_1 → none" in taken.out


def test_a_customer_of_two_organisations_is_refused(command: Command) -> None:
    command("org", "set", "org-1", "--stripe-customer-id", "cus_1")
    ran = command("org", "set", "org-2", "--stripe-customer-id", "cus_1")
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (1, "", 1)


def test_nothing_to_set_is_said(command: Command) -> None:
    assert command("org", "set", "org-1").status == 2


# Typing errors


def test_an_org_that_never_had_a_tenant_gets_no_row_unasked(
    command: Command, ledger: Ledger, tmp_path: Path
) -> None:
    assert (
        command("run", "--snapshot", snapshot(tmp_path, "20251201T000000Z", tenant("ada"))).status == 0
    )
    assert command("org", "show", "org-1").status == 0
    ran = command("org", "show", "org-11")
    assert (ran.status, ran.out) == (2, "")
    assert "--create" in ran.err
    orgs = "SELECT zitadel_org_id FROM org_billing_config"
    assert ledger.execute(orgs).fetchall() == [("org-1",)]
    assert command("org", "show", "org-11", "--create").status == 0
    assert command("org", "show", "org-11").status == 0


def test_an_org_that_never_had_a_tenant_is_set_with_a_warning(command: Command) -> None:
    assert "org-11" in command("org", "set", "org-11", "--pay-by-invoice", "true").err


def test_the_price_of_a_skill_that_nobody_has_is_set_with_a_warning(
    command: Command, tmp_path: Path
) -> None:
    file = snapshot(tmp_path, "20251201T000000Z", tenant("ada", "crm"))
    assert command("run", "--snapshot", file).status == 0
    ran = command("pricing", "skill", "set", "crmm", "1.5")
    assert ran.status == 0
    assert "crmm" in ran.err
    assert command("pricing", "skill", "set", "crm", "1.5").err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["usage", "--month", "2025-11", "--org", "a", "--org", "b"],
        ["usage", "--month", "2025-10", "--month", "2025-11"],
        ["run", "--snapshot", "a.json", "--snapshot", "b.json"],
        ["run", "--database-url", "postgresql://a", "--database-url", "postgresql://b"],
        ["pricing", "set", "--vat-rate-chli", "1", "--vat-rate-chli", "2"],
    ],
)
def test_a_value_that_is_given_twice_is_refused(arguments: list[str], command: Command) -> None:
    ran = command(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "given twice" in ran.err
