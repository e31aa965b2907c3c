"""A month is ready or says why not; closed, it stays as it was, and later changes are told."""

# ruff: noqa: S608 - the names in these statements are our own

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import Json, snapshot, tenant
from tests.conftest import Command, Ran

Ledger = psycopg.Connection[Any]
Run = Callable[..., None]

CREATED = "2026-03-01T12:00:00Z"
PRICES = """
UPDATE platform_pricing SET tenant_monthly_fee_chf = 49, tenant_setup_fee_chf = 199;
INSERT INTO skill_pricing VALUES ('mail', 0.33333), ('wiki', 0.5)
"""


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Run:
    """A pass over tenants at noon of a day of 2026, like 0301."""

    def run(day: str, *tenants: Json, flags: str = "", words: str = "run", status: int = 0) -> None:
        file = snapshot(tmp_path, f"2026{day}T120000Z", *tenants)
        ran = command(*words.split(), "--snapshot", file, *flags.split())
        assert ran.status == status, ran.err

    return run


def unreadable(resource: Json) -> Json:
    return {**resource, "spec": {"packages": "mail"}}


def changed(resource: Json, at: str, *packages: str) -> Json:
    """With other skills since then, as its managedFields tell."""
    return {**noted(resource, at, {"f:spec": {"f:packages": {}}}), "spec": {"packages": [*packages]}}


def relabelled(resource: Json, at: str, org: str) -> Json:
    """Under another org since then, as its managedFields tell."""
    label = "pieced.ch/zitadel-org-id"
    shown = noted(resource, at, {"f:metadata": {"f:labels": {f"f:{label}": {}}}})
    return {**shown, "metadata": {**shown["metadata"], "labels": {label: org}}}


def noted(resource: Json, at: str, owned: Json) -> Json:
    entry = {
        "manager": "portal",
        "operation": "Update",
        "apiVersion": resource["apiVersion"],
        "fieldsType": "FieldsV1",
        "time": at,
        "fieldsV1": owned,
    }
    return {**resource, "metadata": {**resource["metadata"], "managedFields": [entry]}}


ADA = tenant("ada", "mail", created=CREATED)
BEA = tenant("bea", "mail", created=CREATED, org="org-2")
CLEO = tenant("cleo", "wiki", created=CREATED)


def told(ran: Ran, status: int = 0) -> Any:
    assert ran.status == status, ran.err
    return json.loads(ran.out)


# Ready -------------------------------------------------------------------------------------------


def test_a_month_that_was_not_observed_to_its_end_is_not_ready(command: Command, run: Run) -> None:
    run("0302", ADA)
    run("0330", ADA)
    usage = told(command("usage", "--month", "2026-03", "--strict", "--output", "json"), status=3)
    assert usage["isReady"] is False
    assert usage["doubts"][0]["kind"] == "not-over"
    # 30 of 31 days: they are printed all the same.
    assert [one["days"] for one in usage["lines"]] == [1, 30, 30]
    ran = command("usage", "--month", "2026-03", "--strict")
    assert "Not ready to be billed:" in ran.out
    assert "all tenants were last seen at 2026-03-30T12:00:00Z; a pass after its end" in ran.out
    refused = command("close", "2026-03", "--in-doubt")
    assert (refused.status, refused.out) == (3, "")
    assert "not ready to be closed: it ends at 2026-03-31T22:00:00Z" in refused.err


def test_once_a_pass_looked_after_its_end_it_is(command: Command, run: Run) -> None:
    run("0302", ADA)
    run("0331", ADA)
    run("0401", ADA)
    usage = told(command("usage", "--month", "2026-03", "--strict", "--output", "json"))
    assert usage["isReady"] is True
    # Ada's skill may have been switched on as late as the first pass, a day after her creation.
    assert {one["kind"] for one in usage["doubts"]} == {"gap", "days"}
    out = command("usage", "--month", "2026-03").out
    assert (
        "Ready to be billed\nIn doubt: 3 gaps in which changes may be missing, the longest 696.0 hours"
        in out
    )
    quiet = command("usage", "--month", "2026-03", "--coverage-gap", "8760h").out
    assert "gap" not in quiet


