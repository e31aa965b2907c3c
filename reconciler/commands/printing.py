"""Prints a pass that was made, and tells its exit status."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from reconciler.core.text import quoted
from reconciler.errors import ExitStatus, NotPrinted, lowest
from reconciler.ledger import script
from reconciler.output.plan_json import json_report
from reconciler.output.plan_markdown import markdown_report
from reconciler.output.plan_text import text_report, wants_colour
from reconciler.passes import Pass


def print_pass(done: Pass, output: str, *, dry_run: bool) -> None:
    """The results, on stdout. Raises NotPrinted; the pass is what it is all the same."""
    if output == "json":
        print_bytes(json_report(done.plan, dry_run=dry_run))
    elif output == "markdown":
        print_lines(markdown_report(done.plan, dry_run=dry_run))
    elif output == "html":
        # Only here: it needs an extra.
        from reconciler.output.html import plan_html

        page = plan_html(done.plan, dry_run=dry_run)
        print_bytes(piece.encode(errors="backslashreplace") for piece in page)
    elif output == "sql":
        print_lines(script.script(done.plan, done.known))
    else:
        print_lines(text_report(done.plan, dry_run=dry_run, colour=wants_colour(sys.stdout)))


def print_either(output: str, as_json: bytes, as_text: Iterable[str]) -> int:
    """A result as one JSON object or as lines of text; the exit status of a command that is done."""
    if output == "json":
        print_bytes([as_json, b"\n"])
    else:
        print_lines(as_text)
    return ExitStatus.DONE


def print_lines(lines: Iterable[str]) -> None:
    """Text, in UTF-8 whatever the locale says. Raises NotPrinted."""
    print_bytes(f"{line}\n".encode(errors="backslashreplace") for line in lines)


def print_bytes(pieces: Iterable[bytes]) -> None:
    """Results on stdout. Raises NotPrinted; of a pipe that its reader closed, without a word."""
    if sys.stdout is None:
        return
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Python would try, and complain, once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise NotPrinted from None
        raise NotPrinted(
            f"the result could not be printed ({error.strerror}); what was written to the ledger stays"
        ) from None


def write_file(name: str, pieces: Iterable[bytes]) -> None:
    """All of a file or nothing: whoever reads it meanwhile sees the one before. Raises NotPrinted."""
    file = Path(name)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with partial.open("wb") as opened:
            opened.writelines(pieces)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise NotPrinted(f"cannot write {quoted(name, 200)}: {error.strerror}") from None


def exit_status(done: Pass, quarantine_exit: int) -> int:
    """What the pass came to."""
    held = ExitStatus.REFUSED if done.plan.held else ExitStatus.DONE
    return lowest([held, quarantine_exit if done.plan.quarantined else ExitStatus.DONE])
