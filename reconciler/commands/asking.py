"""Asks a person before what cannot be undone."""

import sys

from reconciler.errors import UsageError


def ask(question: str, word: str, *, why: str) -> None:
    """Goes on only where somebody at a terminal types the word. Raises UsageError.

    `why` says what the command would do, for whoever forgot `--yes`.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{why}; where nobody can be asked, give --yes")
    print(f"{question} Type '{word}': ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise UsageError("not confirmed; nothing was changed")
