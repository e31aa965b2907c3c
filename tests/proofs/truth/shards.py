"""The whole proof in shards: each one cluster's history, and what every reconciler makes of it."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import Final, NamedTuple

from tests.proofs.truth.evidence import HOUR
from tests.proofs.truth.history import History, begins
from tests.proofs.truth.measure import Measured, Truth, measure, measure_caught_up
from tests.proofs.truth.reconcile import EVIDENCE, INTERVALS, NO_EVIDENCE, looks, passes

CHANGES: Final = 5000
"""In one cluster."""
TENANTS: Final = 10

Key = tuple[int, bool]
"""Minutes between two passes, and whether they believe managedFields."""


class Shard(NamedTuple):
    """One cluster. The same seed and number give the same history and the same passes."""

    seed: int
    number: int
    changes: int = CHANGES
    tenants: int = TENANTS

    def measured(self) -> Mapping[Key, Measured]:
        name = f"{self.seed}/{self.number}"
        begin = begins(self.number)
        history = History(name, begin, tenants=self.tenants, set_list=self.number % 4 == 3)
        history.run(self.changes)
        end = history.now + HOUR
        truth = Truth(history.evidence, end)
        results = {}
        for minutes in INTERVALS:
            rng = Random(f"{name}/{minutes}")  # noqa: S311 - to be told again
            looked = list(looks(rng, begin, end, minutes))
            for dialect in (EVIDENCE, NO_EVIDENCE):
                without = "" if dialect.managed_fields else ", without evidence"
                title = f"seed {self.seed}, cluster {self.number}, every {minutes} min{without}"
                made = passes(history.evidence.writes, looked, dialect)
                results[minutes, dialect.managed_fields] = measure(truth, made, looked, title)
            caught_up = passes(history.evidence.writes, looked, EVIDENCE, catch_up=True)
            measure_caught_up(results[minutes, True], truth, caught_up)
        return results


def all_measured(seed: int, changes: int, jobs: int) -> Iterator[Mapping[Key, Measured]]:
    """Of so many changes or a few more, in as many processes."""
    shards = [Shard(seed, number) for number in range(-(-changes // CHANGES))]
    if jobs == 1:
        yield from map(Shard.measured, shards)
    else:
        with ProcessPoolExecutor(jobs) as processes:
            yield from processes.map(Shard.measured, shards)