def test_quarantined_and_held_tenants_are_named_until_they_are_decided(
    command: Command, run: Run
) -> None:
    many = [tenant(f"t{number}", "mail", created=CREATED) for number in range(12)]
    run("0302", ADA, BEA, *many)
    run("0330", unreadable(ADA), BEA, *many, status=4)
    run("0401", unreadable(ADA), BEA, status=3)
    kinds = told(command("usage", "--month", "2026-03", "--output", "json"))["doubts"]
    blocking = [(one["kind"], one["tenantName"]) for one in kinds if not one["isReady"]]
    assert blocking == [
        *(("held", name) for name in sorted(f"t{n}" for n in range(12))),
        ("quarantined", "ada"),
    ]
    refused = command("close", "2026-03")
    assert refused.status == 3
    assert "ada is quarantined" in refused.err
    assert "the deletion of t0 is held back" in refused.err
    # Of another organisation nothing is in doubt.
    assert command("usage", "--month", "2026-03", "--org", "org-2", "--strict").status == 0
    assert command("usage", "--month", "2026-03", "--tenant", "t0", "--strict").status == 3
    run("0402", ADA, BEA, *many)
    assert command("usage", "--month", "2026-03", "--strict").status == 0


def test_a_tenant_that_was_quarantined_only_later_leaves_the_month_ready(
    command: Command, run: Run
) -> None:
    run("0302", ADA)
    run("0401", ADA)
    run("0402", unreadable(ADA), status=4)
    assert command("usage", "--month", "2026-03", "--strict").status == 0
    assert command("usage", "--month", "2026-03", "--as-of-pass", "3", "--strict").status == 0


def test_rows_whose_interval_crosses_a_day_and_skills_without_a_price_are_told(
    command: Command, run: Run, ledger: Ledger
) -> None:
    ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49")
    run("0302", ADA)
    run("0310", tenant("ada", created=CREATED))
    run("0401", tenant("ada", created=CREATED))
    usage = told(command("usage", "--month", "2026-03", "--prices", "--output", "json"))
    doubts = [one for one in usage["doubts"] if one["kind"] != "gap"]
    assert [(one["kind"], one["skillId"]) for one in doubts] == [("unpriced", "mail"), ("days", "mail")]
    assert (doubts[1]["leastDays"], doubts[1]["mostDays"]) == (1, 10)
    assert "In doubt: the days of 1 line" in command("usage", "--month", "2026-03").out


# Closed ------------------------------------------------------------------------------------------


def test_a_close_records_position_digest_prices_and_totals(
    command: Command, run: Run, ledger: Ledger
) -> None:
    run("0302", ADA, BEA)
    run("0401", ADA, BEA)
    ledger.execute(PRICES)
    close = told(command("close", "2026-03", "--by", "Anna", "--output", "json"))
    assert (close["revision"], close["zitadelOrgId"], close["closedBy"]) == (1, None, "Anna")
    assert (close["periodStart"], close["periodEnd"]) == ("2026-03-01", "2026-04-01")
    assert close["observedUntil"] == "2026-04-01T12:00:00Z"
    ((digest, position),) = ledger.execute(
        "SELECT encode(digest, 'hex'), billing_position() FROM reconciler_digests WHERE pass_id = 2"
    ).fetchall()
    assert (close["digest"], close["asOfPass"]) == (digest, position)
    # 199 + 49 + 31 * 0.33333, of each.
    assert close["totals"] == [
        {
            "zitadelOrgId": org,
            "month": "2026-03",
            "vatRateChli": "8.10",
            "netChf": "258.33",
            "vatChf": "20.92",
            "grossChf": "279.25",
            "netBeforeChf": None,
        }
        for org in ("org-1", "org-2")
    ]
    ((prices, doubts),) = ledger.execute("SELECT prices, doubts FROM reconciler_closes").fetchall()
    assert {(one["column"], one["skillId"], one["value"]) for one in prices} >= {
        ("tenant_monthly_fee_chf", None, "49.00"),
        ("daily_price_chf", "mail", "0.33333"),
        ("vat_rate_chli", None, "8.10"),
    }
    assert {one["kind"] for one in doubts} == {"gap", "days"}
    again = command("close", "2026-03")
    assert "closed as revision 2 at position" in again.out
    assert "What changed since revision 1\nNothing\n" in again.out
    of_one = told(command("close", "2026-03", "--org", "org-2", "--output", "json"))
    assert (of_one["revision"], [one["zitadelOrgId"] for one in of_one["totals"]]) == (1, ["org-2"])


