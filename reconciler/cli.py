"""The command line: reads the arguments by the table of commands. Answers --help by itself."""

import argparse
import gc
import os
import sys
from collections.abc import Collection, Iterable, Sequence

from reconciler import SCHEMA_VERSION, __version__, options
from reconciler.command_table import COMMANDS, flags_of, leaves
from reconciler.errors import ExitStatus
from reconciler.flags import METAVARS, NOTES, Command, Flag, Group

SWITCHES = {options.flag(one) for one in options.ALL if one.metavar is None}
ON, OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
WIDEST = 100

TYPE_CHECKING = False
if TYPE_CHECKING:  # as in typing, which takes longer to import than --help to answer
    from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = make_parser(arguments)
    for place, argument in enumerate(arguments, start=1):
        if not options.is_text(argument):
            # It may hold a password.
            parser.error(f"argument {place} is not UTF-8")
    namespace, unknown = parser.parse_known_args([_switch(parser, one) for one in arguments])
    given = vars(namespace)
    chosen: Parser = given.pop("parser")
    if unknown:
        chosen.error(_no_flag(chosen, unknown))
    words = chosen.prog.split()[1:]
    if words == ["completion"]:
        given["whole"] = make_parser()
    # We create almost no reference cycles; at the default threshold GC takes 20 % of a small pass.
    gc.set_threshold(100_000)
    # Imported only now, because --help must not wait for it.
    from reconciler.commands import execute

    try:
        return execute(words, given)
    finally:
        # Skip the final collection at exit.
        gc.freeze()


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and what was meant."""

    def error(self, message: str) -> "NoReturn":
        """Exits with 2."""
        line = message if message.isprintable() else ascii(message)[1:-1]
        self.exit(ExitStatus.USAGE, f"reconciler: {line} (see `{self.prog} --help`)\n")

    def _check_value(self, action: argparse.Action, value: str) -> None:
        """Overrides argparse, which lists all choices and suggests none."""
        if action.choices is None or value in action.choices:
            return
        is_command = action.nargs == argparse.PARSER
        hint = _meant(value, action.choices) or f"; expected {', '.join(action.choices)}"
        raise argparse.ArgumentError(
            None if is_command else action,
            f"there is no {'command' if is_command else 'value'} {value!a}{hint}",
        )


def make_parser(arguments: Collection[str] | None = None) -> Parser:
    """The command line; what was not given is absent from the result.

    Only the commands that are named in `arguments` get their flags; None is all of them.
    """
    statuses = _statuses("exit status:", ExitStatus)
    parser = Parser(
        prog="reconciler",
        description="Compares the PiecedTenants of a Kubernetes cluster with the billing ledger in "
        "Postgres, and records what changed.",
        epilog=f"{statuses}\nThe lowest of several that is not 0 wins.\n\n"
        "Every setting is a flag and a variable in the environment or in .env:\n"
        "--page-size is RECONCILER_PAGE_SIZE. A flag overrides the environment, and the\n"
        "environment overrides .env. `reconciler settings` shows what is in effect.\n\n"
        "`reconciler COMMAND --help` has the flags of a command, with examples.",
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    version = f"reconciler {__version__} (schema {SCHEMA_VERSION})"
    parser.add_argument("--version", action="version", version=version)
    _add_commands(parser, COMMANDS, arguments)
    return parser


def _add_commands(
    parser: Parser, commands: "dict[str, Command | Group]", arguments: Collection[str] | None
) -> None:
    below = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", required=True, title="commands")
    for name, command in commands.items():
        child = below.add_parser(
            name,
            help=command.about,
            description=f"{command.about[0].upper()}{command.about[1:]}.",
            formatter_class=_formatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        child.set_defaults(parser=child)
        child.register("action", None, _Once)
        if arguments is not None and name not in arguments:
            continue
        if isinstance(command, Group):
            _add_commands(child, command.commands, arguments)
        else:
            _describe(child, command)
            _add_flags(child, command.flags)


class _Once(argparse.Action):
    """A value that is given once: of two the last would win, and nobody would see it."""

    is_given = False

    def __call__(
        self,
        _: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if option_string and self.is_given:
            raise argparse.ArgumentError(self, "given twice; give it once")
        self.is_given = True
        setattr(namespace, self.dest, values)


def _describe(parser: Parser, command: Command) -> None:
    positionals = [
        f"[{one.metavar}]" if one.more else one.metavar for one in command.flags if one.group is None
    ]
    parser.usage = " ".join((parser.prog, "[flags]", *positionals))
    parser.description = " ".join(filter(None, (parser.description, command.details)))
    parser.epilog = _epilog(command)


def _add_flags(parser: Parser, flags: "Sequence[Flag | options.Option]") -> None:
    groups: dict[str | None, argparse._ActionsContainer] = {None: parser}
    for one in flags:
        if one.group not in groups:
            groups[one.group] = parser.add_argument_group(one.group, NOTES.get(one.group))
        group = groups[one.group]
        if isinstance(one, options.Option):
            default = f" (default {one.default})" if one.default not in (None, "false") else ""
            text = f"{one.help}{default}".replace("%", "%%")
            if one.metavar is None:
                group.add_argument(options.flag(one), action=argparse.BooleanOptionalAction, help=text)
            else:
                group.add_argument(options.flag(one), metavar=one.metavar, help=text)
        elif one.metavar is None and not one.more:
            group.add_argument(one.name, action="store_true", help=one.help)
        else:
            group.add_argument(one.name, metavar=one.metavar, help=one.help, **one.more)


def _epilog(command: Command) -> str:
    metavars = {one.metavar for one in command.flags}
    notes = [f"{name}: {text}" for name, text in METAVARS.items() if name in metavars]
    parts = ["\n".join(("examples:", *(f"  {one}" for one in command.examples)))]
    if notes:
        parts.append("\n".join(notes))
    if command.statuses:
        parts.append(_statuses("exit status, besides the common ones:", command.statuses))
    return "\n\n".join(parts)


def _statuses(title: str, statuses: Iterable[ExitStatus]) -> str:
    return "\n".join((title, *(f"  {status:<3} {status.means}" for status in statuses)))


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Told the width, argparse need not import shutil."""
    try:
        width = int(os.environ.get("COLUMNS", "")) or WIDEST
    except ValueError:
        try:
            width = os.get_terminal_size(1).columns
        except OSError:
            width = WIDEST
    return _Formatter(prog, width=min(width, WIDEST), max_help_position=30)


class _Formatter(argparse.HelpFormatter):
    """Keeps the lines of a text that has several."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(f"{indent}{line}" for line in text.splitlines(keepends=True))


def _switch(parser: Parser, argument: str) -> str:
    """`--watch=false` as `--no-watch`."""
    flag, equals, value = argument.partition("=")
    if not equals or flag not in SWITCHES:
        return argument
    if value.lower() not in (*ON, *OFF):
        parser.error(f"{flag}: expected true or false")
    return flag if value.lower() in ON else f"--no-{flag[2:]}"


def _no_flag(parser: Parser, unknown: Sequence[str]) -> str:
    flags = [one.partition("=")[0] for one in unknown if one.startswith("--")]
    if not flags:
        return f"{parser.prog} does not expect {unknown[0]!a}"
    having = {f"reconciler {name}": flags_of(command) for name, command in leaves()}
    hint = _meant(flags[0], having[parser.prog])
    others = [name for name, known in having.items() if flags[0] in known]
    if not hint and others:
        hint = f"; it is a flag of {', '.join(others)}"
    return f"{parser.prog} has no flag {flags[0]!a}{hint}"


def _meant(wrong: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


if __name__ == "__main__":
    sys.exit(main())
