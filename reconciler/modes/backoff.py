"""Exponential back-off after failures, with jitter and an upper limit."""

import random
from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 60.0
"""Seconds."""


def delay(failures: int, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds to wait after `failures` failures in a row; 0 without a failure.

    Up to a fifth is taken off at random, so that replicas that failed together retry apart.
    """
    if failures <= 0:
        return 0.0
    return min(first * 2.0 ** min(failures - 1, 32), longest) * random.uniform(0.8, 1.0)  # noqa: S311
