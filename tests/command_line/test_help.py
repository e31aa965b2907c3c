"""`--help` answers at once and tells everything that can be set."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import SCHEMA_VERSION, __version__, options
from reconciler.cli import make_parser
from reconciler.command_table import leaves
from reconciler.errors import ExitStatus
from reconciler.flags import METAVARS
from reconciler.settings import Settings

ROOT = Path(__file__).parents[2]
HEAVY = {"kubernetes", "psycopg", "pydantic", "pydantic_settings", "msgspec", "yaml", "apscheduler"}


COMMANDS = dict(leaves())


def reconciler(*arguments: str, python: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *python, "-m", "reconciler", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What `reconciler COMMAND --help` says, on one line."""
    said = {}
    for command in ("", *COMMANDS):
        done = reconciler(*command.split(), "--help")
        assert (done.returncode, done.stderr) == (0, "")
        said[command] = " ".join(done.stdout.split())
    return said


@pytest.mark.parametrize("arguments", ["--help", "run --help", "--version", "run --nonsense"])
def test_help_loads_none_of_the_libraries(arguments: str) -> None:
    done = reconciler(*arguments.split(), python=("-X", "importtime"))
    names = re.findall(r"^import time:.*\|\s*(\S+)$", done.stderr, re.MULTILINE)
    assert "argparse" in names
    assert HEAVY & {name.split(".")[0] for name in names} == set()


def test_the_help_names_every_command(helps: dict[str, str]) -> None:
    assert all(command.split()[0] in helps[""] for command in COMMANDS)


@pytest.mark.parametrize("option", options.ALL, ids=lambda option: option.name)
def test_every_setting_is_in_the_help_of_the_commands_that_take_it(
    helps: dict[str, str], option: options.Option
) -> None:
    taking = [helps[name] for name, command in COMMANDS.items() if option in command.flags]
    assert taking
    default = "" if option.default in (None, "false") else f" (default {option.default})"
    for text in taking:
        assert f" {option.help}{default} " in f"{text} "
        assert f" {option.group}: " in text


def test_options_and_settings_have_the_same_names() -> None:
    assert [option.name for option in options.ALL] == list(Settings.model_fields)


def test_the_exit_statuses_are_told_once_and_those_of_a_command_by_its_own_help(
    helps: dict[str, str],
) -> None:
    for status in ExitStatus:
        assert f" {status} {status.means} " in helps[""]
    for name, command in COMMANDS.items():
        told = [status for status in ExitStatus if f" {status} {status.means}" in helps[name]]
        assert told == [*command.statuses]


def test_every_example_in_a_help_is_a_command_line_of_that_command(helps: dict[str, str]) -> None:
    for name, command in COMMANDS.items():
        assert command.examples
        for example in command.examples:
            assert example in helps[name]
            line, _, _ = example.partition(" > ")
            program, *arguments = shlex.split(line.removeprefix('eval "$(').removesuffix(')"'))
            assert program == "reconciler"
            assert make_parser().parse_args(arguments).parser.prog == f"reconciler {name}"


def test_how_to_write_a_value_is_told_where_one_is_expected(helps: dict[str, str]) -> None:
    for name, command in COMMANDS.items():
        metavars = {one.metavar for one in command.flags}
        for metavar, text in METAVARS.items():
            assert (f"{metavar}: {text}" in helps[name]) == (metavar in metavars)


def test_permissions_given_once_are_flags_of_run_and_never_settings(helps: dict[str, str]) -> None:
    assert "--allow-deletions" in helps["run"]
    for flag in ("--allow-deletions", "--adopt-cluster", "--rebind", "--reopen"):
        assert flag not in helps["loop"]
        assert flag not in {options.flag(option) for option in options.ALL}


def test_the_version_is_told_with_that_of_the_schema() -> None:
    told = f"reconciler {__version__} (schema {SCHEMA_VERSION})\n"
    assert reconciler("--version").stdout == told


def test_the_changelog_is_in_step_with_the_schema() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (newest, *_) = re.findall(r"[Ss]chema version (\d+)", changelog)
    assert int(newest) == SCHEMA_VERSION
    released = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert __version__ in released
