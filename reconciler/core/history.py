"""What the ledger holds of one tenant and of the passes, as values; and what follows from it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.kinds import MEANING, SUSPENSION, Kind, kinds_of
from reconciler.core.text import org_text


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


class WrittenOverride(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an operator decided in one pass, as it was recorded."""

    override: str
    """move, rebind, reopen, allow-deletions or adopt-cluster."""
    pass_id: int
    decided_at: datetime
    decided_by: str
    database_user: str
    because: str | None
    effective_at: datetime | None
    """When the tenant moved, if the operator gave the time."""
    outside: bool | None
    """Whether that time lies outside of the interval that the evidence allows."""


class WrittenLifecycle(Struct, frozen=True, kw_only=True, rename="camel"):
    """One lifecycle with all its rows, in the order in which they happened."""

    id: int
    tenant_name: str
    tenant_uid: str | None
    zitadel_org_id: str
    org_name: str | None = None
    """What people call the organisation, where it was given a name."""
    cluster_uid: str | None
    created_at: datetime
    deleted_at: datetime | None
    rows: Sequence[WrittenRow]
    overrides: Sequence[WrittenOverride] = ()
    """What operators decided about it, or about its cluster while it lived; oldest first."""


class Span(Struct, frozen=True):
    """A half-open span of time; an empty one is the instant at which it lies."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Its length."""
        return self.end - self.start

    def common(self, other: "Span") -> "Span | None":
        """What both cover; None where there is nothing. An instant is covered as any other."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        if start < end or (start == end and self.covers(start) and other.covers(start)):
            return Span(start, end)
        return None

    def covers(self, instant: datetime) -> bool:
        """Whether the instant lies in it."""
        return self.start <= instant < self.end or self.start == instant == self.end


class Gap(Struct, frozen=True):
    """A span in which a change may have been made and undone unseen."""

    span: Span
    is_lost: bool
    """A list says that it may have missed something; else nobody knows whether something was missed."""


class Coverage(Struct, frozen=True):
    """What the lists of a period vouch for."""

    start: datetime | None
    """None: there is no list yet."""
    lists: int
    gaps: Sequence[Gap]


class SkillAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a skill counted, and the rows that make it so."""

    skill_id: str
    is_billable: bool
    because: str
    rows: Sequence[WrittenRow]


