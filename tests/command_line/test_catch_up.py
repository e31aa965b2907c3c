"""The list and the stream together, as an operator meets them: nothing missed, nothing refused."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.apiserver import Answer, ApiServer, Fault, Request, meanwhile, recorded
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


def reports(done: Ran) -> list[list[tuple[str, str, str | None]]]:
    """The rows of each pass that was printed."""
    return [
        [(row["kind"], row["tenantName"], row["skillId"]) for row in report["rows"]]
        for report in done.reports
    ]


def continuity(ledger: Ledger) -> list[tuple[bool | None, bool]]:
    """Of each list: whether it is gapless, and whether its gap begins when the list before asked."""
    return ledger.execute(
        "SELECT gapless, gap_since IS NOT DISTINCT FROM lag(asked_at) OVER (ORDER BY id)"
        " FROM reconciler_passes WHERE complete ORDER BY id"
    ).fetchall()


def flap(server: ApiServer) -> None:
    packages(server, "anna", "mail", "crm")
    packages(server, "anna", "mail")


FLAP = [("enabled", "anna", "crm")], [("disabled", "anna", "crm")]


def test_what_was_switched_on_and_off_between_two_runs_is_recorded(
    run: Run, verify: Run, server: ApiServer, ledger: Ledger
) -> None:
    assert run().status == 0
    flap(server)
    before = lists(server)
    done = run("--output", "json")
    assert (done.status, reports(done)) == (0, [*FLAP, []])
    assert done.reports[-1]["tenantsExamined"] == 3
    assert lists(server) == before + 1
    assert continuity(ledger)[1] == (True, False)
    assert verify().status == 0
    again = run("--output", "json")
    assert (again.status, reports(again)) == (0, [[]])


def test_a_run_prints_one_line_for_each_row_that_it_caught_up_on(run: Run, server: ApiServer) -> None:
    assert run().status == 0
    flap(server)
    on, off, snapshot, *_ = run().out.splitlines()
    assert on.split()[:3] == ["anna", "enabled", "crm"]
    assert off.split()[:3] == ["anna", "disabled", "crm"]
    assert snapshot.startswith("Snapshot of ")


def test_a_dry_run_catches_up_as_well_and_writes_nothing(
    run: Run, server: ApiServer, ledger: Ledger
) -> None:
    assert run().status == 0
    flap(server)
    dry = run("--dry-run", "--output", "json")
    assert (dry.status, reports(dry)) == (0, [*FLAP, []])
    assert run("--dry-run", "--detailed-exitcode").status == 10
    assert events(ledger, "anna") == [("enabled", "mail")]
    assert reports(run("--output", "json")) == reports(dry)


def history_lost(server: ApiServer) -> None:
    server.stop()
    server.start(initializing=0)


def still_initializing(server: ApiServer) -> None:
    server.stop()
    server.start()
    server.fail(recorded("errors/storage-initializing-429.json"), on=server.is_watch)


def no_right_to_watch(server: ApiServer) -> None:
    server.fail(recorded("watch/forbidden-403.json"), on=server.is_watch)


@pytest.mark.parametrize(
    ("happens", "said"),
    [(history_lost, "410"), (still_initializing, "410"), (no_right_to_watch, "watch on piecedtenants")],
)
def test_where_the_history_is_gone_there_is_the_list_alone_and_a_gap_on_record(
    run: Run, server: ApiServer, ledger: Ledger, happens: Callable[[ApiServer], None], said: str
) -> None:
    assert run().status == 0
    flap(server)
    packages(server, "bert", "mail", "wiki")
    happens(server)
    done = run("--output", "json")
    assert (done.status, reports(done)) == (0, [[("enabled", "bert", "wiki")]])
    assert said in done.err
    assert continuity(ledger) == [(None, True), (False, True)]
    flap(server)
    assert reports(run("--output", "json")) == [*FLAP, []]
    assert continuity(ledger)[2] == (True, False)


def test_without_the_catch_up_there_is_the_list_alone(
    command: Command, kubeconfig: Path, server: ApiServer, ledger: Ledger
) -> None:
    alone = {"RECONCILER_CATCH_UP": "false"}
    assert command("run", "--kubeconfig", kubeconfig, **alone).status == 0
    flap(server)
    assert command("run", "--kubeconfig", kubeconfig, **alone).status == 0
    assert events(ledger, "anna") == [("enabled", "mail")]
    assert continuity(ledger) == [(None, True), (False, True)]
    assert not any(map(server.is_watch, server.requests))


def test_two_runs_at_once_are_as_if_one_came_after_the_other(
    command: Command, run: Run, verify: Run, server: ApiServer, kubeconfig: Path, ledger: Ledger
) -> None:
    assert run().status == 0
    for _ in range(20):
        flap(server)
    both = [command.start("run", "--kubeconfig", kubeconfig) for _ in range(3)]
    assert [(one.wait(60), one.communicate())[0] for one in both] == [0, 0, 0]
    assert events(ledger, "anna") == [
        ("enabled", "mail"),
        *[("enabled", "crm"), ("disabled", "crm")] * 20,
    ]
    assert {gapless for gapless, _ in continuity(ledger)[1:]} == {True}
    assert verify().status == 0


def test_a_run_that_cannot_catch_up_in_time_ends_with_what_it_wrote_and_the_next_goes_on(
    command: Command, run: Run, server: ApiServer, kubeconfig: Path, ledger: Ledger
) -> None:
    assert run().status == 0
    for number in range(1500):
        packages(server, "anna", "mail", str(number))
    first = command("run", "--kubeconfig", kubeconfig, "--catch-up-timeout", "100ms")
    assert first.status == 0
    assert "--catch-up-timeout" in first.err
    written = len(events(ledger, "anna"))
    assert 1 < written < 3000
    assert len(passes(ledger)) == 1
    assert run().status == 0
    assert len(events(ledger, "anna")) == 3000
    assert continuity(ledger)[1] == (True, False)


def remove_the_crd(server: ApiServer, *names: str) -> None:
    """It is on its way out: its tenants are deleted first, one after the other."""
    server.terminating = True
    for name in names:
        server.tenants.delete(name)


def test_a_crd_that_is_removed_deletes_nobody(
    run: Run, server: ApiServer, ledger: Ledger, start: Start
) -> None:
    for number in range(20):
        server.tenants.create(f"tenant-{number}", ["mail"])
    assert run().status == 0
    remove_the_crd(server, "tenant-0", "tenant-1")
    done = run("--output", "json")
    assert done.status == 3
    assert "held back 2 deletions (the tenants' resource is no longer served)" in done.err
    assert "tenant-0, tenant-1" in done.err
    loop = start()
    until(lambda: len(server.watches))
    remove_the_crd(server, *(f"tenant-{number}" for number in range(2, 20)))
    held = "SELECT count(*) FROM reconciler_state WHERE held"
    until(lambda: ledger.execute(held.encode()).fetchone() == (20,))
    ended = "SELECT count(*) FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"
    assert ledger.execute(ended.encode()).fetchone() == (0,)
    loop.send_signal(signal.SIGTERM)
    _, err = loop.communicate()
    assert "WARNING held back 18 deletions" in err
    assert "tenant-2, tenant-3" in err


def test_on_a_quiet_cluster_it_costs_two_requests(run: Run, server: ApiServer) -> None:
    assert run().status == 0

    def requests(*flags: str) -> list[str]:
        before = len(server.requests)
        assert run(*flags).status == 0
        return [f"{one.method} {one.path}" for one in server.requests[before:]]

    catching_up, listing = requests(), requests("--no-catch-up")
    assert set(listing) <= set(catching_up)
    assert len(catching_up) <= len(listing) + 2


def void_all_but_the_first(command: Command, ledger: Ledger) -> None:
    second = "SELECT id FROM reconciler_passes ORDER BY id OFFSET 1 LIMIT 1"
    ((first_pass,),) = ledger.execute(second).fetchall()
    done = command("void", str(first_pass), "--because", "tried", "--yes")
    assert done.status == 0, done.err


def test_after_a_void_the_next_list_does_not_say_that_it_is_gapless(
    run: Run, verify: Run, command: Command, server: ApiServer, ledger: Ledger
) -> None:
    assert run().status == 0
    flap(server)
    assert run().status == 0
    assert events(ledger, "anna")[1:] == [("enabled", "crm"), ("disabled", "crm")]
    void_all_but_the_first(command, ledger)
    assert events(ledger, "anna")[1:] == []
    assert run().status == 0
    assert events(ledger, "anna")[1:] == [("enabled", "crm"), ("disabled", "crm")]
    assert run().status == 0
    assert [gapless for gapless, _ in continuity(ledger)] == [None, None, True]
    assert verify().status == 0


def test_a_loop_goes_on_after_a_void(
    start: Start, verify: Run, command: Command, server: ApiServer, ledger: Ledger
) -> None:
    """It does not read again what was withdrawn; the next list shows what came of it."""
    loop = start("1s")
    until(lambda: len(passes(ledger)) > 1)
    packages(server, "anna", "mail", "crm")
    until(lambda: len(events(ledger, "anna")) > 1)
    void_all_but_the_first(command, ledger)
    until(lambda: events(ledger, "anna") == [("enabled", "mail"), ("enabled", "crm")])
    until(lambda: len(passes(ledger)) > 3)
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(20) == 0
    ((after_void, later),) = ledger.execute(
        "SELECT bool_or(gapless IS NULL), bool_or(gapless) FROM reconciler_passes"
        " WHERE complete AND id > 1"
    ).fetchall()
    assert (after_void, later) == (True, True)
    assert verify().status == 0
