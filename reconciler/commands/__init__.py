"""The commands: each puts the parts together for one thing that a person asks for."""

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from reconciler import options
from reconciler.commands.parts import Parts
from reconciler.core.text import escaped
from reconciler.errors import ExitStatus, ReconcilerError, UnfitTables


def execute(words: Sequence[str], given: dict[str, Any]) -> int:
    """Runs the command of those words with what its command line gave, and returns the exit status.

    `org move` is the function `org_move` of `reconciler.commands.org`.
    """
    settings = {option.name for option in options.ALL}
    flags = {name: given.pop(name) for name in list(given) if name in settings}
    # Like Ctrl-C: the transaction is rolled back, and an embedded Postgres is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command = getattr(import_module(f"reconciler.commands.{words[0]}"), "_".join(words))
        with Parts(flags) as parts:
            status: int = command(parts, **given)
            return status
    except ReconcilerError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _interrupted()
        # Nothing is said where whoever read the results has closed the pipe.
        for line in error.problems if isinstance(error, UnfitTables) else filter(None, [str(error)]):
            print(f"reconciler: {escaped(line)}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted() -> int:
    print("reconciler: interrupted; what was not reported is not written", file=sys.stderr)
    return ExitStatus.INTERRUPTED
