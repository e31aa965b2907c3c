"""An archive becomes history, also where the replay is interrupted: nothing is lost, nothing doubled."""

import signal
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import Command
from tests.proofs.replay.__main__ import dumps

NIGHTS = 60

Connection = psycopg.Connection[Any]


def rows(ledger: Connection) -> list[tuple[Any, ...]]:
    return ledger.execute(
        "SELECT tenant_name, skill_id, event_kind, occurred_at, not_before, ordinal, observed_at"
        " FROM tenant_skill_events ORDER BY tenant_name, skill_id, ordinal"
    ).fetchall()


def test_a_replay_that_was_killed_goes_on_where_it_was(
    command: Command, ledger: Connection, tmp_path: Path
) -> None:
    dumps(tmp_path, NIGHTS, tenants=30)
    written = 0
    for passes in (3, 20):
        with command.start("run", "--snapshot", tmp_path, "--output", "json") as process:
            assert process.stdout is not None
            for _ in range(passes):
                assert process.stdout.readline().startswith('{"message"')
            process.send_signal(signal.SIGKILL)
        before, written = written, len(rows(ledger))
        assert before < written
    last = command("run", "--snapshot", tmp_path, "--output", "json")
    assert last.status == 0
    assert 0 < len(last.out.splitlines()) <= NIGHTS - 23
    once = rows(ledger)
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone() == (NIGHTS,)

    assert command("schema", "drop", "--yes").status == 0
    assert len(command("run", "--snapshot", tmp_path, "--output", "json").out.splitlines()) == NIGHTS
    assert rows(ledger) == once
