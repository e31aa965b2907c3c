"""Several passes at the same time, on one ledger."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

from reconciler.core.tenant import Snapshot
from reconciler.sources.cluster import ClusterSource, ConnectedCluster
from tests.proofs.faults.faults.fault import EITHER, WRITTEN, Fault
from tests.proofs.faults.proxy import Then, at
from tests.proofs.faults.world import Ending, World


class Delayed:
    """A source that takes its time before and after it asks."""

    is_live = True

    def __init__(self, source: ClusterSource, random: Random, longest: float) -> None:
        self._source, self._random, self._longest = source, random, longest

    def connected(self) -> ConnectedCluster:
        time.sleep(self._random.uniform(0, self._longest))
        return self._source.connected()

    def snapshot(self) -> Snapshot:
        time.sleep(self._random.uniform(0, self._longest))
        snapshot = self._source.snapshot()
        time.sleep(self._random.uniform(0, self._longest))
        return snapshot


def delay_statements(world: World, random: Random, longest: float) -> None:
    def on_statement(_number: int, _message: bytes) -> Then:
        if random.random() < 0.3:
            time.sleep(random.uniform(0, longest))
        return Then.PASS

    world.proxy.on_statement = on_statement


def at_once(passes: Sequence[Callable[[], Ending]]) -> list[Ending]:
    """Makes them all at the same time."""
    ends: list[Ending | None] = [None] * len(passes)

    def run(number: int) -> None:
        ends[number] = passes[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(passes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [end or Ending(70, "a thread died") for end in ends]


def _several_at_once(world: World, random: Random) -> Sequence[Ending]:
    delay_statements(world, Random(random.random()), 0.01)  # noqa: S311
    delayed = [
        Delayed(world.source(), Random(random.random()), 0.03)  # noqa: S311
        for _ in range(random.randint(2, 8))
    ]
    return at_once([partial(world.make_pass, source) for source in delayed])


def _several_at_once_and_one_dropped(world: World, random: Random) -> Sequence[Ending]:
    world.proxy.on_statement = at(
        random.randint(1, 2 * world.statements), random.choice([Then.DROP_BEFORE, Then.DROP_AFTER])
    )
    return at_once([world.make_pass for _ in range(random.randint(2, 4))])


def faults() -> Iterator[Fault]:
    yield from (
        Fault("passes: two to eight at once", _several_at_once, WRITTEN, 3),
        Fault("passes: several at once, one dropped", _several_at_once_and_one_dropped, EITHER, 2),
    )
