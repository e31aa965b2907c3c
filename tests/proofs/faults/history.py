"""The life of a cluster in steps, before each pass: in each, something changes that a pass has to write.

The same seed tells the same life to any number of servers. Times are a script's: the clock stands still
while a pass is made.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from tests.apiserver import ApiServer
from tests.simulation import Clock, Habits, Life, Truth
from tests.simulation.life import MOVED, TORN, UNLABELLED

NAMES: Final = tuple(
    f"{animal}-{number}" for animal in ("adler", "biber", "dachs") for number in range(6)
)
NAMESPACES: Final = ("north", "south")

# The hour that Zurich has twice lies in the first steps.
BEGINNING: Final = datetime(2026, 10, 25, 0, 10, 0, 300_000, tzinfo=UTC)
STEP: Final = timedelta(minutes=20)
MOST_WEAK: Final = 2
"""So many deletions in a step may be such as the brake counts."""

HABITS: Final = Habits(
    writes={
        "patch_packages": 5,
        "switch_suspension": 3,
        "create": 4,
        "delete": 4,
        "recreate": 1,
        "break_it": 1,
    },
    population=(8, 14),
    # Longer than a step, so that a pass sees the deletionTimestamp.
    linger=(1500, 4000),
    odd=(UNLABELLED, MOVED, *TORN),
    healing=2400,
)


class Cluster(ApiServer):
    """An API server whose time is the script's."""

    clock: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.clock() + timedelta(seconds=self.clock_skew)


@dataclass
class History:
    """Writes one step after the other to a server's tenants."""

    seed: int
    server: Cluster
    clock: Clock
    wait: Callable[[], None] = lambda: None
    """Called after each write of a step."""
    most_weak: int = MOST_WEAK
    truth: Truth = field(init=False)

    def __post_init__(self) -> None:
        keys = list(NAMES)
        if self.server.namespaced:
            keys = [f"{namespace}/{name}" for name in NAMES[:9] for namespace in NAMESPACES]
        Random(f"names of {self.seed}").shuffle(keys)  # noqa: S311
        self.truth = Truth(self.server.tenants)
        self._life = Life(
            tenants=self.server.tenants,
            seed=self.seed,
            clock=self.clock,
            habits=HABITS,
            keys=keys,
            touched=set(),
        )

    def begin(self) -> None:
        """The cluster as it is before the first pass."""
        self._life.fill(9)
        self.clock.now = BEGINNING + STEP

    def step(self) -> None:
        """A few writes, at least one of them a change of a tenant; then the time of a pass."""
        life, end = self._life, self.clock.now + STEP
        life.touched, life.weak = set(), self.most_weak
        changes, acts = len(self.truth), life.chance.randint(2, 6)
        while acts > 0 or len(self.truth) == changes:
            if not life.advance(self.clock.now + timedelta(seconds=life.chance.uniform(1, 150))):
                life.act()
                acts -= 1
            self.wait()
        end += timedelta(microseconds=life.chance.randrange(1_000_000))
        while life.advance(end):
            self.wait()
