"""`--help` answers at once and tells everything that can be set."""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from reconciler import __version__, options
from reconciler.cli import make_parser
from reconciler.settings import Settings

HEAVY = {"kubernetes", "psycopg", "pydantic", "pydantic_settings", "msgspec", "yaml", "apscheduler"}


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Every command that does something: `run`, `schema apply`."""
    within = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not within:
        yield name
    for action in within:
        for word, command in action.choices.items():
            yield from leaves(command, f"{name} {word}".strip())


COMMANDS = sorted(set(leaves(make_parser())))


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
def test_every_setting_is_in_the_help_of_a_command(
    helps: dict[str, str], option: options.Option
) -> None:
    settings = [text.partition("settings: ")[2].partition("exit status:")[0] for text in helps.values()]
    telling = [text for text in settings if f"{options.flag(option)} " in text]
    assert telling
    for text in telling:
        assert option.help in text
        if option.default not in (None, "false"):
            assert f"(default {option.default})" in text


def test_options_and_settings_have_the_same_names() -> None:
    assert [option.name for option in options.ALL] == list(Settings.model_fields)


def test_every_command_tells_the_exit_statuses(helps: dict[str, str]) -> None:
    for command in COMMANDS:
        assert "exit status" in helps[command]


def test_permissions_given_once_are_flags_of_run_and_never_settings(helps: dict[str, str]) -> None:
    assert "--allow-deletions" in helps["run"]
    for flag in ("--allow-deletions", "--adopt-cluster", "--rebind", "--reopen"):
        assert flag not in helps["loop"]
        assert flag not in {options.flag(option) for option in options.ALL}


def test_the_version_is_told() -> None:
    assert reconciler("--version").stdout == f"reconciler {__version__}\n"
