"""The results as text and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Final

from tests.proofs.bench.contest import Phase, Profile, Results, Taken
from tests.proofs.bench.figures import MIB, Figure, peak, ratios, wall

FLOORS: Final = {
    "backfill": "floor: backfill",
    "no change": "floor: no change",
    "1 % changed": "floor: no change",
    "dry run": "floor: no change",
}
"""What each kind of pass is compared with."""


def measurements(results: Results) -> Iterator[str]:
    """The table of all that was timed: medians, spread, and ratios to the floor."""
    heads = f"{'tenants':>9}{'wall':>10}{'spread':>18}{'÷ floor':>9}{'CPU':>9}{'peak':>9}{'read':>10}"
    yield f"{'':<30}{heads}"
    for what, size in sorted(results.taken, key=lambda key: (key[0].startswith("ours"), key[1], key[0])):
        runs = results.runs(what, size)
        if not runs or what.startswith("ours, counted"):
            continue
        walls = sorted(run.wall for run in runs)
        floor = FLOORS.get(what.partition(": ")[2].removesuffix(", 12 KB each"), "")
        against = ratios(results.per_round(what, size, wall), results.per_round(floor, size, wall))
        traffic = results.counted.get((what, size))
        yield (
            f"{what:<30}{size or '':>9}{median(walls):>8.3f} s{f'{walls[0]:.3f} - {walls[-1]:.3f}':>18}"
            f"{f'{median(against):.2f}' if against else '':>9}"
            f"{median(run.cpu for run in runs):>7.2f} s{max(map(peak, runs)):>5.0f} MiB"
            f"{f'{traffic.bytes_read / MIB:.1f} MiB' if traffic else '':>10}"
        )


def counts(results: Results) -> Iterator[str]:
    """The table of what went over the wire to Postgres."""
    yield f"{'':<30}{'tenants':>9}{'statements':>12}{'round trips':>13}{'connections':>13}{'read':>12}"
    for (what, size), traffic in results.counted.items():
        yield (
            f"{what:<30}{size:>9}{traffic.statements:>12}{traffic.round_trips:>13}"
            f"{traffic.connections:>13}{traffic.bytes_read / MIB:>8.2f} MiB"
        )


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """The table of the figures."""
    wide = max(len(figure.name) for figure in figures)
    yield f"{'figure':<{wide}}  {'limit':>12}  {'measured':>12}  {'spread':>15}  holds"
    for figure in figures:
        limit = f"{'over' if figure.over else 'at most'} {figure.limit:g}"
        if figure.holds is None:
            yield f"{figure.name:<{wide}}  {limit:>12}  {'-':>12}  {'':>15}  not measured"
            continue
        low, high = min(figure.measured), max(figure.measured)
        spread = f"{low:.2f} - {high:.2f}" if len(figure.measured) > 1 else ""
        measured = f"{figure.median:.2f}{figure.unit}"
        yield (
            f"{figure.name:<{wide}}  {limit:>12}  {measured:>12}  {spread:>15}  "
            f"{'yes' if figure.holds else 'NO'}"
        )


def phases(profile: Profile, floor: float) -> Iterator[str]:
    """The table of the phases of one pass, and what all of it is to the floor."""
    whole, found = profile.taken, sorted(profile.phases, key=lambda phase: -phase.wall)
    wall, cpu = sum(phase.wall for phase in found), sum(phase.cpu for phase in found)
    rest = Phase("start and end of Python", whole.wall - wall, whole.cpu - cpu)
    yield f"{'phase':<40}{'wall':>10}{'share':>8}{'CPU':>10}{'share':>8}"
    for phase in (*found, rest, Phase("all", whole.wall, whole.cpu)):
        yield (
            f"{phase.name:<40}{phase.wall:>8.3f} s{phase.wall / whole.wall:>8.0%}"
            f"{phase.cpu:>8.3f} s{phase.cpu / whole.cpu:>8.0%}"
        )
    yield f"{whole.wall / floor:.2f} times the floor ({floor:.3f} s)"


def document(results: Results, figures: Sequence[Figure], about: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, for another program."""
    return {
        **about,
        "figures": [
            {
                "figure": figure.name,
                "limit": figure.limit,
                "isToBeExceeded": figure.over,
                "measured": figure.median if figure.measured else None,
                "rounds": list(figure.measured),
                "holds": figure.holds,
            }
            for figure in figures
        ],
        "measurements": [
            {
                "what": what,
                "tenantsOrRows": size,
                "rounds": [list(map(_plain, runs)) for runs in rounds.values()],
            }
            for (what, size), rounds in results.taken.items()
        ],
        "wire": [
            {"what": what, "tenantsOrRows": size, **asdict(traffic)}
            for (what, size), traffic in results.counted.items()
        ],
        "skipped": results.skipped,
    }


def _plain(taken: Taken) -> dict[str, float]:
    return {"wallSeconds": taken.wall, "cpuSeconds": taken.cpu, "peakBytes": taken.peak}
