"""A pass as the JSON object that other programs read: the contract of `run --output json`."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from reconciler.core.plan import Change, Kind, Plan, Row
from reconciler.core.text import counted

_ROWS_AT_ONCE: Final = 1000

# DEL, C1, line and paragraph separators, and what turns the direction of text around (U+061C, U+200E,
# U+200F, U+202A to U+202E, U+2066 to U+2069); all below U+0020 is escaped already.
_UNSAFE: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


class _Named(Struct, rename="camel"):
    tenant_name: str
    tenant_uid: str | None


class _Rebound(Struct, rename="camel"):
    tenant_name: str
    tenant_uid: str | None
    previous_uid: str


class _Quarantined(Struct, rename="camel"):
    tenant_name: str | None
    reason: str


class _Snapshot(Struct, rename="camel"):
    cluster_uid: str | None
    resource_version: str | None
    observed_at: datetime


class _Row(Struct, rename="camel"):
    kind: Kind
    tenant_name: str
    tenant_uid: str | None
    zitadel_org_id: str
    skill_id: str | None
    occurred_at: datetime
    not_before: datetime
    time_source: str
    observed_at: datetime


class _Report(Struct, rename="camel"):
    message: str
    dry_run: bool
    tenants_examined: int
    lifecycle_inserted: int
    lifecycle_deleted: int
    events_inserted: int
    suspension_events_inserted: int
    quarantined: list[_Quarantined]
    held: list[_Named]
    rebound: list[_Rebound]
    snapshot: _Snapshot


def summary(plan: Plan, *, dry_run: bool) -> str:
    """The pass in one line, for people."""
    counts, size = plan.counts(), plan.snapshot.size
    said = [f"{counts[kind]} {kind.value}" for kind in Kind if counts[kind]]
    rebound = sum(change.rebound_from is not None for change in plan.changes)
    reopened = sum(change.reopened for change in plan.changes)
    moved = sum(change.moved_from is not None for change in plan.changes)
    decided = ((rebound, "rebound"), (reopened, "reopened"), (moved, "moved to another org"))
    said += [f"{number} {what}" for number, what in decided if number]
    if plan.quarantined:
        said.append(f"{len(plan.quarantined)} quarantined")
    if plan.held:
        said.append(f"{counted(len(plan.held), 'deletion')} held back")
    ending = "; dry run, nothing was written" if dry_run else ""
    return f"{counted(size, 'tenant')} examined: {', '.join(said) or 'no change'}{ending}"


def to_json(value: object) -> bytes:
    """One line that a terminal may show: no control character, and no line or paragraph separator."""
    return _UNSAFE.sub(_escaped, msgspec.json.encode(value))


def _escaped(match: re.Match[bytes]) -> bytes:
    return f"\\u{ord(match[0].decode()):04x}".encode()


def json_report(plan: Plan, *, dry_run: bool) -> Iterator[bytes]:
    """The object on one line, in pieces: a backfill has a million rows."""
    counts, snapshot = plan.counts(), plan.snapshot
    head = _Report(
        message=summary(plan, dry_run=dry_run),
        dry_run=dry_run,
        tenants_examined=snapshot.size,
        lifecycle_inserted=counts[Kind.CREATED],
        lifecycle_deleted=counts[Kind.DELETED],
        events_inserted=counts[Kind.ENABLED] + counts[Kind.DISABLED],
        suspension_events_inserted=counts[Kind.SUSPENDED] + counts[Kind.RESUMED],
        quarantined=[_Quarantined(one.name, one.reason) for one in plan.quarantined],
        held=[_Named(one.name, one.uid) for one in plan.held],
        rebound=[
            _Rebound(change.lifecycle.name, change.lifecycle.uid, change.rebound_from)
            for change in plan.changes
            if change.rebound_from is not None
        ],
        snapshot=_Snapshot(snapshot.cluster_uid, snapshot.resource_version, snapshot.observed_at),
    )
    yield to_json(head)[:-1] + b',"rows":['
    separator, batch = b"", []
    for change, row in plan.rows():
        batch.append(_row(change, row, snapshot.observed_at))
        if len(batch) == _ROWS_AT_ONCE:
            yield separator + to_json(batch)[1:-1]
            separator, batch = b",", []
    yield (separator if batch else b"") + to_json(batch)[1:-1] + b"]}\n"


def _row(change: Change, row: Row, observed_at: datetime) -> _Row:
    lifecycle, at = change.lifecycle, row.at
    return _Row(
        kind=row.kind,
        tenant_name=lifecycle.name,
        tenant_uid=lifecycle.uid,
        zitadel_org_id=lifecycle.org,
        skill_id=row.skill,
        occurred_at=at.occurred_at,
        not_before=at.not_before,
        time_source=at.source.value,
        observed_at=observed_at,
    )
