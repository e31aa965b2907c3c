"""The list and the stream together, as an operator meets them: nothing missed, nothing refused."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.apiserver import Answer, ApiServer, Fault, Request, meanwhile
from tests.command_line.test_loop import Start, lists, passes
from tests.conftest import Command, Ran
from tests.waiting import until

Ledger = psycopg.Connection[Any]
Run = Callable[..., Ran]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(token="token-of-the-catch-up") as server:
        for name in ("anna", "bert", "cleo"):
            server.tenants.create(name, ["mail"])
        yield server


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def start(command: Command, kubeconfig: Path) -> Iterator[Start]:
    started: list[Any] = []

    def start(interval: str = "1h") -> Any:
        usual = ("--watch", "--health-port", "0", "--log-format", "text", "--interval", interval)
        started.append(command.start("loop", "--kubeconfig", kubeconfig, *usual))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(command: Command, kubeconfig: Path) -> Run:
    def run(*arguments: str) -> Ran:
        return command("run", "--kubeconfig", kubeconfig, *arguments)

    return run


@pytest.fixture
def verify(command: Command, kubeconfig: Path) -> Run:
    return lambda: command("verify", "--kubeconfig", kubeconfig, "--deep")


def events(ledger: Ledger, name: str) -> list[tuple[str, str]]:
    return ledger.execute(
        "SELECT event_kind, skill_id FROM tenant_skill_events WHERE tenant_name = %s ORDER BY id", [name]
    ).fetchall()


def packages(server: ApiServer, name: str, *skills: str) -> None:
    server.tenants.patch(name, spec={"packages": [*skills]})


def around(before: Callable[[], object], after: Callable[[], object]) -> Fault:
    """Answer what is right between these two."""

    def fault(server: ApiServer, request: Request) -> Answer:
        before()
        answer = server.answer(request)
        after()
        return answer

    return fault


def test_a_list_that_a_loop_beside_it_has_overtaken_is_applied_all_the_same(
    start: Start, run: Run, verify: Run, server: ApiServer, ledger: Ledger
) -> None:
    start()
    until(lambda: len(server.watches))

    def overtake() -> None:
        packages(server, "bert", "mail", "wiki")
        until(lambda: ("enabled", "wiki") in events(ledger, "bert"))

    server.fail(meanwhile(overtake))
    done = run()
    assert done.status == 0
    assert "gathering again" not in done.err
    assert events(ledger, "bert") == [("enabled", "mail"), ("enabled", "wiki")]
    assert len(passes(ledger)) == 2
    server.fail(meanwhile(lambda: packages(server, "cleo")))
    held = verify()
    assert (held.status, held.out.splitlines()[-1]) == (0, "the ledger is consistent")


def test_who_was_deleted_while_a_list_was_read_is_not_brought_back_by_it(
    start: Start, run: Run, verify: Run, server: ApiServer, ledger: Ledger
) -> None:
    start()
    until(lambda: len(server.watches))
    ended = "SELECT count(*) FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"

    def overtake() -> None:
        server.tenants.delete("bert")
        server.tenants.create("bert", ["wiki"])
        until(lambda: events(ledger, "bert")[-1:] == [("enabled", "wiki")])

    server.fail(meanwhile(overtake))
    assert run().status == 0
    assert ledger.execute(ended.encode()).fetchone() == (1,)
    assert run().status == 0
    assert ledger.execute(ended.encode()).fetchone() == (1,)
    assert verify().status == 0


def test_a_cluster_that_a_loop_has_only_overtaken_is_not_adopted(
    start: Start, run: Run, server: ApiServer, ledger: Ledger
) -> None:
    start()
    until(lambda: len(server.watches))

    def overtake() -> None:
        packages(server, "bert", "mail", "wiki")
        until(lambda: ("enabled", "wiki") in events(ledger, "bert"))

    server.fail(meanwhile(overtake))
    done = run("--adopt-cluster")
    assert done.status == 3
    assert "the cluster was not restored" in done.err
    assert len(passes(ledger)) == 1


def test_a_life_that_began_and_ended_while_nobody_watched_is_recorded(
    start: Start, run: Run, server: ApiServer, ledger: Ledger
) -> None:
    assert run().status == 0
    server.tenants.create("dora", ["mail"])
    packages(server, "dora", "mail", "wiki")
    server.tenants.delete("dora")
    start()
    until(lambda: len(passes(ledger)) == 2)
    assert events(ledger, "dora") == [("enabled", "mail"), ("enabled", "wiki")]
    lives = "SELECT count(*), count(deleted_at) FROM tenant_billing_lifecycle WHERE tenant_name = 'dora'"
    assert ledger.execute(lives.encode()).fetchone() == (1, 1)


def test_a_tenant_created_just_after_a_list_holds_nobody_up(
    start: Start, server: ApiServer, ledger: Ledger
) -> None:
    loop = start("1s")
    until(lambda: len(server.watches))
    before = lists(server)
    server.fail(
        around(lambda: packages(server, "anna"), lambda: server.tenants.create("dora", ["mail"])), on=1
    )
    until(lambda: lists(server) > before + 1)
    until(lambda: len(passes(ledger)) > before + 1)
    assert events(ledger, "dora") == [("enabled", "mail")]
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(20) == 0
