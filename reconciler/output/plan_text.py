"""A pass for a person: what changes for each tenant, aligned; coloured on a terminal only."""

import os
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Final, TextIO

from reconciler.core.plan import Kind, Plan
from reconciler.output.plan_json import counted, summary

MOST_TENANTS: Final = 100
"""More than that nobody reads; the JSON has all."""

_COLOURS: Final = {
    Kind.CREATED: "32",
    Kind.ENABLED: "32",
    Kind.DISABLED: "33",
    Kind.SUSPENDED: "33",
    Kind.RESUMED: "32",
    Kind.DELETED: "31",
}
_WIDEST: Final = 40


def text_report(plan: Plan, *, dry_run: bool, colour: bool) -> Iterator[str]:
    """The lines, without their ends."""
    snapshot = plan.snapshot
    changed = [change for change in plan.changes if change.rows]
    shown = changed[:MOST_TENANTS]
    name_width = max((len(clean(change.lifecycle.name)) for change in shown), default=0)
    skills = [clean(row.skill or "") for change in shown for row in change.rows]
    skill_width = max(map(len, skills), default=0)
    yield f"Snapshot of {time(snapshot.observed_at)} ({clean(snapshot.source, 200)})"
    for change in shown:
        name = clean(change.lifecycle.name)
        for row in change.rows:
            kind = _coloured(f"{row.kind.value:<9}", _COLOURS[row.kind], colour)
            skill = f"{clean(row.skill or ''):<{skill_width}}"
            at = f"{time(row.at.occurred_at)}  {row.at.source.value}"
            yield f"  {name:<{name_width}}  {kind}  {skill}  {at}"
            name = ""
    for change in plan.changes:
        name, uid = clean(change.lifecycle.name), clean(change.lifecycle.uid or "")
        if change.rebound_from is not None:
            yield f"  {name}  goes on under uid {uid}"
        if change.reopened:
            yield f"  {name}  its deletion is withdrawn"
        if change.moved_from is not None:
            orgs = f"from org {clean(change.moved_from.org)} to {clean(change.lifecycle.org)}"
            yield f"  {name}  moved {orgs}"
    if len(changed) > len(shown):
        more = counted(len(changed) - len(shown), "more tenant")
        yield f"  … and {more}; --output json has it all"
    for one in plan.quarantined:
        yield _coloured(
            f"  {clean(one.name or '(no name)')}  quarantined: {clean(one.reason, 300)}",
            "35",
            colour,
        )
    for held in plan.held:
        yield _coloured(f"  {clean(held.name)}  deletion held back: not in the snapshot", "35", colour)
    if plan.held:
        yield (
            "  So many do not vanish on an ordinary day. If they are gone, "
            f"run once with --allow-deletions {len(plan.held)}"
        )
    yield summary(plan, dry_run=dry_run)


def wants_colour(stream: TextIO | None) -> bool:
    """On a terminal, unless NO_COLOR says otherwise."""
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")


class Progress:
    """One line on a terminal that says how far it is; elsewhere nothing."""

    def __init__(self, stream: TextIO | None = sys.stderr) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None

    def __call__(self, text: str) -> None:
        """Shows `text` in place of what was shown before; an empty one clears the line."""
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


def clean(text: str, longest: int = _WIDEST) -> str:
    """Without control characters, on one line, and not too wide."""
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return safe if len(safe) <= longest else safe[: longest - 1] + "…"


def time(instant: datetime) -> str:
    """To the second, UTC."""
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"


def _coloured(text: str, code: str, colour: bool) -> str:  # noqa: FBT001
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
