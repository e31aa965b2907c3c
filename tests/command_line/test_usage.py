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
        file = snapshot(tmp_path, f"202612{day:02}T230000Z", *tenants)
        ran = command("run", "--snapshot", file, *flags.split())
        assert ran.status == 0, ran.err
        return ran

    return run


@pytest.fixture
def usage(command: Command) -> Callable[[str], Ran]:
    def usage(flags: str) -> Ran:
        return command("usage", *flags.split())

    return usage


CREATED = "2026-12-01T12:00:00Z"
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
    ran = usage("--month 2026-12 --output json")
    assert days(ran) == {
        ("ada", "set-up-fee"): 1,
        ("ada", "monthly-fee"): 10,
        ("ada", "mail"): 10,
        ("bea", "monthly-fee"): 5,
        ("bea", "mail"): 5,
        ("bea", "wiki"): 5,
    }
    told = json.loads(ran.out)
    assert (told["from"], told["to"], told["timeZone"]) == ("2026-12-01", "2027-01-01", "Europe/Zurich")
    assert (told["asOf"], told["lastPass"], told["until"]) == (None, 3, "2026-12-10T23:00:00Z")
    assert told["lines"][0]["amountChf"] is None
    assert told["totals"] == []


@pytest.mark.usefixtures("ten_days")
def test_amounts_are_exact_and_add_up(usage: Callable[[str], Ran], ledger: Ledger) -> None:
    ledger.execute(PRICES)
    told = json.loads(usage("--month 2026-12 --prices --output json").out)
    amounts = [(line["item"], line["skillId"], line["amountChf"]) for line in told["lines"]]
    assert amounts == [
        ("set-up-fee", None, "199.00"),
        ("monthly-fee", None, "15.81"),  # 49 * 10 / 31
        ("skill", "mail", "3.33"),
        ("monthly-fee", None, "7.90"),
        ("skill", "mail", "1.67"),
        ("skill", "wiki", "0.00"),
    ]
    assert told["unpriced"] == ["wiki"]
    assert told["totals"] == [
        {
            "month": "2026-12",
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
    out = usage("--month 2026-12 --prices --bounds").out
    assert "10 of 31 days" in out
    assert "net 218.14, VAT of 8.10 % 17.67, gross 235.81 CHF" in out
    assert "Without a price, and counted with 0: wiki" in out
    assert "nothing is invoiced" in out


@pytest.mark.usefixtures("ten_days")
def test_csv_has_a_row_for_each_line(usage: Callable[[str], Ran]) -> None:
    rows = list(csv.DictReader(usage("--month 2026-12 --output csv").out.splitlines()))
    assert [(row["tenant_name"], row["item"], row["skill_id"], row["days"]) for row in rows[:3]] == [
        ("ada", "set-up-fee", "", "1"),
        ("ada", "monthly-fee", "", "10"),
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
    assert {name for name, _ in days(usage(f"--month 2026-12 {flags} --output json"))} == who


@pytest.mark.usefixtures("ten_days")
def test_a_part_of_a_month_and_the_days_of_another_zone(usage: Callable[[str], Ran]) -> None:
    part = days(usage("--from 2026-12-03 --to 2026-12-07 --tenant bea --output json"))
    assert part == {("bea", "monthly-fee"): 3, ("bea", "mail"): 3, ("bea", "wiki"): 3}
    # In Tokyo the 1st is nine hours old at noon in Zurich, and the 11th has begun.
    there = days(usage("--month 2026-12 --tenant ada --time-zone Asia/Tokyo --output json"))
    assert there["ada", "mail"] == 11


@pytest.mark.usefixtures("ten_days")
def test_bounds_are_the_least_and_the_most_that_the_intervals_allow(usage: Callable[[str], Ran]) -> None:
    lines = json.loads(usage("--month 2026-12 --tenant bea --bounds --output json").out)["lines"]
    # Suspended at some time between the passes of the 1st and the 5th.
    assert [(line["item"], line["leastDays"], line["days"], line["mostDays"]) for line in lines] == [
        ("monthly-fee", 1, 5, 5),
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
    asked = f"--month 2026-12 --as-of {as_of}"
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
@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        ("", 2, "--month"),
        ("--month 2026-13", 2, "like 2026-10"),
        ("--month 2026-12 --from 2026-12-01", 2, "--month"),
        ("--from 2026-12-01", 2, "--to"),
        ("--from 2026-12-01 --to 2026-12-32", 2, "--to"),
        ("--from 2026-12-01 --to 2026-12-01", 2, "later day"),
        ("--month 2026-12 --time-zone Zurich", 2, "Europe/Zurich"),
        ("--month 2026-12 --org nobody", 2, "no org"),
        ("--month 2026-12 --tenant nobody", 2, "no tenant"),
        ("--month 2026-12 --corrections", 2, "--as-of"),
        ("--month 2026-12 --as-of yesterday", 2, "RFC 3339"),
        ("--month 2026-12 --as-of 2999-01-01T00:00:00Z", 2, "lies ahead"),
        ("--month 2026-12 --as-of 2000-01-01T00:00:00Z", 1, "no pass"),
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
    ran = usage("--month 2026-12")
    assert ran.status == 1
    assert "schema apply" in ran.err
