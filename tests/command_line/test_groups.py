"""`usage` added up, and written for a spreadsheet."""

import csv
import io
import re
import zipfile
from decimal import Decimal

import pytest

from tests.conftest import CHECKOUT, Command
from tests.reports.ledgers import MONTH, fill

USAGE = ("usage", "--month", MONTH, "--prices")


@pytest.fixture
def asked(command: Command, ledger_url: str) -> Command:
    """Forty tenants of seven organisations, some with names that mean harm."""
    names = ("=HYPERLINK('x')", "+1", "-1", "@cmd", "tab\tand", "tab\\tand")
    fill(ledger_url, tenants=40, orgs=7, names=names)
    assert command("org", "set", "org-3", "--name", "Käserei; Söhne").status == 0
    return command


@pytest.mark.parametrize("by", ["org", "tenant", "skill", "month"])
def test_groups_add_up_to_the_lines(asked: Command, by: str) -> None:
    lines = asked(*USAGE, "--output", "json").report["lines"]
    report = asked(*USAGE, "--by", by, "--output", "json").report
    groups = report["groups"]
    total = sum(Decimal(line["amountChf"]) for line in lines)
    of_skills = sum(Decimal(line["amountChf"]) for line in lines if line["item"] == "skill")
    assert sum(Decimal(one["amountChf"]) for one in groups) == (of_skills if by == "skill" else total)
    assert Decimal(report["total"]["amountChf"]) == total
    assert sum(one["skillDays"] for one in groups) == report["total"]["skillDays"]
    key = {"org": "zitadelOrgId", "tenant": "tenantName", "skill": "skillId", "month": "month"}[by]
    assert [one["key"] for one in groups] == sorted({line[key] for line in lines if line[key]})


def test_by_day_counts_what_the_lines_count(asked: Command) -> None:
    lines = asked(*USAGE, "--output", "json").report["lines"]
    report = asked("usage", "--month", MONTH, "--by", "day", "--output", "json").report
    assert len(report["groups"]) == 31
    fees = sum(line["days"] for line in lines if line["item"] == "monthly_fee")
    skills = sum(line["days"] for line in lines if line["item"] == "skill")
    assert sum(one["tenantDays"] for one in report["groups"]) == fees == report["total"]["tenantDays"]
    assert sum(one["skillDays"] for one in report["groups"]) == skills
    of_one = asked("usage", "--month", MONTH, "--by", "day", "--org", "org-3", "--output", "json").report
    assert 0 < of_one["groups"][0]["tenants"] < report["groups"][0]["tenants"]


def test_the_highest_come_first_and_the_total_counts_all(asked: Command) -> None:
    flags = (*USAGE, "--by", "tenant", "--sort", "amount", "--top", "5")
    report = asked(*flags, "--output", "json").report
    amounts = [Decimal(one["amountChf"]) for one in report["groups"]]
    assert amounts == sorted(amounts, reverse=True)
    assert (len(amounts), report["hidden"]) == (5, 35)
    assert Decimal(report["total"]["amountChf"]) > sum(amounts)
    text = asked(*flags).out
    assert "… and 35 more" in text
    assert "In doubt" in text
    by_org = asked(*USAGE, "--by", "org").out
    assert "org-3  Käserei; Söhne" in by_org


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--sort", "days"), "give --by"),
        (("--by", "org", "--top", "0"), "expected 1 or more"),
        (("--by", "day", "--sort", "amount"), "not told by day"),
        (("--by", "org", "--corrections", "--as-of", "2025-10-05"), "--corrections tells differences"),
        (("--bom",), "give --output csv"),
    ],
)
def test_what_makes_no_sense_is_exit_2(asked: Command, flags: tuple[str, ...], told: str) -> None:
    done = asked(*USAGE, *flags)
    assert (done.status, done.out) == (2, "")
    assert told in done.err


def test_csv_for_excel_in_a_swiss_locale_and_text_that_stays_text(asked: Command) -> None:
    totals = asked.folder / "totals.csv"
    flags = ("--output", "csv", "--separator", "semicolon", "--decimal", "comma", "--bom")
    out = asked(*USAGE, *flags, "--totals", totals).out
    assert out.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(out.removeprefix("\ufeff")), delimiter=";"))
    names = {row["tenant_name"] for row in rows}
    assert {"'=HYPERLINK('x')", "'+1", "'-1", "'@cmd", "tab\\tand", "tab\\\\tand"} <= names
    assert any(re.fullmatch(r"\d+,\d\d", row["amount_chf"]) for row in rows)
    assert {row["doubts"] for row in rows} >= {"days gap", "days gap unpriced"}
    told = list(csv.DictReader(io.StringIO(totals.read_text("utf-8-sig")), delimiter=";"))
    gross = asked(*USAGE, "--output", "json").report["totals"]
    assert [one["gross_chf"].replace(",", ".") for one in told] == [one["grossChf"] for one in gross]
    assert {one["as_of_pass"] for one in told} == {
        str(asked(*USAGE, "--output", "json").report["asOfPass"])
    }


def test_a_workbook_has_the_lines_the_totals_and_the_position_and_no_formula(asked: Command) -> None:
    file = asked.folder / "usage.xlsx"
    file.write_bytes(asked(*USAGE, "--output", "xlsx").raw)
    with zipfile.ZipFile(file) as opened:
        sheets = [opened.read(f"xl/worksheets/sheet{number}.xml").decode() for number in (1, 2, 3)]
        texts = opened.read("xl/sharedStrings.xml").decode()
        assert 'name="Lines"' in opened.read("xl/workbook.xml").decode()
    assert "<f>" not in "".join(sheets)
    assert "=HYPERLINK('x')" in texts
    assert "ready to be billed" in texts


QUESTIONS = re.findall(
    r"^\| .+ \| `(reconciler [^`]+)` \|$",
    (CHECKOUT / "schema" / "FINANCE.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_the_page_for_finance_has_commands() -> None:
    assert len(QUESTIONS) >= 15


@pytest.mark.parametrize("line", QUESTIONS)
def test_every_command_of_the_page_for_finance_answers(asked: Command, line: str) -> None:
    words = line.partition(" > ")[0].split()[1:]
    ours = {
        "2026-10": MONTH,
        "2026-10-01": f"{MONTH}-01",
        "2026-10-14": f"{MONTH}-14",
        "2026-11-01": "2025-11-01",
        "2026-01-01": "2025-01-01",
        "2027-01-01": "2026-01-01",
        "320815470900000001": "org-1",
        "bergbahn-arosa": "tenant-00007",
    }
    if "--since-close" in words:
        assert asked("close", MONTH).status == 0
    done = asked(*(ours.get(word, word) for word in words))
    assert done.status == 0, done.err
    assert done.raw or "--output" in words
