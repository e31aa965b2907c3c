"""Whether the program lives and is ready, over real HTTP. Its clock is the test's."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from reconciler.core.plan import plan
from reconciler.health import Health
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
