"""A stream of changes, read by a thread of its own, so that whoever writes them need not wait for it."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from reconciler.core.tenant import Snapshot
from reconciler.errors import ReconcilerError, SnapshotError
from reconciler.passes import Watch

MOST_AT_ONCE: Final = 500
"""Changes that are taken at once, and written in one transaction."""
MOST_WAITING: Final = 10_000
"""Changes that wait to be taken; beyond that the server has to wait."""
ENDS_WITHIN: Final = 2.0
"""Seconds that closing waits for the thread. A process that exits under a thread in OpenSSL crashes."""

log = logging.getLogger(__name__)


class Stream:
    """What a watch delivers, as it arrives."""

    def __init__(self, open_watch: Callable[[], Watch], wait: float) -> None:
        """Opens the watch after `wait` seconds. It and its stream raise ReconcilerError."""
        self._arrived: queue.Queue[Snapshot] = queue.Queue(MOST_WAITING)
        self._closed = threading.Event()
        self._ended = threading.Event()
        self._watch: Watch | None = None
        self._problem: ReconcilerError | None = None
        self._thread = threading.Thread(target=self._read, args=(open_watch, wait), daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether the server has answered, and has not ended it."""
        return self._watch is not None and not self._ended.is_set()

    @property
    def waiting(self) -> int:
        """How many changes have arrived and were not taken."""
        return self._arrived.qsize()

    def take(self, timeout: float) -> Sequence[Snapshot] | None:
        """What has arrived, in its order; None once the stream has ended in the ordinary way.

        Raises what ended it otherwise, when all before that was taken.
        """
        if self._ended.is_set() and self._arrived.empty():
            if self._problem is not None:
                raise self._problem
            return None
        taken: list[Snapshot] = []
        with suppress(queue.Empty):
            taken.append(self._arrived.get(timeout=timeout))
            while len(taken) < MOST_AT_ONCE:
                taken.append(self._arrived.get_nowait())
        return taken

    def close(self) -> None:
        """Ends it; what was not taken is gone."""
        self._closed.set()
        if self._watch is not None:
            self._watch.close()
        self._thread.join(ENDS_WITHIN)

    def _read(self, open_watch: Callable[[], Watch], wait: float) -> None:
        try:
            if self._closed.wait(wait):
                return
            self._watch = open_watch()
            if self._closed.is_set():
                return
            for change in self._watch:
                while not self._closed.is_set():
                    try:
                        self._arrived.put(change, timeout=1)
                        break
                    except queue.Full:
                        continue
                if self._closed.is_set():
                    break
        except ReconcilerError as problem:
            self._problem = problem
        except Exception as problem:
            if self._closed.is_set():
                return  # It was closed while it was read.
            log.debug("where the watch failed", exc_info=True)
            self._problem = SnapshotError(f"the watch failed: {type(problem).__name__}: {problem}")
        finally:
            if self._closed.is_set() and self._watch is not None:
                self._watch.close()
            self._ended.set()
