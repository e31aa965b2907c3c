"""A tenant whose rows the database refuses is quarantined, and stops nobody else."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from reconciler.core.guard import Limits
from reconciler.core.tenant import Snapshot
from reconciler.ledger.postgres import Database
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_watched
from tests.command_line.snapshots import Json, snapshot, tenant
from tests.conftest import Command, Ran
from tests.core.examples import at
from tests.core.examples import snapshot as seen
from tests.core.examples import tenant as shown

Ledger = psycopg.Connection[Any]
RULE = """
ALTER TABLE tenant_skill_events ADD CONSTRAINT no_wiki_for_bea
CHECK (NOT (tenant_name IN ('bea', 'dan') AND skill_id = 'wiki'))
"""


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Any:
    def run(day: int, *tenants: Json) -> Ran:
        file = snapshot(tmp_path, f"202512{day:02}T000000Z", *tenants)
        return command("run", "--snapshot", file, "--output", "json")

    return run


def rows(ran: Ran) -> list[tuple[str, str, str | None]]:
    return [(row["kind"], row["tenantName"], row["skillId"]) for row in ran.report["rows"]]


def names(ledger: Ledger) -> list[str]:
    found = ledger.execute("SELECT tenant_name FROM tenant_billing_lifecycle ORDER BY 1")
    return [name for (name,) in found]


def test_newcomers_that_are_refused_are_quarantined_and_all_others_written(
    run: Any, ledger: Ledger, command: Command
) -> None:
    run(1, tenant("zoe"))
    ledger.execute(RULE.encode())
    everybody = [tenant(name, "wiki") for name in ("ada", "bea", "cleo", "dan", "eva", "fay", "gus")]
    ran = run(2, tenant("zoe"), *everybody)
    assert ran.status == 4, ran.err
    assert [one["tenantName"] for one in ran.report["quarantined"]] == ["bea", "dan"]
    for one in ran.report["quarantined"]:
        assert "no_wiki_for_bea" in one["reason"]
        assert "verify" in one["reason"]
    assert names(ledger) == ["ada", "cleo", "eva", "fay", "gus", "zoe"]
    assert "Traceback" not in ran.err
    # It stays like that until somebody mends it; then nothing is missing, with the first times.
    assert (run(3, tenant("zoe"), *everybody).status, names(ledger)[-1]) == (4, "zoe")
    ledger.execute("ALTER TABLE tenant_skill_events DROP CONSTRAINT no_wiki_for_bea")
    mended = run(4, tenant("zoe"), *everybody)
    assert mended.status == 0
    assert {row["occurredAt"] for row in mended.report["rows"]} == {"2025-11-01T00:00:00Z"}
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_known_tenant_that_is_refused_is_frozen_as_it_was(
    run: Any, ledger: Ledger, command: Command
) -> None:
    run(1, tenant("bea", "mail"), tenant("cleo", "mail"))
    ledger.execute(RULE.encode())
    ran = run(2, tenant("bea", "wiki"), tenant("cleo", "wiki"))
    assert ran.status == 4
    assert rows(ran) == [("enabled", "cleo", "wiki"), ("disabled", "cleo", "mail")]
    assert run(3, tenant("bea", "wiki"), tenant("cleo", "wiki")).status == 4
    ledger.execute("ALTER TABLE tenant_skill_events DROP CONSTRAINT no_wiki_for_bea")
    mended = run(4, tenant("bea", "wiki"), tenant("cleo", "wiki"))
    assert rows(mended) == [("enabled", "bea", "wiki"), ("disabled", "bea", "mail")]
    # Since the last pass that recorded it.
    assert {row["notBefore"] for row in mended.report["rows"]} == {"2025-12-01T00:00:00Z"}
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_deletion_that_is_refused_stops_nobody(run: Any, ledger: Ledger) -> None:
    everybody = [tenant(name) for name in ("ada", "bea", "cleo", "dan", "eva")]
    run(1, *everybody)
    ledger.execute(
        "ALTER TABLE tenant_billing_lifecycle ADD CONSTRAINT bea_stays"
        " CHECK (tenant_name <> 'bea' OR deleted_at IS NULL)"
    )
    ran = run(2, *everybody[2:], tenant("fay"))
    assert ran.status == 4, ran.err
    assert rows(ran) == [("deleted", "ada", None), ("created", "fay", None)]
    assert "bea_stays" in json.dumps(ran.report["quarantined"])


def test_what_nobody_can_be_blamed_for_is_an_error_and_writes_nothing(run: Any, ledger: Ledger) -> None:
    run(1, tenant("ada"))
    ledger.execute("ALTER TABLE reconciler_passes ADD CONSTRAINT no_more CHECK (id < 2)")
    ran = run(2, tenant("ada", "mail"))
    assert (ran.status, ran.out) == (1, "")
    assert "no_more" in ran.err
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchall() == [(1,)]


def test_a_watched_change_that_is_refused_stops_no_other(ledger: Ledger, ledger_url: str) -> None:
    database = Database(ledger_url)
    postgres = PostgresLedger(database)
    postgres.prepare()
    ledger.execute(RULE.encode())

    def change(version: int, name: str) -> Snapshot:
        one = seen([shown(name, name, "wiki", created=at(0))], observed=at(60), version=str(version))
        return replace(one, scope=frozenset({name}), source="watch")

    passes = run_watched([change(5, "ada"), change(6, "bea"), change(7, "cleo")], postgres, Limits())
    database.close()
    assert [[one.name for one in done.plan.quarantined] for done in passes] == [[], ["bea"], []]
    assert names(ledger) == ["ada", "cleo"]
