"""Draws the pictures of the README from what the program prints: `python -m tests.docs.pictures`."""

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.conftest import SAMPLES, Command

FIRST: Final = "tenants-20261101T060000Z.json"
SECOND: Final = "tenants-20261104T060000Z.json"
PLAN: Final = ("run", "--snapshot", SECOND, "--dry-run")
BILL: Final = ("usage", "--month", "2026-11", "--org", "320815470900000003", "--prices")
PRICES: Final = {"mail": "0.5", "shop": "0.9", "threema": "0.25"}

_COLOURS: Final = {"": "#d1d5db", "31": "#f87171", "32": "#4ade80", "33": "#facc15", "35": "#e879f9"}
_WIDTH: Final = 7.8
_HEIGHT: Final = 18
_MARGIN: Final = 14


def pictures(command: Command) -> Iterator[tuple[str, str]]:
    """The name and the SVG of each picture. The ledger of `command` must be empty."""
    for name in (FIRST, SECOND):
        (command.folder / name).symlink_to(SAMPLES / name)
    command("run", "--snapshot", FIRST)
    yield "plan.svg", _picture(command, PLAN)
    command("run", "--snapshot", SECOND)
    command("pricing", "set", "--tenant-monthly-fee-chf", "49", "--tenant-setup-fee-chf", "99")
    for skill, price in PRICES.items():
        command("pricing", "skill", "set", skill, price)
    yield "bill.svg", _picture(command, BILL)


def _picture(command: Command, arguments: tuple[str, ...]) -> str:
    printed = _on_terminal(command, arguments)
    lines = [f"$ reconciler {' '.join(arguments)}", *printed.rstrip().splitlines()]
    width = round(max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in lines) * _WIDTH) + 2 * _MARGIN
    height = len(lines) * _HEIGHT + 2 * _MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"',
        f' height="{height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">',
        f'<rect width="{width}" height="{height}" rx="6" fill="#111827"/>',
    ]
    for number, line in enumerate(lines):
        baseline = _MARGIN + (number + 1) * _HEIGHT - 5
        if spans := "".join(_spans(line)):
            drawn.append(f'<text y="{baseline}">{spans}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def _on_terminal(command: Command, arguments: tuple[str, ...]) -> str:
    """What the command prints where its output is a terminal, with its colours."""
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [*command.program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.PIPE,
        cwd=command.folder,
        env=command.environment(),
    )
    os.close(terminal)
    printed = b""
    with os.fdopen(ours, "rb", buffering=0) as stream:
        try:
            while some := stream.read(65_536):
                printed += some
        except OSError:
            pass  # Linux reports the end of a terminal as an error.
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return printed.decode().replace("\r\n", "\n")


def _spans(line: str) -> Iterator[str]:
    """The parts of a line, each at its column, so that columns stay aligned in any font."""
    column = 0
    for code, part in re.findall(r"(?:\x1b\[(\d*)m)?([^\x1b]*)", line):
        for found in re.finditer(r"\S+(?: \S+)*", part):
            x, colour = _MARGIN + (column + found.start()) * _WIDTH, _COLOURS[code.removesuffix("0")]
            yield f'<tspan x="{x:g}" fill="{colour}">{escape(found.group())}</tspan>'
        column += len(part)


def main() -> None:
    with TemporaryDirectory() as folder:
        command = Command(Path(folder), settings={"RECONCILER_EMBEDDED": "true"})
        for name, drawn in pictures(command):
            (SAMPLES / name).write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
