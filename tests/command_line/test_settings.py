"""What is in effect, where it comes from, and what looks like a setting and is none."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler import options
from tests.conftest import Command

SECRET = "s3cr3t"
URL = f"postgresql://billing:{SECRET}@db.example:5433/ledger?sslmode=require"


def settings(command: Command, *flags: str, **variables: str) -> dict[str, dict[str, Any]]:
    done = command("settings", "--output", "json", *flags, **variables)
    assert done.status == 0, done.err
    return {one["flag"]: one for one in done.report["settings"]}


def test_each_setting_is_shown_with_its_source(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "RECONCILER_PAGE_SIZE=7\nRECONCILER_INTERVAL=9m\nRECONCILER_KIND=A\n", encoding="utf-8"
    )
    variables = {"RECONCILER_INTERVAL": "8m", "RECONCILER_KIND": "B", "RECONCILER_CONTEXT": ""}
    shown = settings(Command(tmp_path), "--kind", "C", "--no-watch", **variables)
    assert list(shown) == [options.flag(option) for option in options.ALL]
    told = {flag: (one["value"], one["from"]) for flag, one in shown.items()}
    assert told["--kind"] == ("C", "flag")
    assert told["--watch"] == ("false", "flag")
    assert told["--interval"] == ("8m", "environment")
    assert told["--page-size"] == ("7", ".env")
    assert told["--plural"] == ("piecedtenants", "default")
    assert told["--context"] == (None, "default")


@pytest.mark.parametrize("output", ["text", "json"])
def test_of_the_database_url_everything_is_shown_but_the_secret(tmp_path: Path, output: str) -> None:
    done = Command(tmp_path)("settings", "--output", output, RECONCILER_DATABASE_URL=URL)
    assert done.status == 0
    assert SECRET not in done.out + done.err
    assert "postgresql://billing:***@db.example:5433/ledger" in done.out


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = Command(tmp_path)("settings", RECONCILER_PAGE_SIZE="many")
    assert (done.status, done.out) == (2, "")
    assert "--page-size (RECONCILER_PAGE_SIZE)" in done.err


def test_variables_that_are_no_setting_are_named_in_one_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RECONCILER_LOGLEVEL=info\n", encoding="utf-8")
    unknown = {"RECONCILER_PAGE_SISE": "5", "RECONCILER_ZZZ": SECRET}
    done = Command(tmp_path)("settings", **unknown)
    (line,) = done.err.splitlines()
    assert "RECONCILER_PAGE_SISE (did you mean RECONCILER_PAGE_SIZE?)" in line
    assert "RECONCILER_LOGLEVEL (did you mean RECONCILER_LOG_LEVEL?)" in line
    assert "RECONCILER_ZZZ" in line
    assert SECRET not in line


def test_what_kubernetes_sets_for_a_service_is_no_unknown_setting(tmp_path: Path) -> None:
    service = {
        "RECONCILER_SERVICE_HOST": "10.0.0.1",
        "RECONCILER_SERVICE_PORT_METRICS": "8080",
        "RECONCILER_PORT": "tcp://10.0.0.1:8080",
        "RECONCILER_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert Command(tmp_path)("settings", **service).err == ""


def test_a_shell_completes_commands_and_flags(tmp_path: Path) -> None:
    script = Command(tmp_path)("completion", "bash").out
    asked = """
COMP_WORDS=(reconciler org m); COMP_CWORD=2; _shtab_reconciler; echo "${COMPREPLY[@]}"
COMP_WORDS=(reconciler run --dry); COMP_CWORD=2; _shtab_reconciler; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "-c", script + asked], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert re.findall(r"\S+", done.stdout) == ["move", "--dry-run"], done.stderr


def test_make_help_lists_every_target() -> None:
    root = Path(__file__).parents[2]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], capture_output=True, text=True, cwd=root, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets
