"""`reconciler usage`: the days that count, as the ledger stands or as it stood."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import Json, snapshot, tenant
from tests.conftest import Command, Ran

Ledger = psycopg.Connection[Any]
Run = Callable[..., Ran]


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Run:
    """A pass over tenants, on a day of December, at midnight in Zurich."""

    def run(day: int, *tenants: Json, flags: str = "") -> Ran:
        file = snapshot(tmp_path, f"202512{day:02}T230000Z", *tenants)
        ran = command("run", "--snapshot", file, *flags.split())
        assert ran.status == 0, ran.err
        return ran

    return run


@pytest.fixture
def usage(command: Command) -> Callable[[str], Ran]:
    def usage(flags: str) -> Ran:
        return command("usage", *flags.split())

    return usage


CREATED = "2025-12-01T12:00:00Z"
PRICES = """
UPDATE platform_pricing SET tenant_monthly_fee_chf = 49, tenant_setup_fee_chf = 199;
INSERT INTO skill_pricing VALUES ('mail', 0.33333)
"""


def days(ran: Ran) -> dict[tuple[str, str], int]:
    """By tenant, and skill or fee."""
    assert ran.status == 0, ran.err
    return {
        (line["tenantName"], line["skillId"] or line["item"]): line["days"]
        for line in json.loads(ran.out)["lines"]
    }


@pytest.fixture
def ten_days(run: Run) -> None:
    """Ada and Bea, of two organisations, until the 10th; Bea was suspended on the 5th."""
    ada, bea = tenant("ada", "mail", created=CREATED), tenant("bea", "mail", "wiki", org="org-2")
    run(1, ada, bea)
    run(5, ada, {**bea, "spec": {**bea["spec"], "suspend": True}})
    run(10, ada, {**bea, "spec": {**bea["spec"], "suspend": True}})


@pytest.mark.usefixtures("ten_days")
def test_it_tells_the_days_of_each_tenant_and_skill(usage: Callable[[str], Ran]) -> None:
    ran = usage("--month 2025-12 --output json")
    assert days(ran) == {
        ("ada", "setup_fee"): 1,
        ("ada", "monthly_fee"): 10,
        ("ada", "mail"): 10,
        ("bea", "monthly_fee"): 5,
        ("bea", "mail"): 5,
        ("bea", "wiki"): 5,
    }
    told = json.loads(ran.out)
    assert (told["from"], told["to"], told["timeZone"]) == ("2025-12-01", "2026-01-01", "Europe/Zurich")
    assert (told["asOf"], told["lastPass"], told["until"]) == (None, 3, "2025-12-10T23:00:00Z")
    assert told["lines"][0]["amountChf"] is None
    assert told["totals"] == []


@pytest.mark.usefixtures("ten_days")
def test_amounts_are_exact_and_add_up(usage: Callable[[str], Ran], ledger: Ledger) -> None:
    ledger.execute(PRICES)
    told = json.loads(usage("--month 2025-12 --prices --output json").out)
    amounts = [(line["item"], line["skillId"], line["amountChf"]) for line in told["lines"]]
    assert amounts == [
        ("setup_fee", None, "199.00"),
        ("monthly_fee", None, "15.81"),  # 49 * 10 / 31
        ("skill", "mail", "3.33"),
        ("monthly_fee", None, "7.90"),
        ("skill", "mail", "1.67"),
        ("skill", "wiki", "0.00"),
    ]
    assert told["unpriced"] == ["wiki"]
    assert told["totals"] == [
        {
            "month": "2025-12",
            "zitadelOrgId": org,
            "netChf": net,
            "vatRateChli": "8.10",
            "vatChf": vat,
            "grossChf": gross,
        }
        for org, net, vat, gross in (
            ("org-1", "218.14", "17.67", "235.81"),
            ("org-2", "9.57", "0.78", "10.35"),
        )
    ]


@pytest.mark.usefixtures("ten_days")
def test_a_person_reads_the_same(usage: Callable[[str], Ran], ledger: Ledger) -> None:
    ledger.execute(PRICES)
    out = usage("--month 2025-12 --prices --bounds").out
    assert "10 of 31 days" in out
    assert "net 218.14, VAT of 8.10 % 17.67, gross 235.81 CHF" in out
    assert "Without a price, and counted with 0: wiki" in out
    assert "nothing is invoiced" in out


@pytest.mark.usefixtures("ten_days")
def test_csv_has_a_row_for_each_line(usage: Callable[[str], Ran]) -> None:
    rows = list(csv.DictReader(usage("--month 2025-12 --output csv").out.splitlines()))
    assert [(row["tenant_name"], row["item"], row["skill_id"], row["days"]) for row in rows[:3]] == [
        ("ada", "setup_fee", "", "1"),
        ("ada", "monthly_fee", "", "10"),
        ("ada", "skill", "mail", "10"),
    ]
    assert {row["amount_chf"] for row in rows} == {""}


@pytest.mark.usefixtures("ten_days")
@pytest.mark.parametrize(
    ("flags", "who"),
    [
        ("--org org-2", {"bea"}),
        ("--tenant ada", {"ada"}),
        ("--tenant uid-of-bea", {"bea"}),
        ("--org org-1 --tenant bea", set()),
    ],
)
def test_of_one_organisation_or_tenant_only(
    usage: Callable[[str], Ran], flags: str, who: set[str]
) -> None:
    assert {name for name, _ in days(usage(f"--month 2025-12 {flags} --output json"))} == who


@pytest.mark.usefixtures("ten_days")
def test_a_part_of_a_month_and_the_days_of_another_zone(usage: Callable[[str], Ran]) -> None:
    part = days(usage("--from 2025-12-03 --to 2025-12-07 --tenant bea --output json"))
    assert part == {("bea", "monthly_fee"): 3, ("bea", "mail"): 3, ("bea", "wiki"): 3}
    # In Tokyo the 1st is nine hours old at noon in Zurich, and the 11th has begun.
    there = days(usage("--month 2025-12 --tenant ada --time-zone Asia/Tokyo --output json"))
    assert there["ada", "mail"] == 11


@pytest.mark.usefixtures("ten_days")
def test_bounds_are_the_least_and_the_most_that_the_intervals_allow(usage: Callable[[str], Ran]) -> None:
    lines = json.loads(usage("--month 2025-12 --tenant bea --bounds --output json").out)["lines"]
    # Suspended at some time between the passes of the 1st and the 5th.
    assert [(line["item"], line["leastDays"], line["days"], line["mostDays"]) for line in lines] == [
        ("monthly_fee", 1, 5, 5),
        ("skill", 0, 5, 5),
        ("skill", 0, 5, 5),
    ]


def test_as_of_a_time_later_passes_change_no_byte_and_are_told_as_corrections(
    run: Run, usage: Callable[[str], Ran], ledger: Ledger
) -> None:
    ada, bea, cleo = tenant("ada", "mail"), tenant("bea", "mail", uid="old"), tenant("cleo", "mail")
    run(1, ada, bea, cleo)
    run(4, ada, bea)  # cleo is taken for deleted
    written = ledger.execute("SELECT max(written_at) AT TIME ZONE 'UTC' FROM reconciler_passes")
    as_of = f"{written.fetchall()[0][0].isoformat()}Z"
    asked = f"--month 2025-12 --as-of {as_of}"
    before = {form: usage(f"{asked} --output {form}").out for form in ("text", "json", "csv")}
    assert usage(f"{asked} --corrections").out.endswith("Nothing\n")

    run(
        6,
        ada,
        {**bea, "metadata": {**bea["metadata"], "uid": "new"}},
        cleo,
        flags="--rebind --reopen cleo",
    )
    run(8, tenant("ada", "wiki"), cleo)

    assert {form: usage(f"{asked} --output {form}").out for form in before} == before
    # Under the uid that it had as under the one that it has.
    names = ("bea", bea["metadata"]["uid"], "new")
    of_bea = [usage(f"--month 2025-12 --tenant {name} --output csv").out for name in names]
    assert len(set(of_bea)) == 1
    assert of_bea[0].count("\n") > 1
    told = json.loads(usage(f"{asked} --corrections --output json").out)["corrections"]
    changed = {(one["tenantName"], one["skillId"]): (one["daysBefore"], one["daysNow"]) for one in told}
    assert changed == {
        ("ada", None): (4, 8),
        ("ada", "mail"): (4, 8),
        ("bea", None): (4, 8),
        ("bea", "mail"): (4, 8),
        ("cleo", None): (4, 8),
        ("cleo", "mail"): (4, 8),
    }


@pytest.mark.usefixtures("ten_days")
def test_a_month_with_two_prices_has_a_line_for_each(
    command: Command, usage: Callable[[str], Ran], ledger: Ledger
) -> None:
    ledger.execute(PRICES)
    command("pricing", "set", "--tenant-monthly-fee-chf", "62", "--from", "2025-12-05")
    command("pricing", "set", "--vat-rate-chli", "10", "--from", "2025-12-09")
    told = json.loads(usage("--month 2025-12 --tenant ada --prices --output json").out)
    lines = [
        (line["item"], line["days"], line["priceChf"], line["amountChf"], line["vatRateChli"])
        for line in told["lines"]
    ]
    assert lines == [
        ("setup_fee", 1, "199.00", "199.00", "8.10"),
        ("monthly_fee", 4, "49.00", "6.32", "8.10"),
        ("monthly_fee", 4, "62.00", "8.00", "8.10"),
        ("monthly_fee", 2, "62.00", "4.00", "10.00"),
        ("skill", 8, "0.33333", "2.67", "8.10"),
        ("skill", 2, "0.33333", "0.67", "10.00"),
    ]
    assert [(one["vatRateChli"], one["netChf"], one["vatChf"]) for one in told["totals"]] == [
        ("8.10", "215.99", "17.50"),
        ("10.00", "4.67", "0.47"),
    ]
    out = usage("--month 2025-12 --tenant ada --prices").out
    assert "monthly fee, 2025-12-05 to 2025-12-09" in out
    assert "net 4.67, VAT of 10.00 % 0.47, gross 5.14 CHF" in out
    whole = json.loads(usage("--month 2025-12 --tenant ada --output json").out)["lines"]
    assert [(line["item"], line["days"]) for line in whole] == [
        ("setup_fee", 1),
        ("monthly_fee", 10),
        ("skill", 10),
    ]


def test_a_price_of_today_changes_no_amount_of_a_day_before(
    command: Command, usage: Callable[[str], Ran], ledger: Ledger, tmp_path: Path
) -> None:
    ada = tenant("ada", "mail", created="2025-01-10T12:00:00Z")
    command("run", "--snapshot", snapshot(tmp_path, "20250201T120000Z", ada))
    ledger.execute(PRICES)
    january = "--month 2025-01 --prices --output csv"
    before = usage(january).out
    ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 59, vat_rate_chli = 10")
    ledger.execute("UPDATE skill_pricing SET daily_price_chf = 0.5")
    ledger.execute("DELETE FROM skill_pricing")
    assert usage(january).out == before


@pytest.mark.usefixtures("ten_days")
def test_as_of_a_time_or_a_position_prices_are_those_of_then(
    command: Command, usage: Callable[[str], Ran], ledger: Ledger
) -> None:
    ledger.execute(PRICES)
    ((then, position),) = ledger.execute(
        "SELECT clock_timestamp() AT TIME ZONE 'UTC', billing_position()"
    ).fetchall()
    asked = f"--month 2025-12 --prices --as-of {then.isoformat()}Z"
    before = {form: usage(f"{asked} --output {form}").out for form in ("text", "json", "csv")}

    command("pricing", "set", "--tenant-setup-fee-chf", "1", "--from", "2025-12-01")
    ledger.execute("UPDATE skill_pricing SET daily_price_chf = 0.5")

    assert {form: usage(f"{asked} --output {form}").out for form in before} == before
    at_position = f"--month 2025-12 --prices --as-of-pass {position}"
    assert usage(f"{at_position} --output csv").out == before["csv"]
    told = json.loads(usage(f"{at_position} --corrections --output json").out)["corrections"]
    fees = [(one["amountBeforeChf"], one["amountNowChf"]) for one in told if one["item"] == "setup_fee"]
    assert fees == [("199.00", "1.00")]
    assert "net " in usage(f"{asked} --corrections").out


@pytest.mark.usefixtures("ten_days")
def test_what_a_month_would_have_cost_at_the_prices_of_a_day(
    command: Command, usage: Callable[[str], Ran], ledger: Ledger
) -> None:
    ledger.execute(PRICES)
    command("pricing", "set", "--tenant-monthly-fee-chf", "62", "--from", "2026-01-01")
    asked = "--month 2025-12 --tenant ada --prices --prices-of"
    told = json.loads(usage(f"{asked} 2026-01-01 --output json").out)
    assert told["pricesOf"] == "2026-01-01"
    assert [one["amountChf"] for one in told["lines"]] == ["199.00", "20.00", "3.33"]
    assert "At the prices of 2026-01-01" in usage(f"{asked} 2026-01-01T00:00:00Z").out


@pytest.mark.usefixtures("ten_days")
@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        ("", 2, "--month"),
        ("--month 2025-13", 2, "like 2026-10"),
        ("--month 2025-12 --from 2025-12-01", 2, "--month"),
        ("--from 2025-12-01", 2, "--to"),
        ("--from 2025-12-01 --to 2025-12-32", 2, "--to"),
        ("--from 2025-12-01 --to 2025-12-01", 2, "--to must be after"),
        ("--month 2025-12 --time-zone Zurich", 2, "Europe/Zurich"),
        ("--month 2025-12 --org nobody", 2, "no org"),
        ("--month 2025-12 --tenant nobody", 2, "no tenant"),
        ("--month 2025-12 --corrections", 2, "--as-of"),
        ("--month 2025-12 --as-of yesterday", 2, "a day like"),
        ("--month 2025-12 --as-of 2999-01-01T00:00:00Z", 2, "in the future"),
        ("--month 2025-12 --as-of 2000-01-01T00:00:00Z", 1, "no pass"),
        ("--month 2025-12 --as-of-pass 0", 1, "no pass up to 0"),
        ("--month 2025-12 --as-of-pass 99", 2, "the last pass is 3"),
        ("--month 2025-12 --as-of-pass 1 --as-of now", 2, "give one"),
        ("--month 2025-12 --prices-of now", 2, "--prices as well"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    usage: Callable[[str], Ran], flags: str, status: int, told: str
) -> None:
    ran = usage(flags)
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (status, "", 1)
    assert told in ran.err


def test_a_schema_that_is_behind_is_named_with_what_brings_it_up_to_date(
    usage: Callable[[str], Ran], ledger: Ledger
) -> None:
    ledger.execute("DELETE FROM reconciler_schema; INSERT INTO reconciler_schema (version) VALUES (1)")
    ran = usage("--month 2025-12")
    assert ran.status == 1
    assert "schema apply" in ran.err
