"""Results that nobody gets: a full disk, and a pipe whose reader has gone."""

import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command

Ledger = psycopg.Connection[Any]

COMMANDS = {
    "run": ["run", "--snapshot", "{}", "--output", "json"],
    "run as text": ["run", "--snapshot", "{}"],
    "run as SQL": ["run", "--dry-run", "--snapshot", "{}", "--output", "sql"],
    "verify": ["verify", "--ledger-only"],
    "usage": ["usage", "--month", "2026-11"],
    "usage as CSV": ["usage", "--month", "2026-11", "--output", "csv"],
    "history": ["history", "ada"],
    "coverage": ["coverage"],
    "pricing": ["pricing", "show"],
    "org": ["org", "list"],
    "schema print": ["schema", "print"],
    "schema apply": ["schema", "apply"],
}


def ended(command: Command, arguments: list[str], stdout: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*command.program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=command.folder,
        env=command.environment(),
        check=False,
    )


@pytest.fixture
def later(command: Command, tmp_path: Path) -> str:
    """A snapshot that is to be read; what was there before is in the ledger."""
    first = snapshot(tmp_path, "20261101T000000Z", tenant("ada", "mail"))
    assert command("run", "--snapshot", first).status == 0
    return str(snapshot(tmp_path, "20261102T000000Z", tenant("ada", "mail", "wiki")))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_report_that_finds_no_room_fails_the_command(name: str, command: Command, later: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = ended(command, [text.format(later) for text in COMMANDS[name]], full.fileno())
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "No space left on device" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_whose_reader_has_gone_fails_it_without_a_word(
    name: str, command: Command, later: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = ended(command, [text.format(later) for text in COMMANDS[name]], writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_passes_after_one_that_could_not_be_printed_are_made(
    command: Command, ledger: Ledger, tmp_path: Path
) -> None:
    files = [snapshot(tmp_path, f"2026110{day}T000000Z", tenant("ada")) for day in (1, 2, 3)]
    with Path("/dev/full").open("wb") as full:
        done = ended(command, ["run", "--snapshot", *map(str, files)], full.fileno())
    assert done.returncode == 1
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone() == (3,)