class Answer(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a lifecycle was billable within a span: it lived, and was not suspended throughout."""

    lifecycle_id: int
    tenant_name: str
    tenant_uid: str | None
    zitadel_org_id: str
    org_name: str | None
    is_billable: bool
    because: str
    rows: Sequence[WrittenRow]
    skills: Sequence[SkillAnswer]


Found = TypeVar("Found", Answer, SkillAnswer)


def answer_of_day(
    lifecycle: WrittenLifecycle, asked: Span, until: datetime, moved_to: Sequence[WrittenLifecycle]
) -> Answer:
    """Whether that calendar day counted for it, as known at `until`.

    A day counts for one organisation: the last one that its tenant moved to and for which it counts.
    """
    found = answer(lifecycle, asked, until)
    later = [answer(one, asked, until) for one in moved_to]
    of_skills = {skill.skill_id: one for one in later for skill in one.skills if skill.is_billable}
    return replace(
        _given_up(found, next((one for one in reversed(later) if one.is_billable), None)),
        skills=[_given_up(skill, of_skills.get(skill.skill_id)) for skill in found.skills],
    )


def _given_up(found: Found, to: Answer | None) -> Found:
    """The same, not billable if the day counts for the org of another answer."""
    if to is None or not found.is_billable:
        return found
    org = org_text(to.zitadel_org_id, to.org_name)
    because = f"the day counts for the org that it moved to, {org}"
    return replace(found, is_billable=False, because=because)


def answer(lifecycle: WrittenLifecycle, asked: Span, until: datetime) -> Answer:
    """Whether it was billable at some instant of the span, and each of its skills, as known at `until`.

    A skill counts where it was enabled while the tenant lived and was not suspended; one that was
    switched on and off in the same instant counts for that instant.
    """
    asked = Span(asked.start, min(asked.end, until))
    found = spans(lifecycle, until)
    life = Span(lifecycle.created_at, max(lifecycle.deleted_at or until, lifecycle.created_at))
    active = list(_active(lifecycle, life, found.get(None, ())))
    counted = [both for one in active if (both := one.common(asked))]
    if asked.end <= life.start:
        because = "it was not created yet"
    elif life.common(asked) is None:
        because = "it was deleted before"
    elif not counted:
        because = "it was suspended throughout"
    elif any(one.common(asked) for one in found.get(None, ())):
        because = "it lived, and was suspended only for a part"
    else:
        because = "it lived, and was not suspended"
    ends = [row for row in lifecycle.rows if row.kind in (Kind.CREATED, Kind.DELETED)]
    return Answer(
        lifecycle_id=lifecycle.id,
        tenant_name=lifecycle.tenant_name,
        tenant_uid=lifecycle.tenant_uid,
        zitadel_org_id=lifecycle.zitadel_org_id,
        org_name=lifecycle.org_name,
        is_billable=bool(counted),
        because=because,
        rows=[
            *(row for row in ends if row.kind is Kind.CREATED or row.occurred_at < asked.end),
            *_decisive([row for row in lifecycle.rows if row.kind in kinds_of(SUSPENSION)], asked),
        ],
        skills=[
            _of_skill(skill, lifecycle, asked, found[skill], counted)
            for skill in sorted(subject for subject in found if subject is not None)
        ],
    )


def _of_skill(
    skill: str,
    lifecycle: WrittenLifecycle,
    asked: Span,
    enabled: Sequence[Span],
    counted: Sequence[Span],
) -> SkillAnswer:
    there = [both for one in enabled if (both := one.common(asked))]
    is_billable = any(one.common(other) for one in there for other in counted)
    if is_billable:
        because = "it was enabled"
    elif there:
        because = "it was enabled only while the tenant did not count"
    elif enabled and enabled[0].start >= asked.end:
        because = "it was not enabled yet"
    else:
        because = "it was disabled"
    rows = [row for row in lifecycle.rows if row.skill_id == skill]
    return SkillAnswer(
        skill_id=skill, is_billable=is_billable, because=because, rows=_decisive(rows, asked)
    )


def _decisive(rows: Sequence[WrittenRow], asked: Span) -> Sequence[WrittenRow]:
    """The last row before the span, and those within it; the first one, where all come later."""
    rows = _in_order(rows)
    before = [row for row in rows if row.occurred_at <= asked.start]
    within = [row for row in rows if asked.start < row.occurred_at < asked.end]
    return [*before[-1:], *within] or rows[:1]


def _active(lifecycle: WrittenLifecycle, life: Span, suspensions: Sequence[Span]) -> Iterator[Span]:
    """The life without its suspensions. One of a single instant was suspended if it ended so."""
    if not life.length:
        rows = [row for row in _in_order(lifecycle.rows) if row.kind in kinds_of(SUSPENSION)]
        if not any(MEANING[row.kind].switches for row in rows[-1:]):
            yield life
        return
    start = life.start
    for one in suspensions:
        if start < one.start:
            yield Span(start, min(one.start, life.end))
        start = max(start, one.end)
    if start < life.end:
        yield Span(start, life.end)


def within(lifecycles: Sequence[WrittenLifecycle], shown: Span) -> Sequence[WrittenLifecycle]:
    """The lifecycles that lived at some instant of the span, each with its rows of the span."""
    return [
        replace(one, rows=[row for row in one.rows if shown.start <= row.occurred_at < shown.end])
        for one in lifecycles
        if Span(one.created_at, one.deleted_at or max(shown.end, one.created_at)).common(shown)
    ]


def spans(lifecycle: WrittenLifecycle, until: datetime) -> Mapping[str | None, Sequence[Span]]:
    """When each skill was enabled, and (None) when the tenant was suspended; no later than `until`."""
    end = max(min(lifecycle.deleted_at or until, until), lifecycle.created_at)
    subjects: dict[str | None, list[WrittenRow]] = {}
    for row in _in_order(lifecycle.rows):
        if MEANING[row.kind].switches is not None:
            subjects.setdefault(row.skill_id, []).append(row)
    return {
        subject: _switched_on(rows, end)
        for subject, rows in subjects.items()
        if any(MEANING[row.kind].switches for row in rows)
    }


def _in_order(rows: Sequence[WrittenRow]) -> Sequence[WrittenRow]:
    """The portal's rows come before ours, whatever time they bear."""
    return sorted(rows, key=lambda row: row.written_by is not None)


def _switched_on(rows: Sequence[WrittenRow], end: datetime) -> Sequence[Span]:
    """From each row that switches on until a later one takes over."""
    found: list[Span] = []
    taken_over: datetime | None = None
    for row in reversed(rows):
        start = row.occurred_at
        if MEANING[row.kind].switches and (row.written_by is not None or start <= (taken_over or start)):
            found.append(Span(start, max(start, taken_over or end)))
        taken_over = min(start, taken_over or start)
    return found[::-1]
