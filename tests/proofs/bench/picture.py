"""The curves as a picture: small SVG, with both axes logarithmic."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from statistics import median
from typing import Final, NamedTuple

from tests.proofs.bench.contest import Results
from tests.proofs.bench.figures import peak

WIDTH: Final = 340
HEIGHT: Final = 300
LEFT: Final = 56
RIGHT: Final = 14
TOP: Final = 34
BOTTOM: Final = 92
COLOURS: Final = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#6b7280", "#b91c1c")

Point = tuple[float, float]


class Panel(NamedTuple):
    """One set of curves."""

    title: str
    across: str
    up: str
    curves: Mapping[str, Sequence[Point]]


def picture(results: Results) -> str:
    """All three."""
    return "\n".join(_drawn([panel for panel in panels(results) if any(panel.curves.values())]))


def panels(results: Results) -> list[Panel]:
    def curve(what: str) -> list[Point]:
        sizes = sorted({size for measured, size in results.taken if measured == what and size})
        return [(size, median(run.wall for run in results.runs(what, size))) for size in sizes]

    def memory(what: str) -> list[Point]:
        sizes = sorted({size for measured, size in results.taken if measured == what and size})
        return [(size, max(map(peak, results.runs(what, size)))) for size in sizes]

    by_history = "ours: no change, by history"
    shown = {
        "no change": "ours: no change",
        "1 % changed": "ours: 1 % changed",
        "backfill": "ours: backfill",
        "floor of no change": "floor: no change",
        "floor of backfill": "floor: backfill",
        "pipe, backfill": "pipe: backfill",
    }
    return [
        Panel("Time over tenants", "tenants", "s", {name: curve(what) for name, what in shown.items()}),
        Panel("Time over history", "event rows, 10,000 tenants", "s", {"no change": curve(by_history)}),
        Panel(
            "Peak memory",
            "tenants, or event rows",
            "MiB",
            {
                "no change, by tenants": memory("ours: no change"),
                "backfill, by tenants": memory("ours: backfill"),
                "no change, by event rows of 10,000": memory(by_history),
            },
        ),
    ]


def _drawn(shown: Sequence[Panel]) -> Iterator[str]:
    width = WIDTH * max(1, len(shown))
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="11" role="img">'
    )
    yield f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>'
    for number, panel in enumerate(shown):
        yield f'<g transform="translate({number * WIDTH} 0)">'
        yield from _panel(panel)
        yield "</g>"
    yield "</svg>"


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for curve in panel.curves.values() for point in curve]
    across, up = _decades([x for x, _ in points]), _decades([y for _, y in points])

    def place(point: Point) -> Point:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        x = LEFT + (right - LEFT) * (log10(point[0]) - across[0]) / (across[1] - across[0])
        y = bottom - (bottom - TOP) * (log10(point[1]) - up[0]) / (up[1] - up[0])
        return round(x, 1), round(y, 1)

    yield f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(panel.title)}</text>'
    for exponent in range(across[0], across[1] + 1):
        x, y = place((10**exponent, 10 ** up[0]))
        yield f'<path d="M{x} {TOP}V{y}" stroke="#e5e7eb"/>'
        yield f'<text x="{x}" y="{y + 14}" text-anchor="middle">{_number(exponent)}</text>'
    for exponent in range(up[0], up[1] + 1):
        x, y = place((10 ** across[0], 10**exponent))
        yield f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>'
        yield f'<text x="{x - 5}" y="{y + 4}" text-anchor="end">{10.0**exponent:g} {panel.up}</text>'
    yield (
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - BOTTOM + 29}" text-anchor="middle">'
        f"{escape(panel.across)}</text>"
    )
    drawn = [(name, [*map(place, curve)]) for name, curve in panel.curves.items() if curve]
    for number, ((name, curve), colour) in enumerate(zip(drawn, COLOURS, strict=False)):
        yield f'<g stroke="{colour}" fill="none" stroke-width="2">'
        for (x1, y1), (x2, y2) in pairwise(curve):
            yield f'<path d="M{x1} {y1}L{x2} {y2}"/>'
        for x, y in curve:
            yield f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'
        yield "</g>"
        column, row = number % 2, number // 2
        x, y = LEFT - 40 + column * 150, HEIGHT - BOTTOM + 50 + row * 15
        if any(len(other) > 24 for other, _ in drawn):
            x, y = LEFT - 40, HEIGHT - BOTTOM + 50 + number * 15
        yield f'<rect x="{x}" y="{y - 8}" width="10" height="8" fill="{colour}"/>'
        yield f'<text x="{x + 15}" y="{y}">{escape(name)}</text>'


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around them; a little over one is not the next."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)) - 0.02)
    return low, max(high, low + 1)


def _number(exponent: int) -> str:
    for letter, size in (("M", 6), ("k", 3)):
        if exponent >= size:
            return f"{10 ** (exponent - size)} {letter}"
    return str(10**exponent)
