"""A plan as Markdown and as HTML: counts first, then what waits, then the changes."""

import re

from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command

HARM = "a|b`c*d_e<script>[x](y)"


def plan(command: Command, form: str, count: int) -> str:
    tenants = [tenant(f"tenant-{number:03}", "mail") for number in range(count)]
    file = snapshot(command.folder, "20251102T000000Z", *tenants, tenant(HARM, HARM), tenant("odd", 7))
    done = command("run", "--dry-run", "--snapshot", file, "--output", form)
    assert done.status == 4, done.err
    return done.out


def test_markdown_begins_with_the_counts_and_collapses_what_is_long(command: Command) -> None:
    lines = plan(command, "markdown", 40).splitlines()
    assert lines[0] == (
        "**42 tenants examined: 41 created, 41 enabled, 1 quarantined; dry run, nothing was written**"
    )
    assert "**Quarantined: 1 tenant**" in lines[:6]
    assert "<details><summary>16 more tenants</summary>" in lines
    assert lines[-1] == "</details>"
    rows = [line for line in lines if line.startswith("| ") and " | enabled | " in line]
    assert len(rows) == 41
    # A name is text: nothing in it is markup, and a row stays a row.
    assert all(line.count("|") == 6 for line in lines if line.startswith("|"))
    assert not re.search(r"<script|`|\*d_", "\n".join(lines))


def test_html_is_one_page_that_loads_nothing(command: Command) -> None:
    page = plan(command, "html", 3)
    assert page.startswith("<!DOCTYPE html>")
    assert "Content-Security-Policy" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "5 tenants examined" in page
    assert "1 tenant quarantined" in page


def test_deletions_that_are_held_back_stand_before_the_changes(command: Command) -> None:
    before = [tenant(f"tenant-{number:02}", "mail") for number in range(12)]
    first = snapshot(command.folder, "20251101T000000Z", *before)
    assert command("run", "--snapshot", first).status == 0
    second = snapshot(command.folder, "20251102T000000Z", tenant("tenant-00", "mail", "wiki"))
    held = command("run", "--dry-run", "--snapshot", second, "--output", "markdown")
    assert held.status == 3
    assert held.out.index("**Held back: 11 deletions**") < held.out.index("| tenant | change |")
    assert "run once with &#45;" not in held.out
    assert "allow" in held.out
