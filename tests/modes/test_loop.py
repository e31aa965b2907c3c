"""The loop's own rules: what is done when, after a failure, and by whom. Its clock is the test's."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from reconciler.errors import LedgerError, Refused, SnapshotError
from reconciler.health import Health
from reconciler.modes.backoff import delay
from reconciler.modes.loop import Loop, Stopped


def health() -> Health:
    return Health(ready_within=60, live_within=60)


class Clock:
    """Time passes only where somebody waits for it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def loop(full: Callable[[], None], leads: Callable[[], bool] = lambda: True) -> tuple[Loop, Clock]:
    clock = Clock()
    one = Loop(full, leads=leads, health=health(), interval=300, clock=clock)

    def wait(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 2000:
            one.stopped.set()

    one.stopped.wait = wait  # type: ignore[method-assign]
    return one, clock


@pytest.mark.parametrize("error", [SnapshotError("no list"), Refused("no"), RuntimeError("a bug")])
def test_a_failure_is_reported_and_tried_again_after_a_while_that_grows(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level("INFO", "reconciler")
    tried: list[float] = []

    def fail() -> None:
        tried.append(clock.now)
        raise error

    one, clock = loop(fail)
    one.due.set()
    one.run()
    waits = [after - before for before, after in pairwise(tried)]
    assert 3 <= waits[0] <= 6
    assert all(wait <= 301 for wait in waits)
    assert waits[:5] == sorted(waits[:5])
    assert 8 < len(tried) < 20
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == len(tried)
    assert {record.exc_info for record in errors} == {None}


def test_a_pass_that_waits_hears_the_stop_and_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    def wait_for_the_watch() -> None:
        one.stopped.set()
        with pytest.raises(Stopped):
            one.turn()
        one.turn()

    one, _ = loop(wait_for_the_watch)
    one.due.set()
    one.run()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_who_does_not_lead_makes_no_pass_and_asks_again() -> None:
    made, asked = [], []

    def leads() -> bool:
        asked.append(clock.now)
        return len(asked) > 10

    one, clock = loop(lambda: made.append(clock.now), leads)
    one.due.set()
    one.run()
    assert len(made) == 1
    assert made[0] >= 18


def test_a_database_that_does_not_answer_is_not_taken_for_another_replica(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[None] = []

    def leads() -> bool:
        asked.append(None)
        if len(asked) < 3:
            raise LedgerError("the database is gone")
        return True

    caplog.set_level("INFO", "reconciler")
    one, _ = loop(lambda: None, leads)
    one.run()
    assert "standing by: the database does not answer" in caplog.messages
    assert "leading" in caplog.messages
    assert not [message for message in caplog.messages if "another replica" in message]


def test_the_wait_grows_and_ends_growing() -> None:
    waits = [delay(failures) for failures in range(40)]
    assert waits[0] == 0
    assert all(0.8 <= wait <= 60 for wait in waits[1:])
    assert min(waits[8:]) >= 48
    assert delay(100_000) <= 60


def test_those_who_failed_together_do_not_come_back_together() -> None:
    assert len({delay(9) for _ in range(20)}) > 10
