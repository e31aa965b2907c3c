"""Whether the program lives and is ready, over real HTTP. Its clock is the test's."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from reconciler import health
from reconciler.core.plan import plan
from reconciler.errors import UsageError
from reconciler.health import MOST_CONNECTIONS, Health
from reconciler.passes import Pass
from tests.core.examples import known, snapshot, tenant

READY_WITHIN, LIVE_WITHIN = 60.0, 90.0


class Ticking:
    """A program whose clocks are set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.health = Health(
            ready_within=READY_WITHIN,
            live_within=LIVE_WITHIN,
            clock=lambda: self.now + 1e9,
            ticks=lambda: self.now,
        )
        self.port = 0

    def asked(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def program() -> Iterator[Ticking]:
    ticking = Ticking()
    with ticking.health.served(0) as ticking.port:
        yield ticking


def done() -> Pass:
    before = known()
    return Pass(plan(snapshot([tenant("A")]), before), before)


READY, NOT_READY = (200, "ready\n"), (503, "no pass of late\n")
LIVE, NOT_LIVE = (200, "live\n"), (503, "the loop does not turn\n")


def test_it_is_not_ready_before_the_first_pass_and_not_after_passes_have_stopped(
    program: Ticking,
) -> None:
    assert program.asked("/readyz") == NOT_READY
    program.health.passed(done())
    assert program.asked("/readyz") == READY
    program.now += READY_WITHIN - 1
    assert program.asked("/readyz") == READY
    program.now += 1
    assert program.asked("/readyz") == NOT_READY
    program.health.passed(done())
    assert program.asked("/readyz") == READY


def test_neither_an_attempt_nor_a_watched_change_makes_it_ready(program: Ticking) -> None:
    program.health.attempted()
    program.health.failed(OSError())
    program.health.watched(done())
    program.health.turned()
    assert program.asked("/readyz") == NOT_READY


def test_one_that_stands_by_is_as_ready_as_the_pass_of_the_other_is_young(program: Ticking) -> None:
    program.health.stood_by(None)  # there was none
    assert program.asked("/readyz") == NOT_READY
    program.health.stood_by(READY_WITHIN - 1)
    assert program.asked("/readyz") == READY
    program.now += 1
    assert program.asked("/readyz") == NOT_READY
    said = program.asked("/metrics")[1].splitlines()
    (line,) = (one for one in said if one.startswith("reconciler_last_success_timestamp_seconds "))
    assert float(line.split()[1]) == 1e9 + program.now - READY_WITHIN


def test_it_is_live_while_the_loop_turns_whatever_becomes_of_passes(program: Ticking) -> None:
    assert program.asked("/livez") == LIVE
    program.now += LIVE_WITHIN - 1
    assert program.asked("/livez") == LIVE
    program.now += 1
    assert program.asked("/livez") == NOT_LIVE
    program.health.passed(done())
    assert program.asked("/livez") == NOT_LIVE
    program.health.turned()
    assert program.asked("/livez") == LIVE
    assert program.asked("/readyz") == READY


# Clients


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_answers_on_ipv4_and_on_ipv6(program: Ticking, host: str) -> None:
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with socket.create_connection((host, program.port), 10) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")


def test_a_machine_without_ipv6_is_served_on_ipv4(
    program: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "AF_INET6", 12345)
    with program.health.served(0) as program.port:
        assert program.asked("/livez") == LIVE


def test_a_port_that_is_taken_is_a_setting_that_is_wrong(program: Ticking) -> None:
    with (
        pytest.raises(UsageError, match="--health-port"),
        program.health.served(program.port),
    ):
        pass


@pytest.mark.parametrize("said", [b"", b"G", b"GET /livez HTTP/1.0\r\nA: "])
def test_clients_that_never_finish_keep_no_probe_waiting(program: Ticking, said: bytes) -> None:
    with ExitStack() as clients:
        for _ in range(5 * MOST_CONNECTIONS):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", program.port), 10))
            client.sendall(said)
        for path in ("/livez", "/metrics"):
            assert program.asked(path)[0] == 200
        busy = [one for one in threading.enumerate() if "process_request" in one.name]
        assert len(busy) <= MOST_CONNECTIONS + 5


def test_a_client_that_says_nothing_is_let_go(program: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CLIENT_LASTS", 0.1)
    with (
        program.health.served(0) as program.port,
        socket.create_connection(("127.0.0.1", program.port), 10) as client,
    ):
        client.sendall(b"GET /metrics")
        assert client.recv(1) == b""
