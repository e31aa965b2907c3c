"""A pass as text for people: the changes of each tenant, in columns."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from reconciler.core.cases import Record
from reconciler.core.changes import Change, Row
from reconciler.core.kinds import MEANING, Effect
from reconciler.core.plan import Plan
from reconciler.core.text import aligned, clean, counted, stamp
from reconciler.output.plan_json import summary

MOST_TENANTS: Final = 100
"""The text shows no more. The JSON has all."""

_COLOURS: Final = {Effect.MORE: "32", Effect.LESS: "33", Effect.END: "31"}


def text_report(plan: Plan, *, dry_run: bool, colour: bool) -> Iterator[str]:
    """The lines, without their ends."""
    snapshot = plan.snapshot
    if snapshot.scope is not None:
        # One watched change. The list or the note that follows it tells the time.
        yield from _changes(plan, colour=colour)
        if not snapshot.scope:
            yield summary(plan, dry_run=dry_run)
        return
    yield f"Snapshot of {stamp(snapshot.observed_at)} ({clean(snapshot.source, 200)})"
    yield from _changes(plan, colour=colour)
    yield summary(plan, dry_run=dry_run)


def _changes(plan: Plan, *, colour: bool) -> Iterator[str]:
    changed = [change for change in plan.changes if change.rows]
    shown = changed[:MOST_TENANTS]
    rows = [(change, row) for change in shown for row in change.rows]
    for (_, row), (name, kind, *rest) in zip(rows, aligned([*_cells(rows)]), strict=True):
        coloured = _coloured(kind, _COLOURS[MEANING[row.kind].effect], colour)
        yield "  ".join(("", name, coloured, *rest)).rstrip()
    yield from decided(plan)
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
        yield f"  {told_of_held(plan)}"


def told_of_held(plan: Plan) -> str:
    """What to do about the deletions that are held back."""
    return (
        "That is more than usual. If these tenants are really gone, "
        f"run once with --allow-deletions {len(plan.held)}"
    )


def decided(plan: Plan) -> Iterator[str]:
    """The changes that an operator allowed."""
    for change in plan.changes:
        lifecycle, previous = change.lifecycle, change.previous
        name = clean(lifecycle.name)
        match change.case.record:
            case Record.REBINDING:
                yield f"  {name}  goes on under uid {clean(lifecycle.uid or '')}"
            case Record.REOPENING:
                yield f"  {name}  its deletion is withdrawn"
            case Record.MOVE if previous is not None:
                yield f"  {name}  moved from org {clean(previous.org)} to {clean(lifecycle.org)}"


def _cells(rows: Sequence[tuple[Change, Row]]) -> Iterator[Sequence[str]]:
    """Tenant (of its first row only), kind, skill, time and where the time is from."""
    before = None
    for change, row in rows:
        name = "" if change is before else clean(change.lifecycle.name)
        before = change
        at = row.at
        yield name, row.kind.value, clean(row.value or ""), stamp(at.occurred_at), at.source.value


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


def _coloured(text: str, code: str, colour: bool) -> str:  # noqa: FBT001
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
