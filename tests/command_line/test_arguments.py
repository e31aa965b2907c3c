"""What is wrong on the command line ends in one line that says what was meant."""

from pathlib import Path

import pytest

from tests.conftest import Command


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "the following arguments are required: COMMAND (see `reconciler --help`)"),
        ("rnu", "there is no command 'rnu'; did you mean run? (see `reconciler --help`)"),
        ("frobnicate", "there is no command 'frobnicate'; expected run, loop, verify"),
        ("org mvoe", "there is no command 'mvoe'; did you mean move? (see `reconciler org --help`)"),
        ("schema", "required: COMMAND (see `reconciler schema --help`)"),
        ("run --dryrun", "reconciler run has no flag '--dryrun'; did you mean --dry-run?"),
        ("run --snapshoot x.json", "no flag '--snapshoot'; did you mean --snapshot?"),
        ("run --page-sise=5", "no flag '--page-sise'; did you mean --page-size?"),
        ("run --no-embeded", "no flag '--no-embeded'; did you mean --no-embedded?"),
        ("run --zzzzzz", "reconciler run has no flag '--zzzzzz' (see `reconciler run --help`)"),
        (
            "coverage --dry-run",
            "no flag '--dry-run'; it is a flag of reconciler run, reconciler org move",
        ),
        ("run --output jsn", "--output: there is no value 'jsn'; did you mean json?"),
        ("run now", "reconciler run does not expect 'now'"),
        ("run --embedded=maybe", "--embedded: expected true or false"),
        ("void twelve", "argument PASS: expected a whole number, not 'twelve'"),
        ("usage --top 1.5", "argument --top: expected a whole number, not '1.5'"),
        ("run --page-size 1.5", "--page-size (RECONCILER_PAGE_SIZE): expected a whole number"),
        ("run --page-size 0", "--page-size (RECONCILER_PAGE_SIZE): expected 1 or more"),
        ("run --brake-percent x", "(RECONCILER_BRAKE_PERCENT): expected a number"),
        ("run --brake-percent 200", "(RECONCILER_BRAKE_PERCENT): expected 100 or less"),
        ("run --page-size", "argument --page-size: expected one argument"),
        ("run --x\x1b[31m", "has no flag '--x\\x1b[31m'"),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, typed: str, words: str) -> None:
    done = Command(tmp_path)(*typed.split())
    assert (done.status, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("reconciler: ")
    assert line.isprintable()
    assert words in line


@pytest.mark.parametrize(
    "flags",
    [
        "loop --quarantine-exit 0",
        "loop --cluster-uid x",
        "verify --quarantine-exit 0",
        "loop --reopen anna",
        "loop --allow-deletions 3",
    ],
)
def test_a_command_takes_no_flag_that_means_nothing_to_it(tmp_path: Path, flags: str) -> None:
    done = Command(tmp_path)(*flags.split())
    assert done.status == 2
    assert "has no flag" in done.err


@pytest.mark.parametrize(
    "off",
    [("--no-embedded",), ("--embedded=false",), ("--embedded=No",), ("--embedded", "--no-embedded")],
)
def test_a_switch_of_the_environment_is_turned_off_on_the_command_line(
    tmp_path: Path, off: tuple[str, ...]
) -> None:
    on = Command(tmp_path, settings={"RECONCILER_EMBEDDED": "true"})
    done = on("usage", "--month", "2026-10", *off)
    assert done.status == 2
    assert "no database" in done.err


def test_a_switch_of_the_command_line_excludes_what_the_environment_sets(command: Command) -> None:
    done = command("usage", "--month", "2026-10", "--embedded=true")
    assert done.status == 2
    assert "exclude each other" in done.err
