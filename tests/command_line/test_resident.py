"""The loop as an operator meets it: who leads, how it is, what it logs, and how it ends."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest

from tests.apiserver import ApiServer
from tests.command_line.test_loop import Start, lists, passes
from tests.conftest import Command
from tests.waiting import PATIENCE, until

Ledger = psycopg.Connection[Any]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(token="token-of-the-loop") as server:
        server.tenants.create("anna", ["mail", "wiki"])
        yield server


@pytest.fixture
def start(command: Command, server: ApiServer, tmp_path: Path) -> Iterator[Start]:
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    started: list[Any] = []

    def start(*arguments: str) -> Any:
        started.append(command.start("loop", "--kubeconfig", kubeconfig, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def free_port() -> int:
    with closing(socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def rows(ledger: Ledger) -> list[tuple[Any, ...]]:
    return ledger.execute(
        "SELECT event_kind, skill_id FROM tenant_skill_events WHERE skill_id = 'crm' ORDER BY ordinal"
    ).fetchall()


def test_what_is_switched_on_and_off_between_two_ticks_is_recorded(
    start: Start, server: ApiServer, ledger: Ledger
) -> None:
    start("--watch", "--interval", "1h", "--health-port", "0")
    server.watches.wait_for(1)
    server.tenants.patch("anna", spec={"packages": ["mail", "wiki", "crm"]})
    server.tenants.patch("anna", spec={"packages": ["mail", "wiki"]})
    until(lambda: len(rows(ledger)) == 2)
    assert rows(ledger) == [("enabled", "crm"), ("disabled", "crm")]
    assert lists(server) == 1


def test_what_happened_while_it_was_down_is_seen_one_by_one(
    start: Start, server: ApiServer, ledger: Ledger
) -> None:
    loop = start("--watch", "--interval", "1h", "--health-port", "0")
    server.watches.wait_for(1)
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(20) == 0
    server.tenants.patch("anna", spec={"packages": ["mail", "wiki", "crm"]})
    server.tenants.patch("anna", spec={"packages": ["mail", "wiki"]})
    server.tenants.create("berta", ["crm"])
    server.tenants.delete("berta")
    start("--watch", "--interval", "1h", "--health-port", "0")
    until(lambda: len(rows(ledger)) == 3)
    assert sorted(rows(ledger)) == [("disabled", "crm"), ("enabled", "crm"), ("enabled", "crm")]
    lives = "SELECT count(*), count(deleted_at) FROM tenant_billing_lifecycle"
    until(lambda: ledger.execute(lives.encode()).fetchone() == (2, 1))


def test_of_two_replicas_one_makes_the_passes_and_the_other_takes_over(
    start: Start, server: ApiServer, ledger: Ledger
) -> None:
    usual = ("--interval", "200ms", "--log-format", "text", "--health-port", "0")
    first = start(*usual)
    until(lambda: passes(ledger))
    port = free_port()
    start(*usual[:-1], str(port))
    until(lambda: asked(port, "/readyz")[0] == 200)
    before, listed = len(passes(ledger)), lists(server)
    until(lambda: len(passes(ledger)) > before + 3)
    # One pass a list: nobody lists for nothing.
    assert 0 <= (lists(server) - listed) - (len(passes(ledger)) - before) <= 1
    assert "reconciler_leader 0.0" in asked(port, "/metrics")[1]
    first.kill()
    until(lambda: "reconciler_leader 1.0" in asked(port, "/metrics")[1])
    taken = len(passes(ledger))
    until(lambda: len(passes(ledger)) > taken)


def test_it_tells_how_it_is(start: Start, server: ApiServer) -> None:
    port = free_port()
    start("--watch", "--interval", "1h", "--health-port", str(port), "--ready-within", "2s")
    until(lambda: asked(port, "/readyz") == (200, "ready\n"))
    assert asked(port, "/livez") == (200, "live\n")
    assert asked(port, "/")[0] == 404
    server.watches.wait_for(1)
    server.tenants.patch("anna", spec={"packages": []})
    until(lambda: 'rows_written_total{kind="disabled"} 2.0' in asked(port, "/metrics")[1])
    metrics = asked(port, "/metrics")[1]
    for line in (
        "reconciler_tenants_live 1.0",
        'reconciler_passes_total{outcome="written"} 2.0',
        'reconciler_rows_written_total{kind="created"} 1.0',
        "reconciler_change_to_commit_seconds_count 1.0",
        'reconciler_phase_duration_seconds_count{phase="gather"} 1.0',
        "reconciler_watch_connected 1.0",
        "reconciler_held_deletions 0.0",
    ):
        assert line in metrics.splitlines(), metrics
    until(lambda: asked(port, "/readyz") == (503, "no pass of late\n"))


def test_a_port_that_is_taken_is_a_setting_that_is_wrong(start: Start) -> None:
    with closing(socket()) as taken:
        taken.bind(("", 0))
        taken.listen()
        loop = start("--health-port", str(taken.getsockname()[1]))
        out, err = loop.communicate(timeout=PATIENCE)
    assert (loop.returncode, out) == (2, "")
    assert "--health-port" in err


def test_where_there_is_no_terminal_each_log_line_is_an_object(start: Start, ledger: Ledger) -> None:
    loop = start("--interval", "100ms", "--health-port", "0", "--log-format", "auto")
    until(lambda: len(passes(ledger)) > 1)
    loop.send_signal(signal.SIGTERM)
    _, err = loop.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in err.splitlines()]
    assert {"time", "level", "message"} <= set(lines[0])
    summaries = [line for line in lines if "pass_id" in line]
    assert [line["pass_id"] for line in summaries] == [*range(1, len(summaries) + 1)]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_pass_that_takes_too_long_is_abandoned(
    start: Start, server: ApiServer, ledger: Ledger, signals: int
) -> None:
    wait = "1s" if signals == 1 else "1h"
    loop = start("--interval", "1h", "--health-port", "0", "--stop-timeout", wait)
    until(lambda: passes(ledger))
    ledger.execute("BEGIN")
    ledger.execute("LOCK TABLE reconciler_passes IN EXCLUSIVE MODE")
    server.tenants.patch("anna", spec={"packages": []})
    loop.send_signal(signal.SIGKILL)
    loop.wait()
    second = start("--interval", "1h", "--health-port", "0", "--stop-timeout", wait)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    until(lambda: ledger.execute(waiting.encode()).fetchone() != (0,))
    for _ in range(signals):
        second.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    out, err = second.communicate(timeout=PATIENCE)
    assert second.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    ledger.execute("ROLLBACK")
    assert len(passes(ledger)) == 1


def test_a_cron_that_says_nothing_is_a_setting_that_is_wrong(start: Start) -> None:
    loop = start("--cron", "every now and then", "--health-port", "0")
    _, err = loop.communicate(timeout=PATIENCE)
    assert loop.returncode == 2
    assert "--cron" in err


@pytest.mark.parametrize("trouble", ["silence", "an error within a 200", "history gone", "restart"])
def test_a_watch_that_is_dead_is_replaced(
    start: Start, server: ApiServer, ledger: Ledger, trouble: str
) -> None:
    start("--watch", "--interval", "1h", "--health-port", "0", "--watch-silence", "1s")
    server.watches.wait_for(1)
    until(lambda: passes(ledger))
    match trouble:
        case "silence":
            server.watches.stall()
        case "an error within a 200":
            server.watches.send_error(
                {"kind": "Status", "code": 500, "message": "etcdserver: no leader"}
            )
        case "history gone":
            server.stop()
            server.tenants.write_elsewhere(5)
            server.tenants.compact()
            server.start()
        case "restart":
            server.stop()
            server.start()
    server.tenants.patch("anna", spec={"packages": ["mail", "wiki", "crm"]})
    until(lambda: rows(ledger) == [("enabled", "crm")])
    server.watches.wait_for(1)
    server.tenants.patch("anna", spec={"packages": ["mail", "wiki"]})
    until(lambda: rows(ledger) == [("enabled", "crm"), ("disabled", "crm")])
    if trouble == "silence":
        # It goes on from where it was, and lists nobody for that: an idle cluster is silent, too.
        assert lists(server) == 1
