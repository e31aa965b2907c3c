"""Whether the program was told to end, for a signal handler to set and the main thread to wait for."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop:
    """Set once, at any moment.

    A signal handler runs between two steps of the main thread. A `threading.Event` has a lock, which
    that thread may hold just then, waiting for the same event: setting it would wait for ever.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._woken: SimpleQueue[None] = SimpleQueue()
        """Its `put` may interrupt its `get`, also in the same thread."""

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._woken.put(None)

    def wait(self, seconds: float) -> None:
        """Waits so long, or until it is set."""
        if not self._is_set:
            with suppress(Empty):
                self._woken.get(timeout=max(seconds, 0))
