"""Reports as one self-contained HTML file: no script, and nothing that is loaded from elsewhere."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import resources
from itertools import groupby
from typing import Any, Final

from reconciler import __version__
from reconciler.core.history import Answer, WrittenRow
from reconciler.core.plan import Plan
from reconciler.core.report import Day, Fleet, Statement
from reconciler.core.text import clean, counted, stamp
from reconciler.core.usage import not_ready
from reconciler.errors import UsageError
from reconciler.output.history_report import evidence_text
from reconciler.output.plan_json import summary
from reconciler.output.plan_markdown import AT_ONCE
from reconciler.output.plan_text import decided, told_of_held
from reconciler.output.usage_report import FEES

LONGEST: Final = 300
"""Names are at most 253 characters long."""

_LEGEND: Final = {
    Day.COUNTED: "counted",
    Day.UNCERTAIN: "uncertain: the intervals of the rows allow both",
    Day.SUSPENDED: "suspended",
    Day.OFF: "not counted",
    Day.UNSEEN: "not observed",
}


_CODE: Final = re.compile("`([^`]*)`")
"""A command in a message."""


class _Strips:
    """The strips of a page. Each is drawn once, however many lines show it."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def id(self, letters: str) -> str:
        return self._ids.setdefault(letters, f"d{len(self._ids)}")

    def used(self) -> list[tuple[str, str]]:
        return [(id_, letters) for letters, id_ in self._ids.items()]


def statement_html(statement: Statement) -> Iterator[str]:
    """The page, in pieces. Raises UsageError if the template library is not installed."""
    usage = statement.standing.usage
    return _rendered(
        "statement.html",
        statement=statement,
        standing=statement.standing,
        month=f"{usage.period.start:%Y-%m}",
        length=(usage.period.end - usage.period.start).days,
        legend=_LEGEND.items(),
        strips=_Strips(),
        fees=FEES,
    )


def fleet_html(fleet: Fleet) -> Iterator[str]:
    """The page, in pieces. Raises UsageError if the template library is not installed."""
    standing = fleet.standing
    month = f"{standing.usage.period.start:%Y-%m}"
    length = (standing.usage.period.end - standing.usage.period.start).days
    return _rendered("fleet.html", fleet=fleet, standing=standing, month=month, length=length)


def plan_html(plan: Plan, *, dry_run: bool) -> Iterator[str]:
    """A pass, in pieces. Raises UsageError if the template library is not installed."""
    return _rendered(
        "plan.html",
        plan=plan,
        summary=summary(plan, dry_run=dry_run),
        held=told_of_held(plan),
        decided=[line.strip() for line in decided(plan)],
        changed=[change for change in plan.changes if change.rows],
        at_once=AT_ONCE,
    )


def _rendered(template: str, **values: Any) -> Iterator[str]:
    try:
        import jinja2
        from markupsafe import Markup, escape
    except ImportError:
        raise UsageError(
            "HTML needs the package jinja2: pip install 'pieced-reconciler[report]'"
        ) from None
    style = (resources.files("reconciler") / "output" / "templates" / "report.css").read_text()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reconciler", "output/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= _FILTERS
    environment.filters["code"] = lambda text: Markup(  # noqa: S704 - it was escaped
        _CODE.sub(r"<code>\1</code>", str(escape(text)))
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    about = {
        "style": Markup(style),  # noqa: S704 - our own
        "style_digest": f"sha256-{digest}",
        "version": __version__,
    }
    return environment.get_template(template).generate(**values, **about)


def _evidence(answer: Answer) -> Iterator[tuple[datetime, str, str, str]]:
    """The rows that decide, in their order: when, what, of which skills, and what proves it."""
    rows = [*answer.rows, *(row for skill in answer.skills for row in skill.rows)]

    def key(row: WrittenRow) -> tuple[datetime, str, str]:
        return row.occurred_at, row.kind.value, evidence_text(row)

    for (at, kind, evidence), same in groupby(sorted(rows, key=key), key):
        skills = [clean(row.skill_id, LONGEST) for row in same if row.skill_id is not None]
        yield at, kind, ", ".join(skills), evidence


def _runs(letters: str) -> Iterator[tuple[str, int, int]]:
    """Equal letters that follow one another: which, from which place on, and how many."""
    start = 0
    for letter, same in groupby(letters):
        length = len(list(same))
        yield letter, start, length
        start += length


_FILTERS: Final[Mapping[str, Any]] = {
    "clean": lambda text: clean(str(text), LONGEST),
    "counted": counted,
    "reasons": lambda doubts: [not_ready(doubt) for doubt in doubts if not doubt.is_ready],
    "evidence": _evidence,
    "runs": _runs,
    "stamp": stamp,
}
