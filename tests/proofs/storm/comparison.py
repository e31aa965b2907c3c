"""The ledger against the truth: every change once, in its order and interval, or in a recorded gap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.proofs.storm.resident import Ledger, Written
from tests.simulation import Change, Subject, Truth

SECOND = timedelta(seconds=1)
"""What two clocks in one machine, and times that are cut to seconds, may differ by."""


@dataclass
class Findings:
    """How the ledger differs from the truth, and how long it took."""

    changes: int = 0
    missing: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    """Rows whose interval does not hold the truth."""
    in_gaps: int = 0
    """Changes that were not seen, and lie in a gap that a list has recorded."""
    lags: list[float] = field(default_factory=list)
    """Seconds from a change to the writing of its row, of those that were watched."""

    @property
    def are_none(self) -> bool:
        return not (self.missing or self.early)


def compare(truth: Truth, ledger: Ledger) -> Findings:
    """Every change exactly once, in its order, within its interval, or in a gap; and nothing else."""
    found = Findings(changes=len(truth))
    rows, changes, gaps = ledger.by_subject(), truth.by_subject(), ledger.gaps()
    for uid in sorted(rows.keys() | changes.keys()):
        ours, theirs = rows.get(uid, {}), changes.get(uid, {})
        life = [row.revision for row in ours.get(Subject("life"), [])]
        # Who is first seen on the way out may have been changed since its deletion: nobody can tell.
        was_going = len(life) == 2 and life[0] == life[1]
        for subject in sorted(ours.keys() | theirs.keys(), key=str):
            written, true = ours.get(subject, []), theirs.get(subject, [])
            about = f"{uid} {subject}: {_kinds(written)} instead of {_kinds(true)}"
            pairs, unseen = _aligned(written, true)
            lost = [change for change in unseen if not _lies_in(change, gaps)]
            if (len(pairs) != len(written) and not was_going) or lost:
                found.missing.append(about)
                continue
            found.in_gaps += len(unseen)
            for row, change in pairs:
                if not _holds(row, change):
                    found.early.append(f"{uid} {subject}: {row} for {change}")
                if row.revision == change.revision:
                    found.lags.append((row.written_at - change.at).total_seconds())
    return found


def _aligned(
    written: Sequence[Written], true: Sequence[Change]
) -> tuple[list[tuple[Written, Change]], list[Change]]:
    """Which change each row is about, in their order, and the changes that no row is about.

    A watched row is about the change of its revision; a list's about the last one that it shows.
    """
    pairs: list[tuple[Written, Change]] = []
    unseen: list[Change] = []
    place = 0
    for row in written:
        shown = [
            number
            for number in range(place, len(true))
            if true[number].kind.value == row.kind and true[number].revision <= row.revision
        ]
        if not shown:
            break
        unseen += true[place : shown[-1]]
        pairs.append((row, true[shown[-1]]))
        place = shown[-1] + 1
    return pairs, [*unseen, *true[place:]]


def _lies_in(change: Change, gaps: Sequence[tuple[datetime, datetime]]) -> bool:
    return any(since - SECOND <= change.at <= until + SECOND for since, until in gaps)


def _holds(row: Written, change: Change) -> bool:
    """`not_before` <= the true time <= `occurred_at`, to the second that Kubernetes keeps."""
    if change.kind.value == "enabled" and row.occurred_at == row.not_before:
        return True  # at first sight, where it is the creation by rule
    return (
        row.not_before.replace(microsecond=0) <= change.at
        and change.at.replace(microsecond=0) <= row.occurred_at
    )


def _kinds(rows: Sequence[Written] | Sequence[Change]) -> str:
    return ", ".join(f"{row.kind}@{row.revision}" for row in rows) or "nothing"
