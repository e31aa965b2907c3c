"""Whoever waits to be told to end is told by a signal, at whatever moment it comes."""

import subprocess
import sys
import threading
import time

import pytest

from reconciler.modes.stop import Stop
from tests.waiting import PATIENCE

WAITS = """
import signal
from {module} import {name}

def told(*_):
    stop.set()

signal.signal(signal.SIGALRM, told)
for _ in range(300):
    stop = {name}()
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    while not stop.is_set():
        stop.wait(0)
"""


def waits(name: str, module: str, seconds: float) -> int:
    """The exit status of a process whose main thread is told by a signal while it waits, 300 times."""
    code = WAITS.format(module=module, name=name)
    return subprocess.run([sys.executable, "-c", code], timeout=seconds, check=False).returncode


def test_a_signal_at_any_moment_of_waiting_is_heard() -> None:
    assert waits("Stop", "reconciler.modes.stop", PATIENCE) == 0


def test_an_event_would_wait_for_itself() -> None:
    """Otherwise the test above would prove nothing."""
    with pytest.raises(subprocess.TimeoutExpired):
        waits("Event", "threading", 5)


def test_waiting_ends_when_it_is_set_or_its_time_is_over() -> None:
    stop = Stop()
    stop.wait(0.01)
    assert not stop.is_set()
    began = time.monotonic()
    threading.Timer(0.05, stop.set).start()
    stop.wait(PATIENCE)
    assert stop.is_set()
    stop.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
