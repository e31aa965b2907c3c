"""The command line: what can be said on it, and which command that is. Answers --help by itself.

Exit status: 0 done, 1 failed and nothing written, 2 usage or settings, 3 refused or held back,
4 written with tenants quarantined, 5 verify found something; the lowest that is not 0 wins.
"""

import argparse
import gc
import sys
from collections.abc import Sequence

from reconciler import __version__, options

EXIT_STATUSES = """\
exit status:
  0  done, with or without changes
  1  failed, nothing was written
  2  wrong usage or settings
  3  refused, or deletions held back: an operator has to decide
  4  written, but some tenants are quarantined (see --quarantine-exit)
  10 with --dry-run --detailed-exitcode: changes are planned

Every setting is a flag and a variable in the environment or in .env:
--page-size is RECONCILER_PAGE_SIZE. The flag wins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    command = given.pop("command")
    # Hardly anything refers to itself: looking for it as often as usual takes a fifth of a small pass.
    gc.set_threshold(100_000)
    # Only now: what a command needs takes a while to import.
    from reconciler.commands import execute

    try:
        return execute(command, given)
    finally:
        # Nor is it looked for at the end.
        gc.freeze()


def make_parser() -> argparse.ArgumentParser:
    """The whole command line. What was not given is absent from the result."""
    parser = argparse.ArgumentParser(
        prog="reconciler",
        description="Compares a cluster's PiecedTenants with the billing ledger in Postgres, "
        "and writes what changed.",
        epilog="`reconciler COMMAND --help` tells the settings of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"reconciler {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_loop(commands)
    _add_history(commands)
    _add_coverage(commands)
    _add_schema(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _command(commands, "run", "make one pass: snapshot, compare, write what changed")
    what = run.add_argument_group("this run")
    what.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    what.add_argument(
        "--snapshot",
        metavar="FILE",
        nargs="+",
        help="instead of a cluster: what `kubectl get piecedtenants -A -o json "
        "--show-managed-fields` (or -o yaml) printed; `-` is stdin; several files or a folder "
        "are taken oldest first, one pass each",
    )
    what.add_argument(
        "--observed-at",
        metavar="TIME",
        help="when a single file was taken, if its name does not tell: RFC 3339, or `now`",
    )
    what.add_argument(
        "--detailed-exitcode",
        action="store_true",
        help="with --dry-run: exit 10 instead of 0 where changes are planned",
    )
    what.add_argument(
        "--allow-deletions",
        metavar="N",
        type=int,
        help="let up to N deletions through that the brake would hold back",
    )
    what.add_argument(
        "--rebind",
        action="store_true",
        help="let the lifecycle of a tenant that came back under a new uid go on, as after a restore",
    )
    what.add_argument(
        "--reopen",
        metavar="TENANT",
        action="append",
        help="withdraw the recorded deletion of a tenant that lives; may be given several times",
    )
    what.add_argument(
        "--adopt-cluster",
        action="store_true",
        help="let another cluster, or one restored from a backup, continue the ledger's",
    )
    _add_output(run, "text", "json", "sql")
    _add_settings(run, options.DATABASE, options.CLUSTER, options.PASS, options.LOGGING)


def _add_loop(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    loop = _command(commands, "loop", "make a pass now, and then one at every interval")
    _add_output(loop, "text", "json")
    _add_settings(loop, options.LOOP, options.DATABASE, options.CLUSTER, options.PASS, options.LOGGING)


def _add_history(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    history = _command(commands, "history", "every row of one tenant, and the evidence for each time")
    history.add_argument("tenant", metavar="TENANT", help="its name (namespace/name), or a uid")
    _add_output(history, "text", "json")
    _add_settings(history, options.DATABASE, options.LOGGING)


def _add_coverage(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    coverage = _command(commands, "coverage", "when nobody looked: the gaps between the passes")
    coverage.add_argument("--from", dest="start", metavar="TIME", help="RFC 3339; the first pass")
    coverage.add_argument("--to", dest="end", metavar="TIME", help="RFC 3339; now")
    _add_output(coverage, "text", "json")
    _add_settings(coverage, options.COVERAGE, options.DATABASE, options.LOGGING)


def _add_schema(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    schema = _command(commands, "schema", "the tables of the ledger")
    actions = schema.add_subparsers(dest="action", metavar="ACTION", required=True)
    apply = _command(actions, "apply", "make the tables, or bring them up to date")
    roles = apply.add_argument_group("roles", "granted just what they need; they must exist")
    roles.add_argument("--grant-runner", metavar="ROLE", help="passes: no change of an event, no tables")
    roles.add_argument("--grant-reader", metavar="ROLE", help="dry runs and reports")
    roles.add_argument("--grant-operator", metavar="ROLE", help="both, and prices and org settings too")
    _add_settings(apply, options.DATABASE, options.LOGGING)
    _command(actions, "print", "print the SQL that makes them")
    drop = _command(actions, "drop", "remove the tables, with every row in them")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    _add_settings(drop, options.DATABASE, options.LOGGING)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )


def _add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "--output",
        choices=formats,
        default=formats[0],
        help=f"how to print it (default {formats[0]})",
    )


def _add_settings(parser: argparse.ArgumentParser, *groups: Sequence[options.Option]) -> None:
    settings = parser.add_argument_group("settings")
    for option in (option for group in groups for option in group):
        about = (
            option.help
            if option.default in (None, "false")
            else f"{option.help} (default {option.default})"
        )
        about = about.replace("%", "%%")
        if option.metavar is None:
            settings.add_argument(options.flag(option), action="store_const", const="true", help=about)
        else:
            settings.add_argument(options.flag(option), metavar=option.metavar, help=about)


if __name__ == "__main__":
    sys.exit(main())
