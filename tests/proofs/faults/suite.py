"""Lives the same life twice, undisturbed and under faults, and compares the two ledgers row by row."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Final

from tests.proofs.faults.facts import Facts, broken_promises
from tests.proofs.faults.faults import ALL, CATCHING_UP, Fault
from tests.proofs.faults.storm import NAME as STORM
from tests.proofs.faults.storm import storm
from tests.proofs.faults.world import CRASHED, Ending, Laboratory, World, world

STEPS: Final = 20
"""Faults in one history."""
NOT_KNOWN: Final = "whether pass"
"""What a message says where even the program cannot tell whether it has written."""


@dataclass
class Line:
    """What came of one fault, over all passes that it struck."""

    passes: int = 0
    refused: int = 0
    """Failed or refused with the right exit status, and nothing written."""
    recovered: int = 0
    """The ledger is that of the undisturbed life, at once or after one more pass."""
    lost: int = 0
    """Rows that are missing then."""
    doubled: int = 0
    """Rows that are too many then."""


@dataclass
class Tally:
    """What came of all faults."""

    lines: dict[str, Line] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """What went wrong, with what it takes to see it again."""

    def __getitem__(self, name: str) -> Line:
        return self.lines.setdefault(name, Line())

    @property
    def passes(self) -> int:
        return sum(line.passes for line in self.lines.values())

    @property
    def is_clean(self) -> bool:
        return not self.broken and not any(line.lost or line.doubled for line in self.lines.values())

    def table(self) -> Iterator[str]:
        columns = ("fault", "passes", "refused", "recovered", "lost", "doubled")
        total = [sum(values) for values in zip(*map(_numbers, self.lines.values()), strict=True)]
        rows = [(name, *map(str, _numbers(line))) for name, line in sorted(self.lines.items())]
        rows.append(("all", *map(str, total or [0] * 5)))
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, tuple("-" * width for width in widths), *rows):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield f"| {' | '.join(cells)} |"


def _numbers(line: Line) -> tuple[int, ...]:
    return (line.passes, line.refused, line.recovered, line.lost, line.doubled)


def deal(seed: int, *, catches_up: bool = False) -> Sequence[Fault]:
    """The faults of the history of that seed."""
    random = Random(f"faults of {seed}")  # noqa: S311
    moves_time = seed % 8 == 7
    possible = CATCHING_UP if catches_up else ALL
    faults = [fault for fault in possible if moves_time or not fault.moves_time]
    weights = [
        fault.weight * (4 if fault.name.startswith("clock") and moves_time else 1) for fault in faults
    ]
    return in_order(random.choices(faults, weights, k=STEPS))


def play(
    lab: Laboratory, seed: int, faults: Sequence[Fault], tally: Tally, *, catches_up: bool = False
) -> None:
    """A history under these faults, one in each step; ends where the ledger is no longer right."""
    undisturbed = list(_undisturbed(lab, seed, len(faults), catches_up=catches_up))
    random = Random(f"strikes of {seed}")  # noqa: S311
    with world(lab, seed, catches_up=catches_up) as here:
        before = Facts(Counter(), {})
        moved = moved_server = False
        for step, (fault, (after, statements)) in enumerate(zip(faults, undisturbed, strict=True)):
            if step:
                here.history.step()
            here.statements = statements
            moved, moved_server = moved or fault.moves_time, moved_server or fault.moves_server_time
            here.heal()
            ends = fault.strike(here, random)
            here.heal()
            found = _judged(here, fault, ends, before, after, line=tally[fault.name], moved=moved)
            now = here.facts()
            if not moved_server:
                off = timedelta(seconds=2 if moved else 0)
                found += broken_promises(now.rows, here.history.truth.changes, off)
            if found:
                where = f"{fault.name} (--seed {seed} --passes 1, step {step})"
                tally.broken += [f"{where}: {one}" for one in found]
                return
            before = now
        _check_requests(here, seed, tally)
        tally.broken += [f"--seed {seed}: verify --deep: {one}" for one in here.findings()]


def in_order(faults: Iterable[Fault]) -> Sequence[Fault]:
    """The first pass is a backfill, which nothing refuses: such faults come later."""
    faults = list(faults)
    for number, fault in enumerate(faults):
        if 3 not in fault.ends and not fault.moves_time:
            faults[0], faults[number] = faults[number], faults[0]
            break
    return faults


def _undisturbed(
    lab: Laboratory, seed: int, steps: int, *, catches_up: bool
) -> Iterator[tuple[Facts, int]]:
    """The ledger after each step where nothing goes wrong, and how many statements that takes."""
    with world(lab, seed, catches_up=catches_up) as here:
        for step in range(steps):
            if step:
                here.history.step()
            here.proxy.heal()
            ending = here.make_pass()
            if ending.status != 0:
                raise AssertionError(f"seed {seed}, step {step}, undisturbed: {ending}")
            statements = here.proxy.statements
            yield here.facts(), statements


def _judged(
    here: World,
    fault: Fault,
    ends: Sequence[Ending],
    before: Facts,
    after: Facts,
    *,
    line: Line,
    moved: bool,
) -> list[str]:
    """Counts the passes by how they ended, makes one more, and tells what is wrong."""

    def seen(facts: Facts) -> Facts:
        return facts.untimed() if moved else facts

    found = [
        f"a pass ended with {end.status}, not {sorted(map(str, fault.ends))}: {end.said[-500:]}"
        for end in ends
        if end.status not in fault.ends or end.status == CRASHED
    ]
    before, after = seen(before), seen(after)
    now = seen(here.facts())
    unknown = any(NOT_KNOWN in end.said for end in ends)
    line.passes += len(ends)
    if any(end.status == 0 for end in ends):
        if now.rows != after.rows:
            found.append(f"a pass was written, but not all of it or more: {_difference(now, after)}")
    elif here.catches_up or any(end.held for end in ends):
        # Each change before the list is a pass of its own; of what is held back, the rest is written.
        if now.rows - after.rows or before.rows - now.rows:
            found.append(f"a pass that did not end well wrote something else: {_difference(now, after)}")
    elif unknown or any(end.status is None for end in ends):
        if now.rows not in (before.rows, after.rows):
            found.append(f"a pass was written in part: {_difference(now, after)}")
    elif now.rows != before.rows or now.state != before.state:
        found.append(f"a pass failed and wrote: {_difference(now, before)}")
    refused = sum(end.status in (1, 2, 3) and NOT_KNOWN not in end.said for end in ends)
    again = here.make_pass()
    if again.held and 3 in fault.ends:
        # What really is gone stays held back with the rest, until an operator lets it through.
        again = here.make_pass(allow_deletions=again.held)
    outdated = fault.moves_server_time and again.status == 3
    if again.status != 0 and not outdated:
        found.append(f"the next pass ended with {again.status}: {again.said}")
    final = seen(here.facts())
    lost, doubled = after.rows - final.rows, final.rows - after.rows
    line.lost += lost.total()
    line.doubled += doubled.total()
    if lost or doubled:
        found.append(f"the ledger is another one than undisturbed: {_difference(final, after)}")
    elif final.state != after.state and not outdated:
        found.append(f"the known state is another one: {_other(final.state, after.state)}")
    found += final.contradictions
    if not found:
        line.refused += refused
        line.recovered += len(ends) - refused
    return found


def _difference(found: Facts, expected: Facts) -> str:
    lost = [f"- {tuple(row)}" for row in (expected.rows - found.rows).elements()]
    doubled = [f"+ {tuple(row)}" for row in (found.rows - expected.rows).elements()]
    return "; ".join([*lost[:5], *doubled[:5]]) or "only in the known state"


def _other(found: object, expected: object) -> str:
    return f"{found!s:.600}, undisturbed {expected!s:.600}"


def _check_requests(here: World, seed: int, tally: Tally) -> None:
    """Nothing but reading was asked for, and never a list from memory."""
    for request in here.server.requests:
        from_memory = "resourceVersion" in request.query and not here.server.is_watch(request)
        if request.method != "GET" or from_memory:
            tally.broken.append(f"--seed {seed}: asked for {request}")


def run(lab: Laboratory, seed: int, passes: int, *, catches_up: bool = False) -> Iterator[Tally]:
    """Histories from this seed on, until so many passes were struck; the tally after each."""
    tally = Tally()
    while tally.passes < passes:
        play(lab, seed, deal(seed, catches_up=catches_up), tally, catches_up=catches_up)
        yield tally
        if seed % 2 and not catches_up:
            blow(lab, seed, tally)
            yield tally
        seed += 1


def blow(lab: Laboratory, seed: int, tally: Tally) -> None:
    """The storm of that seed."""
    line, came = tally[STORM], storm(lab, seed)
    line.passes += came.passes
    line.lost += came.lost.total()
    line.doubled += came.doubled.total()
    tally.broken += came.broken
    if not came.broken:
        line.refused += came.refused
        line.recovered += came.passes - came.refused
