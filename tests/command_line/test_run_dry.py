"""`reconciler run` without writing: dry, and as statements for psql."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from reconciler.ledger.postgres import WRITE_LOCK
from tests.command_line.runs import FIRST, OBSERVED, SECOND, Ledger, ran
from tests.command_line.snapshots import (
    apply,
    by_psql,
    content,
    row_counts,
    run_by_psql,
    snapshot,
    tenant,
)
from tests.conftest import RECORDINGS, SAMPLES, Command

# Dry


def without_mode(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**report, "message": None, "dryRun": None} for report in reports]


def test_a_dry_run_over_a_chain_prints_what_the_real_run_does(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    apply(ledger_url, FIRST)
    third = snapshot(command.folder, "20261105T000000Z", tenant("alpenklinik-davos", "mail"))
    fourth = snapshot(command.folder, "20261106T000000Z", tenant("neu", "wiki", "mail", suspend=True))
    files = (SECOND, third, fourth, snapshot(command.folder, "20261107T000000Z", tenant("neu")))
    chain = ("--snapshot", *files, "--allow-deletions", "100", "--output", "json")
    before = content(ledger_url)
    dry = ran(command, "--dry-run", *chain).reports
    assert content(ledger_url) == before
    real = ran(command, *chain).reports
    assert len(real) == 4
    assert without_mode(dry) == without_mode(real)
    assert row_counts(ledger)["reconciler_passes"] == 5


def test_a_dry_run_works_before_any_table_exists(command: Command, database: str) -> None:
    reports = [
        ran(command, *dry, "--snapshot", SAMPLES, "--output", "json", RECONCILER_DATABASE_URL=database)
        for dry in (("--dry-run",), ())
        if dry or _tables(database) == 0
    ]
    assert without_mode(reports[0].reports) == without_mode(reports[1].reports)
    assert _tables(database) > 0


def _tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def reader(ledger_url: str) -> Iterator[str]:
    """The URL of a role that may only read."""
    role = f"reader_{uuid4().hex}"
    with psycopg.connect(ledger_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        yield ledger_url.replace("postgres@", f"{role}@", 1)
        owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_that_may_only_read_can_run_dry(command: Command, ledger_url: str, reader: str) -> None:
    apply(ledger_url, FIRST)
    command.settings["RECONCILER_DATABASE_URL"] = reader
    report = ran(command, "--dry-run", "--snapshot", SECOND, "--output", "json").report
    assert len(report["rows"]) == 16
    refused = ran(command, "--snapshot", SECOND, status=1)
    assert len(refused.err.splitlines()) == 1, refused.err


def test_a_dry_run_takes_no_lock(command: Command, ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.execute(WRITE_LOCK)
        ran(command, "--dry-run", "--snapshot", FIRST, "--lock-timeout", "1s")
        done = ran(command, "--snapshot", FIRST, "--lock-timeout", "1s", status=1)
        assert "--lock-timeout" in done.err


# SQL


@pytest.mark.parametrize("case", ["samples", "malformed", "hostile"])
def test_sql_run_by_psql_gives_the_ledger_that_applying_gives(
    command: Command, ledger_url: str, database: str, hostile: list[Path], case: str
) -> None:
    cases: dict[str, tuple[list[Path], list[str], int]] = {
        "samples": ([FIRST, SECOND], [], 0),
        "malformed": ([RECORDINGS / "malformed" / "kubectl-get.json"], ["--observed-at", OBSERVED], 4),
        "hostile": (hostile, ["--allow-deletions", "100"], 0),
    }
    files, arguments, status = cases[case]
    by_sql = Command(command.folder, settings={"RECONCILER_DATABASE_URL": database})
    run_by_psql(command("schema", "print").out, database)
    for file in files:
        ran(command, "--snapshot", file, *arguments, status=status)
        flags = ["--dry-run", "--output", "sql", *arguments]
        planned = ran(by_sql, "--snapshot", file, *flags, status=status)
        assert all(line.isprintable() for line in planned.out.split("\n"))
        run_by_psql(planned.out, database)
    assert content(database) == content(ledger_url)


def test_sql_of_a_whole_chain_runs_at_once(
    command: Command, ledger_url: str, database: str, hostile: list[Path]
) -> None:
    chain: list[str | Path] = ["--snapshot", *hostile, "--allow-deletions", "100"]
    planned = ran(command, "--dry-run", *chain, "--output", "sql")
    ran(command, *chain)
    run_by_psql(command("schema", "print").out + planned.out, database)
    assert content(database) == content(ledger_url)


def test_sql_runs_only_on_the_ledger_it_was_planned_for(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    planned = ran(command, "--dry-run", "--snapshot", FIRST, "--output", "sql").out
    ran(command, "--snapshot", FIRST, "--output", "sql")
    before = row_counts(ledger)
    done = by_psql(planned, ledger_url)
    assert done.returncode != 0
    assert "plan again" in done.stderr
    assert row_counts(ledger) == before


def test_sql_knows_an_older_snapshot_of_the_same_instant(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    def shown(time: str, *skills: str) -> Path:
        return snapshot(command.folder, time, tenant("ada", *skills))

    ran(command, "--snapshot", shown("20251201T000000Z", "mail"))
    older = shown("20251130T235958Z", "mail", "wiki")
    planned = ran(command, "--dry-run", "--snapshot", older, "--output", "sql")
    # Two clocks may differ by a moment: it is written at the last pass's instant.
    ran(command, "--snapshot", older)
    before = row_counts(ledger)
    done = by_psql(planned.out, ledger_url)
    assert "plan again" in done.stderr
    assert row_counts(ledger) == before
