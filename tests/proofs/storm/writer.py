"""The writer of a storm: a life at a rate, in a thread of its own."""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from tests.apiserver import Tenants
from tests.simulation import Clock, Habits, Life, Truth

_WRITES: Final[Mapping[str, float]] = {
    "patch_packages": 40,
    "apply_packages": 8,
    "flap": 12,
    "switch_suspension": 16,
    "label": 10,
    "create": 7,
    "delete": 7,
}


class Storm:
    """Changes about so many tenants, by so many writes a second, or as fast as it can (None).

    It writes in a thread for as long as its context lasts, or until as many `changes` as are wished were
    made. The same seed makes the same changes. No more than `most_weak` deletions are without a
    finalizer (None: as chance has it), so that a brake need not hold them; one with a finalizer stays
    for `linger` seconds of the storm, so that a list still sees its deletionTimestamp.
    """

    def __init__(
        self,
        store: Tenants,
        seed: int,
        tenants: int,
        rate: float | None = None,
        *,
        changes: int | None = None,
        most_weak: int | None = None,
        linger: float = 0.1,
        prefix: str = "storm-",
    ) -> None:
        self.truth = Truth(store, lambda key: key.startswith(prefix))
        self.error: BaseException | None = None
        """What ended the storm before its time; `join` raises it."""
        self._store, self._tenants, self._rate, self._changes = store, tenants, rate, changes
        habits = Habits(
            writes=_WRITES,
            population=(tenants * 3 // 4, tenants * 5 // 4),
            finalizers=1,
            linger=(linger,),
            weak=0.3,
            posthumous=0.3,
        )
        self._life = Life(
            tenants=store,
            seed=seed,
            clock=Clock(datetime(2026, 11, 22, tzinfo=UTC)),
            habits=habits,
            keys=[f"{prefix}{number:05}" for number in range(20 * tenants)],
            weak=most_weak,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._blow, name="storm")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def is_blowing(self) -> bool:
        return self._thread.is_alive()

    def fill(self) -> None:
        """Create the tenants, at once, before the storm begins; their changes are in the truth."""
        self._life.fill(self._tenants)

    def join(self, seconds: float | None = None) -> None:
        """Wait until all changes that were wished for are made. TimeoutError."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"{len(self.truth)} changes are made, and the storm is not over")
        if self.error is not None:
            raise self.error

    def _blow(self) -> None:
        began, before = time.monotonic(), self._store.revision
        step = timedelta(seconds=1 / (self._rate or 200))
        until = None if self._changes is None else len(self.truth) + self._changes
        try:
            while not self._stop.is_set():
                if until is not None and len(self.truth) >= until:
                    return
                due = self._life.clock.now + step
                if not self._life.advance(due):
                    self._life.act()
                if self._rate is not None:
                    at = began + (self._store.revision - before) / self._rate
                    self._stop.wait(max(0.0, at - time.monotonic()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the test waits.
            self.error = error
