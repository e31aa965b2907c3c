"""What is made of the measurements: figures that hold or do not, tables, and a picture."""

import json
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.proofs.bench.contest import Results, Taken
from tests.proofs.bench.figures import MIB, Figure, figures
from tests.proofs.bench.picture import picture
from tests.proofs.bench.report import document, measurements, table


@pytest.fixture
def results() -> Results:
    found = Results()
    for size in (1_000, 100_000):
        for number in (1, 2, 3):
            for what, times in (("ours", 3.0), ("floor", 2.0)):
                taken = Taken(wall=times * size * number, cpu=size, peak=100 * MIB)
                found.taken[f"{what}: no change", size][number].append(taken)
    return found


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (Figure("f", 1.5, [1.4, 1.5, 9.0]), True),
        (Figure("f", 1.5, [1.4, 1.6, 1.6]), False),
        (Figure("f", 10, [10.5], over=True), True),
        (Figure("f", 10, [10], over=True), False),
        (Figure("f", 10, []), None),
    ],
)
def test_a_figure_holds_by_its_median(figure: Figure, *, holds: bool | None) -> None:
    assert figure.holds is holds


def test_a_ratio_is_of_the_same_round(results: Results) -> None:
    (ratio,) = [
        figure
        for figure in figures(results, 100_000, 10_000, [])
        if "psql reading the state" in figure.name
    ]
    assert ratio.measured == pytest.approx([1.5, 1.5, 1.5])


def test_what_was_not_measured_is_said_to_be_so(results: Results) -> None:
    lines = [*table(figures(results, 100_000, 10_000, []))]
    assert len(lines) == 15
    assert sum(line.endswith("not measured") for line in lines) == 12


def test_the_results_are_told_in_full(results: Results) -> None:
    told = json.loads(msgspec.json.encode(document(results, figures(results, 100_000, 10_000, []), {})))
    assert len(told["figures"]) == 14
    assert {len(one["rounds"]) for one in told["measurements"]} == {3}
    assert sum("no change" in line for line in measurements(results)) == 4


def test_the_picture_is_well_formed_and_has_a_curve_for_each(results: Results) -> None:
    drawn = ET.fromstring(picture(results))  # noqa: S314 - our own
    assert len(drawn.findall(".//{*}circle")) == 6