def test_what_is_on_record_stays(command: Command, run: Run, ledger: Ledger) -> None:
    run("0302", ADA)
    run("0401", ADA)
    assert command("close", "2026-03").status == 0
    for table in ("reconciler_closes", "reconciler_close_totals"):
        for statement in (
            f"UPDATE {table} SET zitadel_org_id = 'x'",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            with pytest.raises(psycopg.errors.RestrictViolation):
                ledger.execute(statement.encode())


def test_the_revisions_explain_every_rappen_of_the_difference(
    command: Command, run: Run, ledger: Ledger
) -> None:
    """A withdrawn deletion, a late change, a move and an earlier price: all recorded after the close."""
    dora = tenant("dora", "mail", created=CREATED, org="org-2")
    moved = relabelled(BEA, "2026-03-24T09:00:00Z", "org-3")
    run("0302", ADA, BEA, CLEO, dora)
    run("0320", ADA, BEA, dora)  # cleo is taken for deleted
    run("0325", ADA, moved, unreadable(dora), status=4)
    run("0401", ADA, moved, unreadable(dora), status=4)
    ledger.execute(PRICES)
    first = told(command("close", "2026-03", "--in-doubt", "--output", "json"))
    since = ("usage", "--month", "2026-03", "--corrections", "--since-close", "--output", "json")
    assert told(command(*since))["corrections"] == []

    late = changed(dora, "2026-03-28T09:00:00Z", "mail", "wiki")
    run("0406", ADA, moved, CLEO, late, flags="--reopen cleo", status=4)
    run("0407", ADA, moved, CLEO, late, words="org move bea")
    ran = command("pricing", "set", "--tenant-monthly-fee-chf", "62", "--from", "2026-03-16")
    assert "closed months with days at the new price: 2026-03" in ran.out
    found = told(command(*since))
    assert found["sinceRevision"] == 1
    second = told(command("close", "2026-03", "--output", "json"))

    assert second["corrections"] == found["corrections"]
    days = {
        (one["zitadelOrgId"], one["tenantName"], one["item"], one["skillId"]): (
            one["daysBefore"],
            one["daysNow"],
        )
        for one in found["corrections"]
    }
    assert days == {
        ("org-1", "ada", "monthly_fee", None): (31, 31),
        ("org-1", "cleo", "monthly_fee", None): (20, 31),
        ("org-1", "cleo", "skill", "wiki"): (20, 31),
        ("org-2", "bea", "monthly_fee", None): (31, 23),
        ("org-2", "bea", "skill", "mail"): (31, 23),
        ("org-2", "dora", "monthly_fee", None): (31, 31),
        ("org-2", "dora", "skill", "wiki"): (0, 4),
        ("org-3", "bea", "monthly_fee", None): (0, 8),
        ("org-3", "bea", "skill", "mail"): (0, 8),
    }
    before = {one["zitadelOrgId"]: one["netChf"] for one in first["totals"]}
    for now in second["totals"]:
        assert now["netBeforeChf"] == before.get(now["zitadelOrgId"], "0.00")
        difference = Decimal(now["netChf"]) - Decimal(now["netBeforeChf"])
        assert difference == sum(
            Decimal(one["amountNowChf"]) - Decimal(one["amountBeforeChf"])
            for one in found["corrections"]
            if one["zitadelOrgId"] == now["zitadelOrgId"]
        )
        assert difference != 0
    # The first revision can be had again, to the byte.
    at_first = ("usage", "--month", "2026-03", "--prices", "--as-of-pass", str(first["asOfPass"]))
    totals = told(command(*at_first, "--output", "json"))["totals"]
    assert [one["netChf"] for one in totals] == [one["netChf"] for one in first["totals"]]
    assert told(command(*since))["corrections"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("close", "2026-13"), 2, "a month like 2026-10"),
        (("close", "2026-03", "--org", "nobody"), 2, "no org"),
        (("close", "2026-03", "--time-zone", "Zurich"), 2, "no time zone"),
        (("usage", "--month", "2026-02", "--corrections", "--since-close"), 2, "it was not closed"),
        (("usage", "--month", "2026-03", "--since-close"), 2, "--corrections"),
        (
            ("usage", "--month", "2026-03", "--corrections", "--since-close", "--as-of", "now"),
            2,
            "without --as-of",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    command: Command, run: Run, arguments: tuple[str, ...], status: int, reason: str
) -> None:
    run("0302", ADA)
    ran = command(*arguments)
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (status, "", 1)
    assert reason in ran.err
