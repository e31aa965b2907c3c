"""How long to wait after a failure: longer each time, never for ever."""

import random
from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 60.0
"""Seconds."""


def delay(failures: int, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds to wait after so many failures in a row; none where there was none.

    Spread by a fifth, so that those who failed together do not come back together.
    """
    if failures <= 0:
        return 0.0
    return min(first * 2.0 ** min(failures - 1, 32), longest) * random.uniform(0.8, 1.0)  # noqa: S311
