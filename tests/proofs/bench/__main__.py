"""How fast the program is: `python -m tests.proofs.bench`; see README.md for what is compared with what.

`--short` counts instead of timing, and exits 1 where something grows that must not. `--profile` tells
what the phases of a pass without a change take.
"""

import argparse
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from reconciler import __version__
from tests.proofs.bench.contest import Contest, Failed, ledger
from tests.proofs.bench.figures import figures, guarded
from tests.proofs.bench.ledgers import running
from tests.proofs.bench.picture import picture
from tests.proofs.bench.report import counts, document, measurements, phases, table
from tests.proofs.bench.wire import Wire

FEW: Final = 1_000
MIDDLE: Final = 10_000
MANY: Final = 100_000
HISTORIES: Final = (1, 11, 101)
"""Event rows for each skill of each tenant."""
SHORT_HISTORIES: Final = (1, 5)
TIMES_AT_LEAST: Final = 7
"""For what takes less than a second."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="count only, up to 10,000 tenants")
    parser.add_argument("--profile", action="store_true", help="the phases of a pass on 100,000 only")
    parser.add_argument("--folder", type=Path, default=Path(".reconciler/bench"), help="for the results")
    parser.add_argument("--picture", type=Path, help="where the picture goes instead")
    parser.add_argument("--rounds", type=int, default=3, help="of the largest size")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("start", *map(str, (FEW, MIDDLE, MANY)), "history"),
        default=("start", *map(str, (FEW, MIDDLE, MANY)), "history"),
        help="only these",
    )
    parser.add_argument("--ours", action="store_true", help="only us and the floor")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    try:
        if chosen.profile:
            return profile(MANY, chosen.rounds)
        return short() if chosen.short else whole(chosen)
    except Failed as problem:
        print(problem, file=sys.stderr)
        return 1


def whole(chosen: argparse.Namespace) -> int:
    """Times everything, in rounds; writes and prints the results."""
    began = time.monotonic()
    sizes = [size for size in (FEW, MIDDLE, MANY) if str(size) in chosen.parts]
    starting, lengthening = "start" in chosen.parts, "history" in chosen.parts
    listed = sorted({*sizes, *([10] if starting else []), *([MIDDLE] if lengthening else [])})
    lengths: dict[str, int] = {}
    with contest(listed, large=MANY if MANY in sizes else 0) as it, Wire(it.server.sockets) as wire:
        settings = it.server.settings()
        rows: dict[int, Path] = {}
        for size in listed:
            _tell(began, f"counting {size} tenants")
            it.backfill(size, wire=wire)
            rows[size] = it.server.export(ledger(size), it.folder / f"rows-{size}")
            _count(it, size, wire)
        for size in sizes:
            rounds = chosen.rounds if size == MANY else chosen.rounds + 2
            for it.round in range(1, rounds + 1):
                _tell(began, f"{size} tenants, round {it.round} of {rounds}")
                it.read(size, it.floor(size, rows[size]))
                it.backfill(size)
                for _ in range(2):
                    it.no_change(size)
                    it.one_percent(size)
                it.dry_run(size)
                if size == MANY:
                    it.no_change(size, large=True)
                    it.unbilled(size)
                if not chosen.ours and it.round <= (1 if size == MANY else 2):
                    it.pipe(size)
                if not chosen.ours and it.round == 1 and size <= MIDDLE:
                    it.per_row(size)
        if starting:
            _tell(began, "starting")
            for it.round in range(1, 3 * TIMES_AT_LEAST + 1):
                it.start_up()
            for it.round in range(1, TIMES_AT_LEAST + 1):
                it.imports()
                it.no_change(10)
        if lengthening:
            for places in HISTORIES:
                _tell(began, f"a history of {places} event rows for each skill")
                database = f"history_{places}"
                it.server.create(database, ledger(MIDDLE))
                lengths[database] = it.server.lengthen(database, places)
                it.lengthened(MIDDLE, lengths[database], database, wire=wire)
            for it.round in range(1, TIMES_AT_LEAST + 1):
                for database, length in lengths.items():
                    it.lengthened(MIDDLE, length, database)
        results = it.results
    found = figures(results, MANY, MIDDLE, list(lengths.values()))
    about = {
        "program": f"reconciler {__version__}",
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "postgres": settings,
        "seconds": round(time.monotonic() - began),
    }
    chosen.folder.mkdir(parents=True, exist_ok=True)
    written = msgspec.json.format(msgspec.json.encode(document(results, found, about)), indent=1)
    (chosen.folder / "bench.json").write_bytes(written)
    drawn = chosen.picture or chosen.folder / "bench.svg"
    drawn.write_text(picture(results), encoding="utf-8")
    print(*measurements(results), "", *counts(results), "", *table(found), "", sep="\n")
    print(*results.skipped, f"{about['seconds']} s; {chosen.folder / 'bench.json'}, {drawn}", sep="\n")
    return 0


def short() -> int:
    """Counts; 1 where something grows that must not."""
    began = time.monotonic()
    with contest((FEW, MIDDLE)) as it, Wire(it.server.sockets) as wire:
        for size in (FEW, MIDDLE):
            for _ in range(3):
                it.backfill(size, wire=wire)
                it.no_change(size, wire=wire)
                it.dry_run(size, wire=wire)
            _count(it, size, wire)
        lengths = []
        for places in SHORT_HISTORIES:
            database = f"history_{places}"
            it.server.create(database, ledger(MIDDLE))
            lengths.append(it.server.lengthen(database, places))
            it.lengthened(MIDDLE, lengths[-1], database, wire=wire)
        found = guarded(it.results, FEW, MIDDLE, lengths)
    print(*table(found), "", f"{time.monotonic() - began:.0f} s", sep="\n")
    return 0 if all(figure.holds for figure in found) else 1


def profile(size: int, rounds: int) -> int:
    """Prints what the phases of a pass without a change take, in the round of the median."""
    with contest([size]) as it, Wire(it.server.sockets) as wire:
        it.backfill(size, wire=wire)
        profiles = []
        for _ in range(rounds):
            it.read(size, it.download(size))
            profiles.append(it.profile(size))
        floors = it.results.runs("floor: no change", size)
    profiles.sort(key=lambda one: one.taken.wall)
    print(*phases(profiles[rounds // 2], median(floor.wall for floor in floors)), sep="\n")
    return 0


@contextmanager
def contest(sizes: Sequence[int], *, large: int = 0) -> Iterator[Contest]:
    """Everything that takes part, in a folder of its own; nothing of it stays."""
    # Not below the user's own folder: as root, Postgres runs as somebody who may not go there.
    with TemporaryDirectory(prefix="reconciler-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running(folder / "postgres") as server:
            with Contest(folder, server, sizes, large=large).serving() as it:
                yield it
            shutil.rmtree(folder / "pages")


def _count(it: Contest, size: int, wire: Wire) -> None:
    """Counts the passes over a finished ledger, and leaves it as it was."""
    it.no_change(size, wire=wire)
    if size >= FEW:
        it.dry_run(size, wire=wire)
        for _ in range(2):
            it.one_percent(size, wire=wire)


def _tell(began: float, what: str) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
