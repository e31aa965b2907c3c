"""Reports in a real browser: they load nothing, run nothing, and nothing in them overlaps or is cut."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import TEMPLATE, Command, fresh_database
from tests.reports.browser import PROGRAM, Page, browser
from tests.reports.ledgers import HARM, MONTH, SKILLS, fill

pytestmark = pytest.mark.skipif(not PROGRAM, reason="chromium is not installed")

AXE = Path(".reconciler/browser/node_modules/axe-core/axe.min.js")
WIDTHS = (400, 1280)
LARGEST = 5_000_000

OVERFLOWING = """
[...document.querySelectorAll('body *')].filter(one => {
    const scrolls = one.closest('.scroll'), box = one.getBoundingClientRect();
    return !scrolls && box.width && one.tagName !== 'path'
        && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map(one => one.outerHTML.slice(0, 200))
"""
CUT = """
[...document.querySelectorAll('td, th, p, li, h1, h2, summary')].filter(one =>
    one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflow !== 'visible'
).map(one => one.outerHTML.slice(0, 200))
"""
OVERLAPPING = """
(() => {
    const texts = [...document.querySelectorAll('h1, h2, p, li, th, td, caption, summary, figcaption')]
        .slice(0, 400).map(one => {
            const range = document.createRange();
            range.selectNodeContents(one);
            return [one, range.getBoundingClientRect()];
        }).filter(([, box]) => box.width && box.height);
    const found = [];
    for (const [i, [one, a]] of texts.entries())
        for (const [other, b] of texts.slice(i + 1))
            if (!one.contains(other) && !other.contains(one)
                && a.left < b.right - 1 && b.left < a.right - 1
                && a.top < b.bottom - 1 && b.top < a.bottom - 1)
                found.push(one.textContent.slice(0, 60) + ' / ' + other.textContent.slice(0, 60));
    return found;
})()
"""


class Report(NamedTuple):
    """A file, and how many tenants it is about."""

    file: Path
    names: tuple[str, ...]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(
    scope="module", params=["small", pytest.param("large", marks=pytest.mark.long), "hostile"]
)
def reports(
    request: pytest.FixtureRequest, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Report]]:
    """The fleet, and the statement of the first organisation."""
    for url in fresh_database(postgres, TEMPLATE):
        names = {"small": ("anna", "bert"), "large": (), "hostile": HARM}[request.param]
        count = {"small": 12, "large": 2_000, "hostile": len(HARM)}[request.param]
        skills = tuple(sorted(HARM)) if request.param == "hostile" else SKILLS
        fill(url, tenants=count, names=names, skills=skills)
        folder = tmp_path_factory.mktemp(request.param)
        command = Command(folder, settings={"RECONCILER_DATABASE_URL": url})
        made = []
        for name, flags in (("fleet", ()), ("statement", ("--org", "org-0"))):
            file = folder / f"{name}.html"
            done = command("report", "--month", MONTH, "--output", file, *flags)
            assert done.status == 0, done.err
            made.append(Report(file, names))
        yield made


def test_it_asks_for_nothing_but_itself_and_nothing_in_it_runs(
    page: Page, reports: list[Report]
) -> None:
    for one in reports:
        page.requests.clear()
        page.complaints.clear()
        page.open(one.file, 1280)
        assert page.evaluate("document.scripts.length") == 0
        assert page.evaluate("document.querySelectorAll('img, link, iframe, object').length") == 0
        assert page.requests == [one.file.as_uri()]
        assert page.complaints == []
        assert page.evaluate("getComputedStyle(document.body).maxWidth") == "1100px"
        assert one.file.stat().st_size < LARGEST


def test_names_are_shown_as_they_are_and_no_more(page: Page, reports: list[Report]) -> None:
    for one in reports:
        if one.file.stem != "statement":
            continue
        page.open(one.file, 1280)
        headings = page.evaluate("[...document.querySelectorAll('h2 bdi')].map(one => one.textContent)")
        for name in one.names:
            shown = name.replace("\u202e", "\\u202e").replace("\t", "\\t").replace("\x1b", "\\x1b")
            assert shown in headings


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_overlaps_or_is_cut(
    page: Page, reports: list[Report], width: int, tmp_path: Path
) -> None:
    kept = Path(os.environ.get("REPORT_PICTURES", tmp_path))
    for one in reports:
        page.open(one.file, width)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate(OVERFLOWING) == []
        assert page.evaluate(CUT) == []
        assert page.evaluate(OVERLAPPING) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if not one.file.parent.name.startswith("large"):
            picture = kept / f"{one.file.parent.name}-{one.file.stem}-{width}.png"
            picture.write_bytes(page.picture())


def test_it_prints_on_a4(page: Page, reports: list[Report], tmp_path: Path) -> None:
    kept = Path(os.environ.get("REPORT_PICTURES", tmp_path))
    for one in reports:
        if one.file.parent.name.startswith("large"):
            continue
        page.open(one.file, 1280)
        page("setEmulatedMedia", "Emulation", media="print")
        printed = page.printed()
        page("setEmulatedMedia", "Emulation", media="")
        assert printed.startswith(b"%PDF-")
        # A4 in points, whatever the printer's default is.
        assert b"/MediaBox [0 0 594.95996 841.91998]" in printed or b"/MediaBox [0 0 595" in printed
        (kept / f"{one.file.parent.name}-{one.file.stem}.pdf").write_bytes(printed)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed")
def test_contrast_and_structure_pass_axe(page: Page, reports: list[Report]) -> None:
    for one in reports:
        if one.file.parent.name.startswith("large"):
            continue
        page.open(one.file, 1280)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = page.evaluate("axe.run().then(found => found.violations)")
        assert [(rule["id"], [node["html"] for node in rule["nodes"]][:2]) for rule in found] == []
