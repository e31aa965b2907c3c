"""When the loop makes its passes: the scheduler's own rules, under a clock that stands still."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from reconciler.modes.schedule import make_scheduler
from tests.waiting import PATIENCE, until

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Loop:
    """A loop in the scheduler's own thread, and the seconds at which it began its passes."""

    def __init__(self, clock: FrozenDateTimeFactory) -> None:
        self.passes: list[float] = []
        self.work: Callable[[], object] = lambda: None
        """What a pass does."""
        self._clock = clock

    def start(self, seconds: float) -> None:
        self._scheduler = make_scheduler(self._one_pass, seconds)
        self._scheduler.start()

    def begun(self) -> None:
        """Waits for the first pass to begin."""
        until(lambda: self.passes)

    def stop(self) -> None:
        self._scheduler.shutdown()

    def let_pass(self, seconds: float) -> None:
        """Moves the clock, and has the scheduler look at it."""
        self._clock.tick(seconds)
        self._scheduler.wakeup()

    def after(self, seconds: float = 0) -> list[float]:
        """The passes, once all that is due so many seconds later was done."""
        self.let_pass(seconds)
        # The second job can only be added when the round is over that had the first one.
        for _ in range(2):
            done = threading.Event()
            self._scheduler.add_job(done.set, next_run_time=datetime.now(UTC), misfire_grace_time=None)
            assert done.wait(PATIENCE)
        return self.passes

    def _one_pass(self) -> None:
        self.passes.append((datetime.now(UTC) - START).total_seconds())
        self.work()


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time(START, ignore=["_pytest"]) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        yield clock


@pytest.fixture
def loop(clock: FrozenDateTimeFactory) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.stop()


@pytest.mark.parametrize("interval", [0.5, 1, 300, 86_400])
def test_a_pass_is_made_at_once_and_then_at_every_interval(loop: Loop, interval: float) -> None:
    loop.start(interval)
    assert loop.after() == [0]
    assert loop.after(interval * 0.9) == [0]
    assert loop.after(interval * 0.1) == [0, interval]
    assert loop.after(interval) == [0, interval, 2 * interval]


def test_an_interval_runs_from_start_to_start_of_a_pass(
    loop: Loop, clock: FrozenDateTimeFactory
) -> None:
    loop.work = lambda: clock.tick(20)
    loop.start(60)
    assert loop.after() == [0]
    assert loop.after(39) == [0]
    assert loop.after(1) == [0, 60]


def test_a_tick_that_the_pass_in_hand_missed_is_made_up(
    loop: Loop, clock: FrozenDateTimeFactory
) -> None:
    def once_long() -> None:
        clock.tick(70)
        loop.work = lambda: None

    loop.work = once_long
    loop.start(60)
    assert loop.after() == [0, 70]
    assert loop.after(49) == [0, 70]
    assert loop.after(1) == [0, 70, 120]


def test_however_many_ticks_were_missed_they_are_made_up_once(
    loop: Loop, clock: FrozenDateTimeFactory
) -> None:
    def once_long() -> None:
        clock.tick(250)
        loop.work = lambda: None

    loop.work = once_long
    loop.start(60)
    assert loop.after() == [0, 250]
    assert loop.after(49) == [0, 250]
    assert loop.after(1) == [0, 250, 300]
    assert loop.after(60) == [0, 250, 300, 360]


def test_a_machine_that_slept_makes_one_pass_when_it_wakes(loop: Loop) -> None:
    loop.start(60)
    assert loop.after() == [0]
    assert loop.after(8 * 3600 + 5) == [0, 28_805]
    assert loop.after(55) == [0, 28_805, 28_860]


def test_there_are_never_two_passes_at_a_time(loop: Loop) -> None:
    release, running, most = threading.Event(), [0], [0]

    def slow() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        assert release.wait(PATIENCE)
        running[0] -= 1

    loop.work = slow
    loop.start(60)
    loop.begun()
    for _ in range(3):
        loop.let_pass(60)
        time.sleep(0.02)  # in which another thread would begin one
    assert len(loop.passes) == 1
    release.set()
    assert len(loop.after()) == 2
    assert most == [1]


def test_a_loop_that_is_told_to_end_finishes_the_pass_in_hand_and_begins_no_other(
    clock: FrozenDateTimeFactory,
) -> None:
    loop, release = Loop(clock), threading.Event()
    loop.work = lambda: release.wait(PATIENCE)
    loop.start(60)
    loop.begun()
    loop.let_pass(600)
    ending = threading.Thread(target=loop.stop)
    ending.start()
    time.sleep(0.02)
    assert ending.is_alive()
    release.set()
    ending.join(PATIENCE)
    assert not ending.is_alive()
    assert loop.passes == [0]
