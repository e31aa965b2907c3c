"""Passes at once over a cluster that moves on: the ledger is what some sequence of passes writes.

Which snapshots are written, and in which order, is a matter of chance. The ledger's own record of its
passes tells; made one after the other on an empty ledger, the same snapshots must give the same rows.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final

import psycopg
from msgspec import Raw

from reconciler.core.reading import Dialect, read_tenants
from reconciler.core.tenant import Snapshot
from tests.outcome import Given
from tests.proofs.faults.facts import Fact, broken_promises, facts
from tests.proofs.faults.faults.at_once import Delayed, at_once, delay_statements
from tests.proofs.faults.history import BEGINNING
from tests.proofs.faults.world import Ending, Laboratory, World, world
from tests.simulation import Clock

NAME: Final = "passes: at once while the cluster moves on"
MOVES: Final = 5


@dataclass
class Came:
    """What came of a storm."""

    passes: int
    refused: int
    lost: Counter[Fact]
    doubled: Counter[Fact]
    broken: list[str] = field(default_factory=list)


class _RunningClock(Clock):
    """The real time, whatever the script's is."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


def storm(lab: Laboratory, seed: int) -> Came:
    """Two to eight passes at once, each some times, while the cluster moves on."""
    random = Random(f"storm of {seed}")  # noqa: S311
    with world(lab, seed, _RunningClock(BEGINNING), scripted=False) as here:
        first = here.make_pass()
        here.proxy.heal()
        delay_statements(here, Random(random.random()), 0.02)  # noqa: S311
        here.history.wait = lambda: time.sleep(0.02)
        mover = threading.Thread(target=_move, args=(here,))
        mover.start()
        writers = random.randint(2, 8)
        seeds = [random.random() for _ in range(writers)]
        ends = [
            end for _ in range(2) for end in at_once([partial(_delayed, here, one) for one in seeds])
        ]
        mover.join()
        here.heal()
        last = here.make_pass()
        found = here.facts()
        with _recorded(here) as snapshots, lab.database() as empty:
            direct = lab.direct(empty)
            again = [here.make_pass(Given(snapshot), url=direct) for snapshot in snapshots]
            with psycopg.connect(direct) as connection:
                expected = facts(connection)
    came = Came(
        passes=len(ends),
        refused=sum(end.status in (1, 3) for end in ends),
        lost=expected.rows - found.rows,
        doubled=found.rows - expected.rows,
    )
    where = f"{NAME} (--seed {seed} --passes 1)"
    wrong = [end for end in (first, last, *again) if end.status not in (0, 3) or end.said]
    wrong += [end for end in ends if end.status not in (0, 3)]
    came.broken += [f"{where}: a pass ended with {end.status}: {end.said}" for end in wrong]
    came.broken += [f"{where}: not in the ledger: {row}" for row in came.lost]
    came.broken += [f"{where}: too many: {row}" for row in came.doubled]
    came.broken += [f"{where}: {one}" for one in found.contradictions]
    if found.state != expected.state:
        came.broken.append(f"{where}: the known state is another one")
    came.broken += [f"{where}: {one}" for one in broken_promises(found.rows, here.history.truth.changes)]
    return came


def _move(here: World) -> None:
    for _ in range(MOVES):
        here.history.step()


def _delayed(here: World, seed: float) -> Ending:
    return here.make_pass(Delayed(here.source(), Random(seed), 0.1))  # noqa: S311


@contextmanager
def _recorded(here: World) -> Iterator[list[Snapshot]]:
    """The snapshots of the ledger's passes, in the order in which they were written."""
    with psycopg.connect(here.direct) as connection:
        passes = connection.execute(
            "SELECT resource_version, asked_at, observed_at, cluster_uid"
            " FROM reconciler_passes ORDER BY id"
        ).fetchall()
    snapshots = []
    for version, asked_at, observed_at, cluster_uid in passes:
        items = [Raw(json.dumps(one).encode()) for one in here.server.tenants.at(int(version)).values()]
        tenants, unreadable = read_tenants(items, observed_at, Dialect())
        snapshots.append(
            Snapshot(
                tenants=tenants,
                unreadable=unreadable,
                asked_at=asked_at.astimezone(UTC),
                observed_at=observed_at.astimezone(UTC),
                cluster_uid=cluster_uid,
                resource_version=version,
                source="cluster",
            )
        )
    yield snapshots
