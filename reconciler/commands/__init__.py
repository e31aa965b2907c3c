"""The commands: each puts the parts together for one thing that a person asks for."""

import signal
import sys
from typing import Any

from reconciler import options
from reconciler.core.text import escaped
from reconciler.errors import ExitStatus, ReconcilerError, UnfitTables, UsageError


def execute(command: str, given: dict[str, Any]) -> int:
    """Runs a command with what was given on its command line, and returns the exit status."""
    names = {option.name for option in options.ALL}
    flags = {name: given.pop(name) for name in list(given) if name in names}
    # Ended like Ctrl-C: the transaction is rolled back, and an embedded Postgres stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(command, given, flags)
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


def _run(command: str, given: dict[str, Any], flags: dict[str, Any]) -> int:
    match command:
        case "run":
            from reconciler.commands.run import run

            return run(flags, **given)
        case "loop":
            from reconciler.commands.loop import loop

            return loop(flags, **given)
        case "schema":
            from reconciler.commands.schema import schema

            return schema(flags, **given)
        case "history":
            from reconciler.commands.history import history

            return history(flags, **given)
        case "coverage":
            from reconciler.commands.history import coverage

            return coverage(flags, **given)
        case "verify":
            from reconciler.commands.verify import verify

            return verify(flags, **given)
        case "usage":
            from reconciler.commands.usage import usage

            return usage(flags, **given)
        case "close":
            from reconciler.commands.close import close

            return close(flags, **given)
        case "pricing":
            from reconciler.commands.pricing import pricing

            return pricing(flags, **given)
        case "org":
            if given["action"] == "move":
                from reconciler.commands.run import run

                del given["action"]
                return run(flags, move=[given.pop("tenant")], **given)
            from reconciler.commands.pricing import org

            return org(flags, **given)
    raise UsageError(f"there is no command {command}")
