"""Gets out of everything: a rollback, a table that was dropped, a dump that came back in part."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.command_line.snapshots import psql
from tests.conftest import Command, fresh_database
from tests.portal.portal import BEGAN, PHASE_1, Connection, Portal

ELEVEN = (
    "invoice_reminders, invoice_lines, invoices, invoice_number_counters, org_payment_methods,"
    " org_billing_config, skill_pricing, platform_pricing, tenant_suspension_events,"
    " tenant_skill_events, tenant_billing_lifecycle"
)
ROLLBACK = f"DROP TABLE IF EXISTS {ELEVEN} CASCADE"
SOME = (
    "tenant_billing_lifecycle",
    "tenant_skill_events",
    "platform_pricing",
    "invoices",
    "reconciler_passes",
    "reconciler_state",
    "reconciler_schema",
)


@pytest.fixture
def look(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def command(tmp_path: Path, database: str, look: Connection) -> Command:
    """Of a ledger with some rows, which goes on from the portal's."""
    look.execute(PHASE_1["d"].encode())
    portal = Portal(look)
    portal.created("ada", BEGAN, "uid-of-ada")
    portal.switched("ada", "mail", BEGAN)
    command = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})
    done = run(command, 1, "ada", "bea")
    assert done == (0, "")
    return command


def run(command: Command, hours: int, *names: str, dry: bool = False) -> tuple[int, str]:
    from tests.command_line.snapshots import snapshot, tenant

    time = BEGAN + timedelta(days=1, hours=hours)
    tenants = [tenant(name, "mail", org="org-3", created="2026-01-05T00:00:00Z") for name in names]
    file = snapshot(command.folder, time.strftime("%Y%m%dT%H%M%SZ"), *tenants)
    ran = command(
        "run", "--snapshot", file, *(["--dry-run"] if dry else []), RECONCILER_LOG_LEVEL="error"
    )
    return ran.status, ran.err


def test_after_the_rollback_the_schema_is_applied_and_passes_go_on(
    command: Command, look: Connection
) -> None:
    look.execute(ROLLBACK)
    refused = run(command, 2, "ada", "bea")
    assert refused[0] == 2
    assert "tenant_billing_lifecycle: is missing, and the ledger has been here" in refused[1]
    assert "reconciler schema apply" in refused[1]
    assert run(command, 2, "ada", "bea", dry=True) == refused
    applied = command("schema", "apply")
    assert applied.status == 0, applied.err
    assert "tenant_skill_events: is made again, without its rows" in applied.out
    assert run(command, 2, "ada", "bea") == (0, "")
    numbers = look.execute("SELECT min(id) > 1 FROM tenant_billing_lifecycle").fetchone()
    assert numbers == (True,)
    verified = command("verify", "--ledger-only")
    assert verified.status == 5
    assert "pass-counts" in verified.out


@pytest.mark.parametrize("table", SOME)
def test_a_table_that_was_dropped_is_named_by_all_and_made_again_or_asked_back(
    table: str, command: Command, look: Connection
) -> None:
    look.execute(f"DROP TABLE {table} CASCADE".encode())
    is_of_invoices = table.startswith(("invoice", "org_payment"))
    dry = run(command, 2, "ada", "bea", dry=True)
    real = run(command, 2, "ada", "bea")
    assert dry == real
    assert real[0] == (0 if is_of_invoices else 2)
    verified = command("verify", "--ledger-only")
    assert verified.status == 5, verified.err
    assert f"{table}: the table is missing" in verified.out
    applied = command("schema", "apply")
    if table in {"reconciler_passes", "tenant_billing_lifecycle"}:
        assert applied.status == 2
        assert f"{table}: is missing, and" in applied.err
        assert f"pg_restore --table={table}" in applied.err
        assert command("schema", "drop", "--yes").status == 0
        assert command("schema", "apply").status == 0
    else:
        assert applied.status == 0, applied.err
    assert run(command, 3, "ada", "bea") == (0, "")
    again = command("verify", "--ledger-only")
    assert "is missing" not in again.out


@pytest.mark.parametrize(
    ("drop", "told"),
    [
        ("DROP TRIGGER tenant_skill_events_append_only ON tenant_skill_events", "append_only"),
        ("ALTER TABLE tenant_billing_lifecycle DROP COLUMN cluster_uid", "cluster_uid"),
        ("DROP FUNCTION reconciler_fill_org", "reconciler_fill_org"),
        ("DROP INDEX tenant_billing_lifecycle_live_name", "index tenant_billing_lifecycle_live_name"),
        (
            "ALTER TABLE tenant_suspension_events DROP CONSTRAINT tenant_suspension_events_alternates",
            "constraint or index tenant_suspension_events_alternates",
        ),
    ],
)
def test_a_part_of_the_schema_that_is_missing_is_named_by_verify_and_made_again(
    drop: str, told: str, command: Command, look: Connection
) -> None:
    assert command("verify", "--ledger-only").status == 0
    look.execute(drop.encode())
    verified = command("verify", "--ledger-only")
    assert verified.status == 5
    assert "schema-incomplete" in verified.out
    assert told in verified.out
    assert command("schema", "apply").status == 0
    assert "schema-incomplete" not in command("verify", "--ledger-only").out


@pytest.mark.parametrize("how", ["plain", "custom", "data only"])
def test_a_dump_that_is_restored_holds(
    how: str, command: Command, database: str, postgres: str, tmp_path: Path
) -> None:
    programs = Path(psql()).parent

    def do(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [programs / program, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    file = str(tmp_path / "dump")
    for target in fresh_database(postgres, "template0"):
        if how == "plain":
            do("pg_dump", "--file", file, database)
            do("psql", "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-f", file, target)
        elif how == "custom":
            do("pg_dump", "-Fc", "--file", file, database)
            do("pg_restore", "--exit-on-error", "--dbname", target, file)
        else:
            do("pg_dump", "--schema-only", "--file", file, database)
            do("psql", "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-f", file, target)
            do("pg_dump", "-Fc", "--data-only", "--file", file, database)
            do("pg_restore", "--exit-on-error", "--disable-triggers", "--dbname", target, file)
        command.settings["RECONCILER_DATABASE_URL"] = target
        verified = command("verify", "--ledger-only", "--deep")
        assert (verified.status, verified.err) == (0, ""), verified.out
        assert command("schema", "apply").status == 0
        assert run(command, 5, "ada", "bea", "new") == (0, "")
