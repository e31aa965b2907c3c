"""A pass as JSON, for other programs: the output of `run --output json`."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from reconciler.core.cases import Record
from reconciler.core.changes import Change, Row
from reconciler.core.kinds import EVENTS, MEANING, Kind, Subject
from reconciler.core.plan import Plan
from reconciler.core.text import clean, counted
from reconciler.core.times import TimeSource

_ROWS_AT_ONCE: Final = 1000

# DEL, C1, line and paragraph separators, and what turns the direction of text around (U+061C, U+200E,
# U+200F, U+202A to U+202E, U+2066 to U+2069); all below U+0020 is escaped already.
_UNSAFE: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


_VALUES: Final = tuple(subject.value for subject in EVENTS if subject.value is not None)

_Row: Final = msgspec.defstruct(
    "_Row",
    [
        *(("kind", Kind), ("tenant_name", str), ("tenant_uid", str | None), ("zitadel_org_id", str)),
        *((column, str | None) for column in _VALUES),
        *(("occurred_at", datetime), ("not_before", datetime), ("time_source", TimeSource)),
        ("observed_at", datetime),
    ],
    rename="camel",
)
"""One of the `rows`, with its keys in their order."""


def _other_values(subject: Subject) -> tuple[tuple[None, ...], tuple[None, ...]]:
    """The nulls before and after a row's value, in the columns of other subjects."""
    place = 0 if subject.value is None else _VALUES.index(subject.value)
    return (None,) * place, (None,) * (len(_VALUES) - place - 1)


_OTHER_VALUES: Final = {kind: _other_values(meaning.subject) for kind, meaning in MEANING.items()}


def summary(plan: Plan, *, dry_run: bool) -> str:
    """The pass in one line, for people."""
    counts, size = plan.counts(), plan.snapshot.size
    said = [f"{counts[kind]} {kind.value}" for kind in Kind if counts[kind]]
    said += [f"{number} {record}" for record in Record if (number := len(plan.recorded(record)))]
    if plan.quarantined:
        said.append(f"{len(plan.quarantined)} quarantined")
    if plan.held:
        said.append(f"{counted(len(plan.held), 'deletion')} held back")
    ending = "; dry run, nothing was written" if dry_run else ""
    if plan.snapshot.scope is not None and not plan.snapshot.scope:
        version = clean(plan.snapshot.resource_version or "")
        return f"caught up to resourceVersion {version}, without a list{ending}"
    return f"{counted(size, 'tenant')} examined: {', '.join(said) or 'no change'}{ending}"


def to_json(value: object) -> bytes:
    """One line that a terminal may show: no control character, and no line or paragraph separator."""
    return _UNSAFE.sub(_escaped, msgspec.json.encode(value))


def _escaped(match: re.Match[bytes]) -> bytes:
    return f"\\u{ord(match[0].decode()):04x}".encode()


def json_report(plan: Plan, *, dry_run: bool) -> Iterator[bytes]:
    """The object on one line, in pieces: a backfill has a million rows."""
    snapshot = plan.snapshot
    head = {
        "message": summary(plan, dry_run=dry_run),
        "dryRun": dry_run,
        "tenantsExamined": snapshot.size,
        **{_camel(counter): number for counter, number in plan.counters().items()},
        "quarantined": [{"tenantName": one.name, "reason": one.reason} for one in plan.quarantined],
        "held": [{"tenantName": one.name, "tenantUid": one.uid} for one in plan.held],
        "rebound": [
            {
                "tenantName": change.lifecycle.name,
                "tenantUid": change.lifecycle.uid,
                "previousUid": change.known.uid if change.known else None,
            }
            for change in plan.recorded(Record.REBINDING)
        ],
        "snapshot": {
            "clusterUid": snapshot.cluster_uid,
            "resourceVersion": snapshot.resource_version,
            "observedAt": snapshot.observed_at,
        },
    }
    yield to_json(head)[:-1] + b',"rows":['
    separator, batch = b"", []
    for change, row in plan.rows():
        batch.append(_row(change, row, snapshot.observed_at))
        if len(batch) == _ROWS_AT_ONCE:
            yield separator + to_json(batch)[1:-1]
            separator, batch = b",", []
    yield (separator if batch else b"") + to_json(batch)[1:-1] + b"]}\n"


def _row(change: Change, row: Row, observed_at: datetime) -> Struct:
    lifecycle, at = change.lifecycle, row.at
    before, after = _OTHER_VALUES[row.kind]
    return _Row(
        *(row.kind, lifecycle.name, lifecycle.uid, lifecycle.org),
        *before,
        row.value,
        *after,
        *(at.occurred_at, at.not_before, at.source, observed_at),
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))
