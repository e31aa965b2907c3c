"""What a user can say to the program stands in the README, and what stands there can be said."""

import argparse
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from reconciler import cli, commands, errors, options
from reconciler.commands import printing, verify
from reconciler.core.verify import RULES
from reconciler.ledger import schema
from tests.command_line.snapshots import apply
from tests.conftest import SAMPLES, Command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

EVERY_PROGRAM_HAS = {"-h", "--help", "--version"}
OF_OTHER_PROGRAMS = {"--measure", "--show-managed-fields"}


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and sub-command, as it is typed."""
    left = [("reconciler", cli.make_parser())]
    while left:
        typed, parser = left.pop(0)
        yield typed, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                left += [(f"{typed} {name}", under) for name, under in action.choices.items()]


PARSERS = dict(parsers())
COMMANDS = [
    typed
    for typed, parser in PARSERS.items()
    if not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
]
FLAGS = sorted(
    {flag for parser in PARSERS.values() for action in parser._actions for flag in action.option_strings}
    - EVERY_PROGRAM_HAS
)


def section(title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    _, found, below = README.partition(f"# {title}\n")
    assert found, f"the README has no section {title}"
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


def table(title: str) -> list[list[str]]:
    """The cells of that section's last table, without its head."""
    rows = [line.strip("|").split(" | ") for line in section(title).splitlines() if line.startswith("|")]
    head = max(position for position, row in enumerate(rows) if set("".join(row)) <= set("-|: "))
    return [[cell.strip() for cell in row] for row in rows[head + 1 :]]


def statuses() -> set[int]:
    """Every exit status that the code can end with."""

    def of(error: type[errors.ReconcilerError]) -> Iterator[int]:
        yield error.exit_status
        for leaf in error.__subclasses__():
            yield from of(leaf)

    (quarantine_exit,) = (int(one.default) for one in options.ALL if one.name == "quarantine_exit")
    known = {0, quarantine_exit, commands.INTERRUPTED, printing.HELD, printing.CHANGES_PLANNED}
    known.add(verify.FOUND)
    return known | set(of(errors.ReconcilerError))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_table_of_commands(command: str) -> None:
    assert re.search(rf"^\| `{command}\b", section("Commands"), re.MULTILINE)


def test_every_command_in_the_readme_exists() -> None:
    said = set(re.findall(r"\breconciler ((?:[a-z]+ ?)+)", "\n".join(in_code())))
    for words in said:
        first, *rest = words.split()
        assert f"reconciler {first}" in PARSERS, words
        if f"reconciler {first}" not in COMMANDS and rest:
            assert f"reconciler {first} {rest[0]}" in PARSERS, words


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_stands_in_the_readme(flag: str) -> None:
    assert re.search(rf"`(?:[^`\n]* )?{flag}\b(?!-)[^`\n]*`", README)


def test_every_flag_in_the_readme_exists() -> None:
    said = {flag for code in in_code() for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert said <= {*FLAGS, *EVERY_PROGRAM_HAS, *OF_OTHER_PROGRAMS}


def in_code() -> list[str]:
    """What stands in back quotes, and each line of a block of code for the shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [*re.findall(r"`([^`\n]+)`", prose), *lines]


def test_the_settings_are_exactly_those_of_the_program() -> None:
    def quoted(text: str | None) -> str:
        return "" if text is None else f"`{text}`"

    assert [row[:3] for row in table("Settings")] == [
        [quoted(options.flag(one)), quoted(options.variable(one)), quoted(one.default)]
        for one in options.ALL
    ]


def test_every_exit_status_stands_in_the_readme_and_in_help() -> None:
    in_the_readme = {int(row[0]) for row in table("Exit status")}
    assert statuses() <= in_the_readme
    in_help = {int(status) for status in re.findall(r"^  (\d+)\b", cli.EXIT_STATUSES, re.MULTILINE)}
    assert in_help | {commands.INTERRUPTED} == in_the_readme


def test_the_rules_of_a_ledger_are_those_that_verify_knows() -> None:
    assert table("The rules of a ledger") == [
        [f"`{rule.name}`", rule.broken, rule.advice] for rule in RULES.values()
    ]


def test_the_steps_print_what_stands_below_them(tmp_path: Path) -> None:
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    blocks = r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    steps = re.findall(blocks, section("Step by step"), re.MULTILINE | re.DOTALL)
    followed = "".join(f"{commands}printf '\\0'\n" for commands, _ in steps)
    ran = Command(tmp_path, ["sh", "-ec"])(followed)
    assert ran.status == 0, ran.err
    *printed, rest = ran.out.split("\0")
    assert not rest
    for (_, shown), out in zip(steps, printed, strict=True):
        pattern = ".*".join(map(re.escape, shown.rstrip().split("…")))
        assert re.fullmatch(pattern, out.rstrip(), re.DOTALL), f"{out}\nis not\n{shown}"


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_of_a_newcomer_stand_in_the_readme(target: str) -> None:
    assert re.search(rf"^make {target}\b", section("Try it"), re.MULTILINE)


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    said = {code.split()[1] for code in in_code() if code.startswith("make ")}
    assert {"demo", "test"} <= said <= targets


def test_the_rollback_in_the_readme_is_the_one_that_drop_runs() -> None:
    blocks = re.findall(r"^```sql\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    drop = (ROOT / "schema" / "drop.sql").read_text(encoding="utf-8")
    assert drop == schema.drop_statements()
    assert drop.strip() in [block.strip() for block in blocks]


def library_names() -> list[str]:
    """Every name of ours that the section on the library says in full: `reconciler.passes.run_pass`."""
    names = re.findall(r"`(reconciler(?:\.\w+)+)", section("As a library"))
    return sorted({*names})


@pytest.mark.parametrize("name", library_names())
def test_what_can_be_imported_as_the_readme_says_is_there_and_documented(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    parent = import_module(module)
    found = getattr(parent, attribute, None) or import_module(name)
    assert found.__doc__


def test_the_lines_of_the_library_run_as_they_stand(
    ledger_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines,) = re.findall(r"^```python\n(.*?)^```", section("As a library"), re.MULTILINE | re.DOTALL)
    apply(ledger_url, *sorted(SAMPLES.glob("*.json")))
    exec(compile(lines, "README.md", "exec"), {"url": ledger_url})  # noqa: S102 - our own
    assert "320815470900000001 bergbahn-arosa monthly-fee 4 0.00\n" in capsys.readouterr().out


PAGES = ("README.md", "k8s/README.md", "k8s/SCALE.md", "tests/README.md", "tests/proofs/bench/README.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_or_a_section_leads_to_one(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), file
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles]
