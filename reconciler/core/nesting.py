"""Reads what is nested more deeply than Python does by default."""

import sys
from collections.abc import Callable
from typing import Final, TypeVar

DEEPEST: Final = 12_000
"""The API server accepts objects nested 10,000 deep, and one of them must not hide all others.

At twice that depth the C stack overflows and the process crashes.
"""

Text = TypeVar("Text")
Read = TypeVar("Read")


def deeply(read: Callable[[Text], Read], text: Text) -> Read:
    """Reads the text; where it is too deep, once more under a recursion limit of DEEPEST."""
    try:
        return read(text)
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, DEEPEST))
        try:
            return read(text)
        finally:
            sys.setrecursionlimit(limit)
