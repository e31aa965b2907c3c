"""Waiting for an event. The time is only an upper bound, and a generous one: machines are busy."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 120
"""Seconds."""


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.005)
