"""Reads what is nested more deeply than Python does by default."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
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


_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def members(text: bytes) -> Mapping[str, tuple[int, int]]:
    """Where the objects and arrays begin and end that are members of a JSON object, by their keys.

    It takes any depth: since Python 3.12 no decoder can be told to go deeper than some thousands.
    """
    found: dict[str, tuple[int, int]] = {}
    depth, key, start = 0, b"", 0
    for token in _TOKEN.finditer(text):
        match token[0][:1]:
            case b'"':
                key = token[0] if depth == 1 else key
            case b"{" | b"[":
                depth += 1
                start = token.start() if depth == 2 else start
            case _:
                depth -= 1
                if depth == 1:
                    found[key[1:-1].decode(errors="replace")] = (start, token.end())
    return found


def elements(text: bytes) -> Iterator[bytes]:
    """The objects and arrays that are elements of a JSON array, of any depth."""
    depth = start = 0
    for token in _TOKEN.finditer(text):
        if token[0] in (b"{", b"["):
            depth += 1
            start = token.start() if depth == 2 else start
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if depth == 1:
                yield text[start : token.end()]
