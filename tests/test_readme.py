"""The pages of documentation agree with the program: commands, flags, settings, statuses, examples."""

import argparse
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from reconciler import cli, options
from reconciler.core.cases import TRANSITIONS
from reconciler.core.times import RULES as RULES_OF_TIME
from reconciler.core.verify import RULES
from reconciler.errors import ExitStatus
from reconciler.ledger import schema
from tests.command_line.snapshots import apply
from tests.conftest import SAMPLES, Command

ROOT = Path(__file__).parents[1]
README, REFERENCE, LEDGER, WALK_THROUGH = (
    "README.md",
    "reconciler/README.md",
    "schema/README.md",
    "k8s/samples/README.md",
)
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pages in ("*.md", "reconciler/**/*.md", "schema/*.md", "k8s/**/*.md", "tests/**/*.md")
    for page in ROOT.glob(pages)
    if "recordings" not in page.parts
)
MOST_LINES = 300
"""Of the README. What is longer goes to the page of its subject."""

EVERY_PROGRAM_HAS = {"-h", "--help", "--version"}
OF_OTHER_PROGRAMS = {
    "--data-only",
    "--disable-triggers",
    "--schema-only",
    *("--create-namespace", "--from-file", "--measure", "--namespace", "--ours", "--parts", "--profile"),
    *("--rounds", "--show-managed-fields"),
    *(
        "--build-arg",
        "--from-literal",
        "--ignore-not-found",
        "--pod-running-timeout",
        "--prefix",
        "--push",
    ),
    *("--from", "--local", "--patch", "--type"),
}


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


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    _, found, below = text(page).partition(f"# {title}\n")
    assert found, f"{page} has no section {title}"
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


def tables(page: str, title: str) -> list[list[list[str]]]:
    """The cells of that section's tables, without their heads."""
    found = re.findall(r"^\|.*\|\n\|[-|: ]+\|\n((?:\|.*\|\n)*)", section(page, title), re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows.splitlines()]
        for rows in found
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_table_of_commands(command: str) -> None:
    assert re.search(rf"^\| `{command}\b", section(README, "Commands"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists(page: str) -> None:
    said = set(re.findall(r"(?<![\w/-])reconciler ((?:[a-z]+ ?)+)", "\n".join(in_code(page))))
    for words in said:
        first, *rest = words.split()
        assert f"reconciler {first}" in PARSERS, words
        if f"reconciler {first}" not in COMMANDS and rest:
            assert f"reconciler {first} {rest[0]}" in PARSERS, words


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_is_on_the_page_of_flags(flag: str) -> None:
    assert re.search(rf"`(?:[^`\n]* )?{flag}\b(?!-)[^`\n]*`", text(REFERENCE))


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_on_a_page_exists(page: str) -> None:
    said = {flag for code in in_code(page) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert said <= {*FLAGS, *EVERY_PROGRAM_HAS, *OF_OTHER_PROGRAMS}


def in_code(page: str) -> list[str]:
    """What is in back quotes, and each line of a block of code for the shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text(page), flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [*re.findall(r"`([^`\n]+)`", prose), *lines]


def test_the_settings_are_exactly_those_of_the_program() -> None:
    def quoted(text: str | None) -> str:
        return "" if text is None else f"`{text}`"

    (listed,) = tables(REFERENCE, "Settings")
    assert listed == [
        [quoted(options.flag(one)), quoted(options.variable(one)), quoted(one.default), one.help]
        for one in options.ALL
    ]


def test_the_exit_statuses_are_exactly_those_of_the_program() -> None:
    (listed,) = tables(README, "Exit status")
    assert [int(row[0]) for row in listed] == [*ExitStatus]


def test_the_transitions_are_exactly_those_of_the_program() -> None:
    (listed,) = tables(LEDGER, "Transitions")
    assert listed == [
        [f"`{case}`", row.known, row.snapshot, row.does] for case, row in TRANSITIONS.items()
    ]


def test_the_times_are_exactly_those_of_the_program() -> None:
    (listed,) = tables(LEDGER, "Times")
    assert listed == [[rule.rows, rule.occurred_at, f"`{rule.source}`"] for rule in RULES_OF_TIME]


def test_the_rules_of_a_ledger_are_those_that_verify_knows() -> None:
    advice = re.findall(r"^(.+):\n\n\|", section(LEDGER, "The rules of a ledger"), re.MULTILINE)
    listed = [
        (rule, broken, then)
        for then, rows in zip(advice, tables(LEDGER, "The rules of a ledger"), strict=True)
        for rule, broken in rows
    ]
    known = [
        (f"`{rule.name}`", rule.broken, rule.advice[:1].upper() + rule.advice[1:])
        for rule in RULES.values()
    ]
    assert sorted(listed) == sorted(known)


def test_the_steps_of_the_walk_through_print_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    blocks = r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    steps = re.findall(blocks, section(WALK_THROUGH, "Walk-through"), re.MULTILINE | re.DOTALL)
    followed = "".join(f"{commands}printf '\\0'\n" for commands, _ in steps)
    ran = Command(tmp_path, ["sh", "-ec"])(followed)
    assert ran.status == 0, ran.err
    *printed, rest = ran.out.split("\0")
    assert not rest
    for (_, shown), out in zip(steps, printed, strict=True):
        pattern = ".*".join(map(re.escape, shown.rstrip().split("…")))
        assert re.fullmatch(pattern, out.rstrip(), re.DOTALL), f"{out}\nis not\n{shown}"


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_readme_names_the_two_commands_of_a_newcomer(target: str) -> None:
    assert re.search(rf"^make {target}\b", section(README, "Try it"), re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(text(README).splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_on_a_page_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {code.split()[1] for code in in_code(page) if code.startswith("make ")} <= targets


def test_the_rollback_on_the_page_is_the_one_that_drop_runs() -> None:
    blocks = re.findall(r"^```sql\n(.*?)^```", text(LEDGER), flags=re.MULTILINE | re.DOTALL)
    drop = (ROOT / "schema" / "drop.sql").read_text(encoding="utf-8")
    assert drop == schema.drop_statements()
    assert drop.strip() in [block.strip() for block in blocks]


def library_names() -> list[str]:
    """Every name of ours that the section on the library gives in full: `reconciler.passes.run_pass`."""
    names = re.findall(r"`(reconciler(?:\.\w+)+)", section(REFERENCE, "As a library"))
    return sorted({*names})


@pytest.mark.parametrize("name", library_names())
def test_what_can_be_imported_as_the_page_says_is_there_and_documented(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    parent = import_module(module)
    found = getattr(parent, attribute, None) or import_module(name)
    assert found.__doc__


def test_the_lines_of_the_library_run_as_they_stand(
    ledger_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines,) = re.findall(
        r"^```python\n(.*?)^```", section(REFERENCE, "As a library"), re.MULTILINE | re.DOTALL
    )
    apply(ledger_url, *sorted(SAMPLES.glob("*.json")))
    exec(compile(lines, REFERENCE, "exec"), {"url": ledger_url})  # noqa: S102 - our own
    assert "320815470900000001 bergbahn-arosa monthly_fee 4 0.00\n" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_or_a_section_leads_to_one(page: str) -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text(page)):
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), file
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles]
