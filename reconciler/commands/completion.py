"""`reconciler completion`: the script that a shell completes with. The one file that knows `shtab`."""

import argparse
from collections.abc import Iterator

import shtab

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_lines
from reconciler.errors import ExitStatus

_PATHS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def completion(_: Parts, *, shell: str, whole: argparse.ArgumentParser) -> int:
    """Prints the script for the `whole` command line. It needs no settings."""
    for action in _actions(whole):
        if isinstance(action.metavar, str) and action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]
    print_lines([shtab.complete(whole, shell).rstrip()])
    return ExitStatus.DONE


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - as shtab does
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from _actions(below)
