"""A pass as Markdown, to paste into a pull request or a ticket, and the same as an HTML page."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from reconciler.core.changes import Change
from reconciler.core.plan import Plan
from reconciler.core.text import clean, counted, stamp
from reconciler.output.plan_json import summary
from reconciler.output.plan_text import decided, told_of_held

AT_ONCE: Final = 25
"""Tenants before the rest is collapsed: about a screenful."""
_PLAIN: Final = frozenset(" -./:,;()")
_HEAD: Final = ("| tenant | change | skill | time | from |", "|---|---|---|---|---|")


def markdown_report(plan: Plan, *, dry_run: bool) -> Iterator[str]:
    """The lines, without their ends, in GitHub's Markdown."""
    snapshot = plan.snapshot
    yield f"**{_safe(summary(plan, dry_run=dry_run), 300)}**"
    yield ""
    yield f"Snapshot of {stamp(snapshot.observed_at)} ({_safe(snapshot.source, 200)})"
    yield from _waiting(plan)
    if lines := [f"- {_safe(line.strip(), 300)}" for line in decided(plan)]:
        yield from ("", *lines)
    changed = [change for change in plan.changes if change.rows]
    yield from _table(changed[:AT_ONCE])
    if rest := changed[AT_ONCE:]:
        yield from ("", f"<details><summary>{counted(len(rest), 'more tenant')}</summary>")
        yield from _table(rest)
        yield from ("", "</details>")


def _waiting(plan: Plan) -> Iterator[str]:
    """What waits for a decision, before everything else."""
    if plan.held:
        yield from ("", f"**Held back: {counted(len(plan.held), 'deletion')}**", "")
        yield _safe(told_of_held(plan).strip(), 300)
        yield from _collapsed([f"- {_safe(one.name)}" for one in plan.held])
    if plan.quarantined:
        yield from ("", f"**Quarantined: {counted(len(plan.quarantined), 'tenant')}**")
        yield from _collapsed(
            [f"- {_safe(one.name or '(no name)')}: {_safe(one.reason, 300)}" for one in plan.quarantined]
        )


def _collapsed(lines: Sequence[str]) -> Iterator[str]:
    yield from ("", *lines[:AT_ONCE])
    if rest := lines[AT_ONCE:]:
        yield from ("", f"<details><summary>{len(rest)} more</summary>", "", *rest, "", "</details>")


def _table(changes: Sequence[Change]) -> Iterator[str]:
    if changes:
        yield from ("", *_HEAD, *chain.from_iterable(map(_rows, changes)))


def _rows(change: Change) -> Iterator[str]:
    """A row each; only the first names the tenant."""
    name = _safe(change.lifecycle.name)
    for row in change.rows:
        at = row.at
        cells = (name, row.kind.value, _safe(row.value or ""), stamp(at.occurred_at), at.source.value)
        yield f"| {' | '.join(cells)} |"
        name = ""


def _safe(text: str, longest: int = 253) -> str:
    """Text that neither Markdown nor HTML takes for markup."""
    return "".join(
        one if one.isalnum() or one in _PLAIN else f"&#{ord(one)};" for one in clean(text, longest)
    )
