"""The figures that the program promises, out of what was measured: ratios of one run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.proofs.bench.contest import Results, Size, Taken

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Figure:
    """One of them: the median of its rounds, and the least and the most."""

    name: str
    limit: float
    measured: Sequence[float]
    over: bool = False
    """The limit is to be exceeded, and not to be kept."""
    unit: str = ""

    @property
    def median(self) -> float:
        return median(self.measured)

    @property
    def holds(self) -> bool | None:
        """None where it was not measured."""
        if not self.measured:
            return None
        return self.median > self.limit if self.over else self.median <= self.limit


def wall(taken: Taken) -> float:
    return taken.wall


def peak(taken: Taken) -> float:
    return taken.peak / MIB


def figures(results: Results, big: Size, middle: Size, histories: Sequence[int]) -> list[Figure]:
    """All of them; `big` and `middle` are how many tenants they are about."""
    short, long = (histories[0], histories[-1]) if histories else (100_000, 10_000_000)

    def ratio(
        above: tuple[str, Size], below: tuple[str, Size], of: Callable[[Taken], float] = wall
    ) -> list[float]:
        return ratios(results.per_round(*above, of), results.per_round(*below, of))

    quiet, backfill = ("ours: no change", big), ("ours: backfill", big)

    def peaks(*passes: str) -> list[float]:
        runs = [run for what in passes for run in results.runs(f"ours: {what}", big)]
        return [max(map(peak, runs))] if runs else []

    sizes = sorted({size for what, size in results.taken if what == "pipe: backfill"})
    against_pipe = [
        median(found)
        for size in sizes
        for what in ("backfill", "no change")
        if (found := ratio((f"ours: {what}", size), (f"pipe: {what}", size)))
    ]
    by_history = "ours: no change, by history"
    return [
        Figure(
            f"backfill of {big:,} tenants ÷ floor",
            1.3,
            ratio(backfill, ("floor: backfill", big)),
        ),
        Figure(
            f"no change on {big:,} ÷ (curl + psql reading the state)",
            1.5,
            ratio(quiet, ("floor: no change", big)),
        ),
        Figure(
            f"no change on {big:,} ÷ (curl + psql reading the fingerprints)",
            1.8,
            ratio(quiet, ("floor: no change, by fingerprints", big)),
        ),
        Figure(
            f"a heartbeat on all of {big:,} ÷ no change",
            1.1,
            ratio(("ours: heartbeat on all", big), quiet),
        ),
        Figure(
            f"a label on all of {big:,} ÷ no change",
            1.1,
            ratio(("ours: label on all", big), quiet),
        ),
        Figure(
            f"1 % of {big:,} changed ÷ no change",
            1.2,
            ratio(("ours: 1 % changed", big), quiet),
        ),
        Figure(
            f"no change at {long:,} event rows ÷ at {short:,}",
            1.1,
            ratio((by_history, long), (by_history, short)),
        ),
        Figure(f"peak memory of no change on {big:,}", 200, peaks("no change"), unit=" MiB"),
        Figure(
            f"peak memory of a backfill of {big:,}",
            240,
            peaks("backfill", "1 % changed", "dry run"),
            unit=" MiB",
        ),
        Figure(
            f"peak memory at {big:,} of 12 KB ÷ of 3 KB",
            1.1,
            ratio(("ours: no change, 12 KB each", big), quiet, peak),
        ),
        Figure(
            "reconciler --help ÷ python -c pass",
            2.5,
            ratio(("reconciler --help", 0), ("python -c pass", 0)),
        ),
        Figure(
            "no change on 10 ÷ python -c import of its libraries",
            1.2,
            ratio(("ours: no change", 10), ("python imports", 0)),
        ),
        Figure(
            "ours ÷ pipe, the worst of all sizes",
            1,
            [max(against_pipe)] if against_pipe else [],
        ),
        Figure(
            f"per row ÷ ours, backfill of {middle:,}",
            10,
            ratio(("per row: backfill", middle), ("ours: backfill", middle)),
            over=True,
        ),
    ]


def ratios(above: Mapping[int, float], below: Mapping[int, float]) -> list[float]:
    """Of the rounds in which both were measured; of their medians where there is no such round."""
    both = [above[number] / below[number] for number in sorted(above.keys() & below.keys())]
    if both or not above or not below:
        return both
    return [median(above.values()) / median(below.values())]


def guarded(results: Results, small: Size, large: Size, histories: Sequence[int]) -> list[Figure]:
    """Those that depend on no quiet machine, out of counted runs."""
    found = []
    for what in ("backfill", "no change", "1 % changed", "dry run"):
        few, many = (results.counted[f"ours: {what}", size] for size in (small, large))
        found += [
            Figure(
                f"{what}: statements at {large:,}, no more than at {small:,}",
                few.statements,
                [many.statements],
            ),
            Figure(
                f"{what}: round trips at {large:,}, no more than at {small:,}",
                few.round_trips,
                [many.round_trips],
            ),
            Figure(f"{what}: round trips at most", MOST_ROUND_TRIPS, [many.round_trips]),
        ]
        # What is not given back yet, by chance, would count tenfold.
        low, high = (
            min(map(peak, results.runs(f"ours, counted: {what}", size))) for size in (small, large)
        )
        foreseen = low + (high - low) * (100_000 - small) / (large - small)
        found.append(Figure(f"{what}: peak memory foreseen at 100,000", 250, [foreseen], unit=" MiB"))
    short, long = histories
    touched = results.touched
    traffic = [results.counted["ours: no change, by history", rows].bytes_read for rows in histories]
    return [
        *found,
        Figure(
            f"blocks looked at with {long:,} event rows ÷ with {short:,}",
            1.1,
            [touched[long] / touched[short]],
        ),
        Figure(f"bytes read with {long:,} event rows ÷ with {short:,}", 1.1, [traffic[1] / traffic[0]]),
    ]


MOST_ROUND_TRIPS: Final = 29
"""Of a pass, whatever it does."""
