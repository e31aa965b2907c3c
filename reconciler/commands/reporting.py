"""Prints a pass that was made, and tells its exit status."""

import sys
from collections.abc import Iterable
from typing import Final

from reconciler.ledger import script
from reconciler.output.report import json_report
from reconciler.output.text import text_report, wants_colour
from reconciler.passes import Pass

HELD: Final = 3
CHANGES_PLANNED: Final = 10


def print_pass(done: Pass, output: str, *, dry_run: bool) -> None:
    """The results, on stdout."""
    if output == "json":
        for piece in json_report(done.plan, dry_run=dry_run):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    lines: Iterable[str]
    if output == "sql":
        lines = script.script(done.plan, done.known.last_pass)
    else:
        lines = text_report(done.plan, dry_run=dry_run, colour=wants_colour(sys.stdout))
    print_lines(lines)


def print_lines(lines: Iterable[str]) -> None:
    """Text for a person, in UTF-8 whatever the locale says."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def exit_status(done: Pass, quarantine_exit: int) -> int:
    """What the pass came to: the lowest number that is not 0 wins."""
    found = [HELD if done.plan.held else 0, quarantine_exit if done.plan.quarantined else 0]
    return lowest(found)


def lowest(statuses: Iterable[int]) -> int:
    """The exit status of several."""
    return min((status for status in statuses if status), default=0)
