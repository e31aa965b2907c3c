"""The measurements as a table, and what they leave out."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from tests.proofs.truth.evidence import FORGED, GAP, STALE
from tests.proofs.truth.measure import AFTER_THE_END, CLOCK, Measured
from tests.proofs.truth.reconcile import INTERVALS
from tests.proofs.truth.shards import Key

EXCLUDED: Final = {
    FORGED: "forged times that lie inside",
    GAP: "changer gave its share up, early sharer stays",
    STALE: "suspendedAt an earlier one's, nothing else",
    AFTER_THE_END: "first seen deleted, changed after that",
    CLOCK: "clocks apart by what is not corrected (2 s)",
}
"""What brings a row outside the promise; the second is the one that the rules accept."""


def report(totals: Mapping[Key, Measured], seed: int) -> str:
    """One column for each interval."""

    def row(title: str, cell: Callable[[Measured], str], *, evidence: bool = True) -> str:
        cells = (cell(totals[minutes, evidence]) for minutes in INTERVALS)
        return f"{title:<46}" + "".join(f"{text:>13}" for text in cells)

    def ratio(minutes: int) -> str:
        without, with_it = (_mean_evident(totals[minutes, evidence]) for evidence in (False, True))
        return f"{without / with_it:>13.1f}" if with_it else f"{'-':>13}"

    return "\n".join(
        (
            f"{f'seed {seed}; a pass every':<46}"
            + "".join(f"{f'{minutes} min':>13}" for minutes in INTERVALS),
            row("changes made", lambda one: f"{one.changes:,}"),
            row("changes recorded", lambda one: f"{one.rows:,}"),
            row(
                "flaps between passes that no snapshot can see",
                lambda one: f"{one.changes - one.rows:,}",
            ),
            row("changes recorded by catch-up and list", lambda one: f"{one.caught_up:,}"),
            row("violations of the interval promise", lambda one: f"{len(one.violations):,}"),
            row("  without managedFields", lambda one: f"{len(one.violations):,}", evidence=False),
            row("width of the interval, mean", _width),
            row("  99 of 100 are narrower than", _widest),
            row("occurred_at is off by, mean", _off),
            row("  without managedFields", _off, evidence=False),
            row("the same, of changes that left evidence", lambda one: _seconds(_mean_evident(one))),
            row("  without managedFields", lambda one: _seconds(_mean_evident(one)), evidence=False),
            f"{'  the evidence is better by a factor of':<46}" + "".join(map(ratio, INTERVALS)),
            row("skill-days in truth", lambda one: f"{one.days:,}"),
            row("skill-days billed wrongly", lambda one: f"{one.days_wrong:,}"),
            row("  without managedFields", lambda one: f"{one.days_wrong:,}", evidence=False),
            row("  with catch-up", lambda one: f"{one.days_wrong_caught_up:,}"),
            "",
            "Outside the promise, and no violations: rows whose interval misses the truth, for",
            *(row(f"  {text}", partial(_excluded, why)) for why, text in EXCLUDED.items()),
        )
    )


def _excluded(why: str, one: Measured) -> str:
    return f"{one.excluded[why]:,}"


def _mean_evident(one: Measured) -> float:
    return one.evident_off / one.evident_rows if one.evident_rows else 0


def _width(one: Measured) -> str:
    return _seconds(sum(one.widths) / len(one.widths))


def _widest(one: Measured) -> str:
    return _seconds(sorted(one.widths)[len(one.widths) * 99 // 100])


def _off(one: Measured) -> str:
    return _seconds(one.off / one.rows)


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s"
