"""What the catalog does to a statement: policies, rules and triggers that hide rows or drop them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.command_line.snapshots import content, snapshot, tenant
from tests.conftest import Command

Ledger = psycopg.Connection[Any]

EVERY_TABLE = (
    "reconciler_schema",
    "reconciler_passes",
    "tenant_billing_lifecycle",
    "tenant_skill_events",
    "tenant_suspension_events",
    "reconciler_state",
)


@pytest.fixture
def role(command: Command, ledger: Ledger) -> Iterator[str]:
    """One that may do whatever the program does, and owns nothing."""
    name = f"hosted_{uuid4().hex}"
    ledger.execute(f"CREATE ROLE {name} LOGIN".encode())
    flags = [text for kind in ("runner", "reader") for text in (f"--grant-{kind}", name)]
    assert command("schema", "apply", *flags).status == 0
    yield name
    ledger.execute(f"DROP OWNED BY {name}".encode())
    ledger.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def hosted(command: Command, ledger_url: str, role: str, tmp_path: Path) -> Command:
    """The command as that role; two tenants are in the ledger, one of them with skills."""
    command.settings["RECONCILER_DATABASE_URL"] = ledger_url.replace("postgres@", f"{role}@")
    file = snapshot(tmp_path, "20251201T000000Z", tenant("ada", "mail", "wiki"), tenant("bea"))
    assert command("run", "--snapshot", file).status == 0
    return command


def secure(ledger: Ledger, table: str, policy: str = "") -> None:
    ledger.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY".encode())
    if policy:
        ledger.execute(f"CREATE POLICY chosen ON {table} {policy}".encode())


@pytest.mark.parametrize("policy", ["", "FOR SELECT USING (true)", "USING (true) WITH CHECK (true)"])
@pytest.mark.parametrize("table", EVERY_TABLE)
def test_a_pass_does_not_write_by_filtered_rows(
    table: str, policy: str, hosted: Command, ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    before = content(ledger_url)
    secure(ledger, table, policy)
    later = snapshot(tmp_path, "20251202T000000Z", tenant("ada", "mail", suspend=True))
    ran = hosted("run", "--snapshot", later, "--allow-deletions", "1")
    assert (ran.status, ran.out) == (2, "")
    assert "row-level security" in ran.err
    assert table in ran.err
    assert "BYPASSRLS" in ran.err
    assert content(ledger_url) == before


@pytest.mark.parametrize("arguments", [["usage", "--month", "2025-11"], ["history", "ada"]])
def test_a_report_does_not_leave_out_what_a_policy_hides(
    arguments: list[str], hosted: Command, ledger: Ledger
) -> None:
    secure(ledger, "tenant_skill_events")
    ran = hosted(*arguments)
    assert (ran.status, ran.out) == (1, "")
    assert "row-level security" in ran.err


def test_a_dry_run_does_not_plan_a_backfill_over_rows_that_a_policy_hides(
    hosted: Command, ledger: Ledger, tmp_path: Path
) -> None:
    for table in EVERY_TABLE[1:]:
        secure(ledger, table)
    later = snapshot(tmp_path, "20251202T000000Z", tenant("ada", "mail", "wiki"), tenant("bea"))
    ran = hosted("run", "--snapshot", later, "--dry-run")
    assert (ran.status, ran.out) == (2, "")
    assert "row-level security" in ran.err


def test_a_role_that_no_policy_binds_goes_on(
    hosted: Command, ledger: Ledger, role: str, tmp_path: Path
) -> None:
    for table in EVERY_TABLE:
        secure(ledger, table)
    ledger.execute(f"ALTER ROLE {role} BYPASSRLS".encode())
    later = snapshot(tmp_path, "20251202T000000Z", tenant("ada", "mail"), tenant("bea"))
    ran = hosted("run", "--snapshot", later, "--output", "json")
    assert ran.status == 0
    assert ran.report["eventsInserted"] == 1


DROPS = {
    "a trigger keeps a lifecycle from ending": (
        "CREATE TRIGGER a_drop BEFORE UPDATE ON tenant_billing_lifecycle"
        " FOR EACH ROW EXECUTE FUNCTION drop_it()"
    ),
    "a trigger drops events": (
        "CREATE TRIGGER a_drop BEFORE INSERT ON tenant_suspension_events"
        " FOR EACH ROW EXECUTE FUNCTION drop_it()"
    ),
    "a rule keeps the known state": (
        "CREATE RULE a_drop AS ON DELETE TO reconciler_state DO INSTEAD NOTHING"
    ),
    "somebody else removed the known state": "DELETE FROM reconciler_state",
}


@pytest.mark.parametrize("statement", DROPS.values(), ids=DROPS)
def test_a_statement_that_reaches_fewer_rows_than_planned_fails_the_pass(
    statement: str, hosted: Command, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.execute(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    later = snapshot(tmp_path, "20251202T000000Z", tenant("ada", "mail", suspend=True))
    ran_before = ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone()
    if statement.startswith("DELETE"):
        # After the known state was read, as by a pass of another program.
        ledger.execute(
            "CREATE FUNCTION empty_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            " 'BEGIN DELETE FROM reconciler_state; RETURN NEW; END'"
        )
        statement = (
            "CREATE TRIGGER a_drop AFTER INSERT ON reconciler_passes"
            " FOR EACH ROW EXECUTE FUNCTION empty_it()"
        )
    ledger.execute(statement.encode())
    ran = hosted("run", "--snapshot", later, "--allow-deletions", "1")
    assert (ran.status, ran.out) == (1, "")
    assert "instead of" in ran.err
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone() == ran_before
