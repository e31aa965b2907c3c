"""Writing a pass: in a fixed number of statements, all of it or nothing, one writer at a time."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.ledger.postgres import WRITE_LOCK
from tests.command_line.snapshots import WRITTEN_BY_A_PASS, Json, apply, row_counts, snapshot, tenant
from tests.conftest import SAMPLES, Command
from tests.waiting import PATIENCE, until

Connection = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"


# How much is asked of the database ------------------------------------------------------------------


def many(count: int, *skills: object, created: str = "2026-11-01T00:00:00Z", **more: Any) -> list[Json]:
    return [
        tenant(f"tenant-{number}", *skills, uid=f"{created}-{number}", created=created, **more)
        for number in range(count)
    ]


@pytest.fixture
def statements(ledger: Connection) -> Callable[[Callable[[], object]], list[str]]:
    """Runs something, and tells what the server was asked meanwhile, by its own log."""
    ledger.execute(
        "DO $$ BEGIN EXECUTE format("
        "'ALTER DATABASE %I SET log_statement = %L', current_database(), 'all'); END $$"
    )
    row = ledger.execute("SHOW data_directory").fetchone()
    assert row is not None
    log = Path(row[0]).parent / "postgres.log"

    def meanwhile(run: Callable[[], object]) -> list[str]:
        before = log.stat().st_size
        run()
        added = log.read_bytes()[before:].decode()
        return re.findall(r"LOG:  (?:statement|execute [^:]*): (.*)", added)

    return meanwhile


def test_a_pass_asks_the_same_number_of_times_whatever_its_size(
    command: Command, statements: Callable[[Callable[[], object]], list[str]]
) -> None:
    """A backfill; all change; none can be read; all are replaced; nothing happens."""
    histories: dict[int, list[Path]] = {}
    for size in (5, 250):
        again = many(size, "wiki", created="2026-11-04T12:00:00Z")
        histories[size] = [
            snapshot(command.folder / str(size), f"2026110{day}T000000Z", *tenants)
            for day, tenants in (
                (2, many(size, "mail", "crm", suspend=True)),
                (3, many(size, "mail", "wiki", suspend=False)),
                (4, many(size, "mail", 7)),
                (5, again),
                (6, again),
            )
        ]
    arguments = ("--allow-deletions", "1000", "--quarantine-exit", "0", "--output", "json")
    asked: dict[int, list[int]] = {size: [] for size in histories}
    for size, files in histories.items():
        for file in files:
            done = statements(
                lambda file=file: _is_done(command("run", "--snapshot", file, *arguments).status)  # type: ignore[misc]
            )
            asked[size].append(len(done))
        assert command("schema", "drop", "--yes").status == 0
        assert command("schema", "apply").status == 0
    assert asked[5] == asked[250]
    assert max(asked[250]) < 40


def _is_done(status: int) -> None:
    assert status == 0


def test_a_dry_run_asks_within_a_read_only_transaction(
    command: Command, statements: Callable[[Callable[[], object]], list[str]]
) -> None:
    asked = statements(lambda: command("run", "--dry-run", "--snapshot", FIRST))
    begun = [statement for statement in asked if statement.startswith("BEGIN")]
    assert begun
    assert all("READ ONLY" in statement for statement in begun)


# Killed, cut off, and made at once -------------------------------------------------------------------


@contextmanager
def stopped_at(
    command: Command, ledger: Connection, table: str, *arguments: str | Path
) -> Iterator["subprocess.Popen[str]"]:
    """A pass that waits for this table, with everything before it written but not committed."""
    with ledger.transaction():
        ledger.execute(f"LOCK TABLE {table} IN SHARE MODE".encode())
        process = command.start("run", *arguments)
        try:
            wait_for_lock(ledger)
            yield process
        finally:
            process.kill()
            process.communicate()
    wait_until_alone(ledger)


def wait_for_lock(ledger: Connection, sessions: int = 1) -> None:
    waiting = (
        "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE NOT granted AND datname = current_database()"
    )
    until(lambda: ledger.execute(waiting).fetchone() == (sessions,))


def wait_until_alone(ledger: Connection) -> None:
    others = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    until(lambda: ledger.execute(others).fetchone() == (0,))


@pytest.mark.parametrize("table", WRITTEN_BY_A_PASS)
def test_a_pass_killed_anywhere_leaves_nothing(
    command: Command, ledger: Connection, ledger_url: str, table: str
) -> None:
    apply(ledger_url, FIRST)
    before = row_counts(ledger)
    with stopped_at(command, ledger, table, "--snapshot", SECOND) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert row_counts(ledger) == before
    assert command("run", "--snapshot", SECOND, "--output", "json").report["lifecycleInserted"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pass_told_to_end_leaves_nothing_and_says_so(
    command: Command, ledger: Connection, number: signal.Signals
) -> None:
    with stopped_at(command, ledger, "reconciler_state", "--snapshot", FIRST) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode not in (0, 2, 3, 4)
    assert (out, len(err.splitlines())) == ("", 1)
    assert "Traceback" not in err
    assert set(row_counts(ledger).values()) == {0}


def test_a_pass_cut_off_from_the_database_leaves_nothing_and_says_so(
    command: Command, ledger: Connection
) -> None:
    with stopped_at(command, ledger, "reconciler_state", "--snapshot", FIRST) as process:
        ledger.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, len(err.splitlines())) == (1, "", 1)
    assert set(row_counts(ledger).values()) == {0}


def test_passes_at_once_end_in_one_backfill(command: Command, ledger: Connection) -> None:
    with ledger.transaction():
        ledger.execute(WRITE_LOCK)
        passes = [command.start("run", "--snapshot", FIRST, "--output", "json") for _ in range(3)]
        wait_for_lock(ledger, sessions=3)
    done = [(process, *process.communicate(timeout=PATIENCE)) for process in passes]
    assert [process.returncode for process, _, _ in done] == [0, 0, 0], [err for _, _, err in done]
    assert sorted('"lifecycleInserted":8' in out for _, out, _ in done) == [False, False, True]
    assert row_counts(ledger) == {
        "reconciler_passes": 3,
        "tenant_billing_lifecycle": 8,
        "tenant_skill_events": 19,
        "tenant_suspension_events": 1,
        "reconciler_state": 8,
    }


def test_an_older_snapshot_that_waited_for_a_newer_one_is_refused(
    command: Command, ledger: Connection, ledger_url: str
) -> None:
    """The fence is looked at under the lock, not before."""
    apply(ledger_url, FIRST)
    late = command.folder / "tenants-20261103T000000Z.json"
    late.write_bytes(FIRST.read_bytes())
    with ledger.transaction():
        ledger.execute(WRITE_LOCK)
        newer = command.start("run", "--snapshot", SECOND)
        wait_for_lock(ledger, sessions=1)
        older = command.start("run", "--snapshot", late)
        wait_for_lock(ledger, sessions=2)
    newer.communicate(timeout=PATIENCE)
    _, err = older.communicate(timeout=PATIENCE)
    assert (newer.returncode, older.returncode) == (0, 3)
    assert late.name in err
    assert row_counts(ledger)["reconciler_passes"] == 2
