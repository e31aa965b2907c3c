"""What the ledger holds of one tenant and of the passes, as values; and what follows from it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.core.plan import Kind

_SWITCHES = {
    Kind.ENABLED: True,
    Kind.DISABLED: False,
    Kind.SUSPENDED: True,
    Kind.RESUMED: False,
}


class PassRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """One pass, as it was recorded when it was written."""

    id: int
    source: str
    cluster_uid: str | None
    resource_version: str | None
    asked_at: datetime
    observed_at: datetime
    written_at: datetime


class WrittenRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """One row of the ledger, and the pass that wrote it. What the portal wrote has no evidence."""

    kind: Kind
    skill_id: str | None = None
    occurred_at: datetime
    not_before: datetime | None = None
    time_source: str | None = None
    observed_at: datetime | None = None
    written_by: PassRecord | None = None


class WrittenLifecycle(Struct, frozen=True, kw_only=True, rename="camel"):
    """One lifecycle with all its rows, in the order in which they happened."""

    id: int
    tenant_name: str
    tenant_uid: str | None
    zitadel_org_id: str
    cluster_uid: str | None
    created_at: datetime
    deleted_at: datetime | None
    rows: Sequence[WrittenRow]


class Span(Struct, frozen=True):
    """A half-open span of time."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Its length."""
        return self.end - self.start


def spans(lifecycle: WrittenLifecycle, until: datetime) -> Mapping[str | None, Sequence[Span]]:
    """When each skill was enabled, and (None) when the tenant was suspended; no later than `until`."""
    end = max(min(lifecycle.deleted_at or until, until), lifecycle.created_at)
    found: dict[str | None, list[Span]] = {}
    since: dict[str | None, datetime] = {}
    for row in lifecycle.rows:
        switched_on = _SWITCHES.get(row.kind)
        if switched_on:
            found.setdefault(row.skill_id, [])
            since.setdefault(row.skill_id, row.occurred_at)
        elif switched_on is False and row.skill_id in since:
            found[row.skill_id].append(Span(since.pop(row.skill_id), row.occurred_at))
    for subject, start in since.items():
        found[subject].append(Span(start, max(start, end)))
    return found


def gaps(
    looks: Sequence[Span], start: datetime | None, end: datetime, longest: timedelta
) -> Iterator[Span]:
    """The spans longer than `longest` in which nobody looked.

    `looks` are the passes, oldest first, each from its first request to its first page; `start` None
    is the first pass. A pass knows what there was at its instant, not when it came to be.
    """
    seen = start
    for look in [*looks, Span(end, end)]:
        if seen is not None and look.start - seen > longest and seen < end:
            yield Span(seen, min(look.start, end))
        seen = look.end if seen is None else max(seen, look.end)
