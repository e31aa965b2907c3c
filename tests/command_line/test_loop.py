"""`reconciler loop` as a process: a pass at once, and at every interval, until it is told to end."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.apiserver import FAULTS, ApiServer, Connection, sent
from tests.conftest import Command
from tests.waiting import PATIENCE, until

TOKEN = "token-of-the-reconciler"
"""Seconds for what takes one when the machine has nothing else to do."""

Process = subprocess.Popen[str]
Ledger = psycopg.Connection[Any]
Start = Callable[..., Process]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(token=TOKEN) as server:
        server.tenants.create("anna", ["mail", "wiki"])
        yield server


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def start(command: Command, kubeconfig: Path) -> Iterator[Start]:
    """Starts a loop over that cluster; one that a failed test leaves behind is killed."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        usual = ("--log-format", "text", "--health-port", "0")
        started.append(command.start("loop", "--kubeconfig", kubeconfig, *usual, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def passes(ledger: Ledger) -> list[datetime]:
    """When the passes over a list that were written asked."""
    rows = ledger.execute("SELECT asked_at FROM reconciler_passes WHERE complete ORDER BY id").fetchall()
    return [asked_at for (asked_at,) in rows]


def lists(server: ApiServer) -> int:
    return sum(map(server.is_list, server.requests))


def end(process: Process) -> tuple[str, str]:
    process.send_signal(signal.SIGTERM)
    return ended(process)


def ended(process: Process) -> tuple[str, str]:
    """What it printed and logged, when it has ended, which must go well."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert TOKEN not in out + err
    return out, err


def errors(log: str) -> list[str]:
    return [line for line in log.splitlines() if " ERROR " in line]


def test_the_first_pass_is_made_at_once(start: Start, ledger: Ledger) -> None:
    loop = start("--interval", "1h")
    until(lambda: passes(ledger))
    assert loop.poll() is None
    out, err = end(loop)
    assert "anna" in out
    assert not errors(err)
    assert len(passes(ledger)) == 1


def test_a_pass_is_made_at_every_interval(start: Start, server: ApiServer, ledger: Ledger) -> None:
    launched = datetime.now(UTC)
    loop = start("--interval", "1s", "--output", "json")
    until(lambda: passes(ledger))
    server.tenants.patch("anna", spec={"packages": ["mail"]})
    until(lambda: len(passes(ledger)) == 4)
    out, err = end(loop)
    assert not errors(err)
    assert passes(ledger)[3] - launched >= timedelta(seconds=3)
    reports = [json.loads(line) for line in out.splitlines()]
    assert len(passes(ledger)) == lists(server)
    # What happened between two of them is a pass of its own.
    assert len(reports) == len(passes(ledger)) + 1
    rows = [[row["kind"] for row in report["rows"]] for report in reports]
    assert [of_a_pass for of_a_pass in rows if of_a_pass] == [
        ["created", "enabled", "enabled"],
        ["disabled"],
    ]


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_pass_in_hand(
    start: Start, server: ApiServer, ledger: Ledger, by: signal.Signals
) -> None:
    answer = threading.Event()

    def slow(connection: Connection, head: bytes, payload: bytes) -> None:
        answer.wait(PATIENCE)
        connection.write(head + payload)

    server.fail(sent(slow))
    loop = start("--interval", "100ms")
    try:
        until(lambda: lists(server))
        loop.send_signal(by)
        time.sleep(0.3)  # in which it would end, or come to its next tick
        assert loop.poll() is None
        assert not passes(ledger)
    finally:
        answer.set()
    out, _ = ended(loop)
    assert "anna" in out
    assert len(passes(ledger)) == lists(server) == 1


def test_passes_that_fail_are_reported_and_the_next_one_is_made(
    start: Start, server: ApiServer, ledger: Ledger
) -> None:
    faults = {"503": "503", "401": "401", "cut": "connection ended", "a uid twice": "twice"}
    for fault in faults:
        server.fail(FAULTS[fault])
    loop = start("--interval", "100ms")
    until(lambda: passes(ledger))
    out, err = end(loop)
    assert "anna" in out
    assert len(errors(err)) == len(faults)
    for line, said in zip(errors(err), faults.values(), strict=True):
        assert said in line


def test_a_token_that_is_renewed_is_used_from_then_on(
    start: Start, server: ApiServer, kubeconfig: Path, ledger: Ledger
) -> None:
    loop = start("--interval", "100ms")
    until(lambda: passes(ledger))
    server.token = "renewed"
    before = len(server.requests)
    until(lambda: len(server.requests) > before)
    server.kubeconfig(kubeconfig)
    made = len(passes(ledger))
    until(lambda: len(passes(ledger)) > made)
    _, err = end(loop)
    assert "renewed" not in err
    assert "401" in errors(err)[0]
    assert all("401" in line or "kubeconfig" in line for line in errors(err))


def test_it_outlives_a_database_that_is_away_for_a_while(
    start: Start, postgres: str, ledger: Ledger, ledger_url: str
) -> None:
    name = conninfo_to_dict(ledger_url)["dbname"]
    loop = start("--interval", "100ms")
    until(lambda: passes(ledger))
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name = 'reconciler'",
            (name,),
        )
        told = [next_error(loop), next_error(loop)]
        away = len(passes(ledger))
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert all(f"database {name}" in line for line in told)
    until(lambda: len(passes(ledger)) > away)
    end(loop)


def next_error(process: Process) -> str:
    assert process.stderr is not None
    return next(line for line in process.stderr if " ERROR " in line)


@pytest.mark.parametrize(
    "flag", [["--allow-deletions", "9"], ["--adopt-cluster"], ["--rebind"], ["--reopen", "anna"]]
)
def test_it_takes_no_permission_that_is_given_once(command: Command, flag: list[str]) -> None:
    done = command("loop", *flag)
    assert done.status == 2
    assert flag[0] in done.err


def test_wrong_settings_end_it_before_the_first_pass(command: Command, server: ApiServer) -> None:
    done = command("loop", "--interval", "soon")
    assert done.status == 2
    assert "--interval" in done.err
    assert not server.requests


@pytest.mark.parametrize("content", [None, "hello", "clusters: []"])
def test_without_a_usable_kubeconfig_it_ends_as_a_run_does(
    content: str | None, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content)
    usual = ("--kubeconfig", file, "--health-port", "0")
    ended, ran = command("loop", *usual), command("run", *usual[:2])
    assert (ended.status, ran.status) == (2, 2)
    assert ended.err.splitlines()[-1] == ran.err.splitlines()[-1]
    assert str(file) in ended.err
