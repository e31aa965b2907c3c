"""What a ledger says, measured against the truth."""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from tests.apiserver.ownership import PACKAGES, SUSPEND, Path, item
from tests.proofs.truth.billing import Event, SkillDay, skill_days
from tests.proofs.truth.evidence import OVERLOOKED, SECOND, STALE, SUSPENDED_AT, Change, Evidence
from tests.proofs.truth.reconcile import Look, Pass, Row, time

CLOCK: Final = "clock"
"""Our clock was off the API server's by less than the two seconds that are not corrected."""
AFTER_THE_END: Final = "after the end"
"""Seen first with the deletion committed: the row tells of a change made after that."""

_WHENEVER: Final = -1
"""A deletion is seen at last, be it by absence."""

Subject = tuple[str, str | None]
"""A tenant's uid, and the skill, `suspension`, `created` or `deleted`."""


@dataclass
class Measured:
    """Of one interval, with the evidence or without."""

    changes: int = 0
    rows: int = 0
    violations: list[str] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    """Rows outside the promise, by what brought them there."""
    widths: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds, of each row."""
    off: float = 0
    """Seconds, of all rows together."""
    evident_rows: int = 0
    evident_off: float = 0
    """The same, of later changes that left their second in managedFields."""
    days: int = 0
    days_wrong: int = 0
    caught_up: int = 0
    """Changes that are recorded where each pass catches up before its list."""
    days_wrong_caught_up: int = 0

    def __iadd__(self, other: "Measured") -> Self:
        self.changes += other.changes
        self.rows += other.rows
        self.violations += other.violations
        self.excluded += other.excluded
        self.widths += other.widths
        self.off += other.off
        self.evident_rows += other.evident_rows
        self.evident_off += other.evident_off
        self.days += other.days
        self.days_wrong += other.days_wrong
        self.caught_up += other.caught_up
        self.days_wrong_caught_up += other.days_wrong_caught_up
        return self


class Truth:
    """The log of one cluster, so that the cause of a row is found."""

    def __init__(self, log: Evidence, end: int) -> None:
        self.set_list = log.tenants.set_list
        self.changes = len(log.truth)
        self.by_subject = _by_subject(log.truth)
        self.after_the_end = _by_subject(log.after_the_end)
        self.deleted_at = {change.uid: change.at for change in log.truth if change.kind == "deleted"}
        self.days = _days(log.truth, end)
        self.end = end

    def cause(self, row: Row, by: int) -> Change | None:
        """The last change before that instant that made it so."""
        mine = self.by_subject.get(_subject(row), [])
        until = bisect_right(mine, by, key=lambda change: change.at)
        return next((change for change in reversed(mine[:until]) if change.kind == row.kind), None)


def measure(truth: Truth, passes: Iterable[Pass], looks: Sequence[Look], title: str) -> Measured:
    """Judges every row, and that none is missing and none too many; the title says whose they are."""
    result = Measured(changes=truth.changes, days=len(truth.days))
    read: dict[str, list[int]] = defaultdict(list)
    written: set[tuple[Subject, int]] = set()
    rows: list[Row] = []
    slack = max(look.too_late for look in looks), max(look.too_early for look in looks)
    for one in passes:
        for uid in one.readable:
            read[uid].append(one.looked_at)
        odd = sorted(name for name, write in one.state.items() if not write.readable)
        if sorted(name or "" for name in one.unreadable) != odd:
            result.violations.append(f"quarantined {one.unreadable}, expected {odd}")
        for row in one.rows:
            rows.append(row)
            written.add((_subject(row), _WHENEVER if row.kind == "deleted" else one.looked_at))
            _judge(result, truth, row, one, slack)
    result.rows = len(rows)
    expected = set(_visible(truth, read))
    for subject, at in sorted(written ^ expected, key=str):
        too_many = "too many" if (subject, at) in written else "missing"
        result.violations.append(f"a row {too_many}: {subject} seen at {at}")
    result.violations += _disorder(rows)
    result.violations = [f"{title}: {violation}" for violation in result.violations]
    result.days_wrong = len(truth.days ^ _days(rows, truth.end))
    return result


def measure_caught_up(result: Measured, truth: Truth, passes: Iterable[Pass]) -> None:
    """Adds what the same passes record and bill where each catches up before its list."""
    rows = [row for one in passes for row in one.rows]
    result.caught_up = len(rows)
    result.days_wrong_caught_up = len(truth.days ^ _days(rows, truth.end))


def _judge(result: Measured, truth: Truth, row: Row, one: Pass, slack: tuple[int, int]) -> None:
    latest = row.observed_at if row.first_sight else row.occurred_at
    result.widths.append((latest - row.not_before) / SECOND)
    cause = truth.cause(row, one.looked_at)
    if cause is None:
        known = truth.after_the_end.get(_subject(row))
        if not known:
            result.violations.append(f"{row.shown()} has no cause")
        result.excluded[AFTER_THE_END] += 1
        return
    off = abs(row.occurred_at - cause.at) / SECOND
    result.off += off
    if cause.evident and not row.first_sight:
        result.evident_rows += 1
        result.evident_off += off
    if _holds(row, latest, cause.at):
        return
    doubts = next((write.doubts for write in one.state.values() if write.uid == row.uid), {})
    if _holds(row, latest, cause.at, *slack):
        result.excluded[CLOCK] += 1
    elif why := _doubt(row, doubts, evidence=one.evidence, set_list=truth.set_list):
        result.excluded[why] += 1
    else:
        result.violations.append(f"{row.shown()}, but truly {time(cause.at)}")


def _holds(row: Row, latest: int, at: int, too_late: int = 0, too_early: int = 0) -> bool:
    """The promise, to the second that Kubernetes keeps."""
    not_before = row.not_before - too_late
    return (
        not_before - not_before % SECOND <= at
        and at - at % SECOND <= latest + too_early
        and row.not_before <= row.occurred_at <= row.observed_at
    )


def _doubt(row: Row, doubts: Mapping[Path, str], *, evidence: bool, set_list: bool) -> str | None:
    """What excuses a row that misses the truth, if anything does."""
    if row.kind == "suspended" and row.source == "status":
        why = doubts.get(SUSPENDED_AT)
        return why if why != OVERLOOKED else None if evidence else STALE
    if row.source != "managed-fields":
        return None
    if row.kind in ("suspended", "resumed"):
        return doubts.get(SUSPEND)
    if set_list:
        return doubts.get(item(row.skill or "")) or doubts.get((*PACKAGES, "."))
    return doubts.get(PACKAGES)


def _visible(truth: Truth, read: Mapping[str, Sequence[int]]) -> Iterable[tuple[Subject, int]]:
    """What the snapshots show, and when first: what is another from one to the next that was read."""
    subjects: dict[str, list[Subject]] = defaultdict(list)
    for subject in {*truth.by_subject, *truth.after_the_end}:
        subjects[subject[0]].append(subject)
    for uid, instants in read.items():
        end = truth.deleted_at.get(uid)
        alive = [at for at in instants if end is None or at < end]
        looked = alive or instants[:1]
        for subject in subjects[uid]:
            changes = truth.by_subject.get(subject, [])
            if subject[1] == "deleted":
                continue
            if not alive:
                changes = [*changes, *truth.after_the_end.get(subject, [])]
            seen = Counter(bisect_left(looked, change.at) for change in changes)
            yield from (
                (subject, looked[place]) for place, n in seen.items() if n % 2 and place < len(looked)
            )
        if end is not None:
            yield (uid, "deleted"), _WHENEVER


def _disorder(rows: Iterable[Row]) -> Iterable[str]:
    last: dict[Subject, int] = {}
    ended: dict[str, int] = {row.uid: row.occurred_at for row in rows if row.kind == "deleted"}
    for row in rows:
        subject = _subject(row)
        if row.occurred_at < last.get(subject, 0):
            yield f"{row.shown()} lies before the row before it"
        if row.occurred_at > ended.get(row.uid, row.occurred_at):
            yield f"{row.shown()} lies after its lifecycle's deletion"
        last[subject] = row.occurred_at


def _days(events: Iterable[Row] | Iterable[Change], end: int) -> set[SkillDay]:
    return skill_days(
        (
            Event(one.occurred_at if isinstance(one, Row) else one.at, one.kind, one.uid, one.skill)
            for one in events
        ),
        end,
    )


def _subject(one: Row | Change) -> Subject:
    if one.kind in ("suspended", "resumed"):
        return one.uid, "suspension"
    return one.uid, one.skill or one.kind


def _by_subject(changes: Iterable[Change]) -> Mapping[Subject, list[Change]]:
    found: dict[Subject, list[Change]] = defaultdict(list)
    for change in changes:
        found[_subject(change)].append(change)
    return found
