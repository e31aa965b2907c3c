"""The watch cache: what a server keeps in memory for watches, and how far it knows the cluster to be.

A real server (kube-apiserver 1.36) resumes watches from here, never from etcd: compaction takes nothing
from a watch, a restart takes everything.
"""

import time
from collections import deque
from typing import Final

from tests.apiserver.store import Event, Tenants

LEAST: Final = 100
"""Events that are kept, however old they are."""
MOST: Final = 102_400
"""Events that are kept, however young they are."""


class WatchCache:
    """The latest events of one resource, in a buffer that grows with the rate of writes.

    `fresh`: seconds for which an event is kept. When the buffer is full, it doubles if its oldest event
    is younger than that, and otherwise gives the oldest up. `progress_every`: seconds between two notes
    by etcd of how far it is (`--watch-progress-notify-interval`, as kubeadm sets it).
    """

    def __init__(self, tenants: Tenants) -> None:
        self.fresh = 75.0
        self.progress_every = 5.0
        self._tenants = tenants
        self.restart()

    def restart(self) -> None:
        """Start anew from a list made now: what was written before is too old for a watch."""
        with self._tenants.changed:
            self._began = self._progress = self._seen = self._tenants.revision
            self._progressed = time.monotonic()
            self._kept: deque[Event] = deque()
            self._capacity = LEAST
            self._gave_up = False

    def progress(self) -> None:
        """Learn how far etcd is: a consistent list makes a server ask."""
        with self._tenants.changed:
            self._progress, self._progressed = self._tenants.revision, time.monotonic()

    @property
    def revision(self) -> int:
        """How far the cache is: a bookmark says this."""
        with self._tenants.changed:
            self._read()
            if time.monotonic() - self._progressed >= self.progress_every:
                self.progress()
            return max(self._progress, self._seen)

    @property
    def oldest(self) -> int:
        """The first revision that a watch can still be from."""
        with self._tenants.changed:
            self._read()
            return self._kept[0].revision - 1 if self._gave_up else self._began

    def _read(self) -> None:
        for event in self._tenants.since(self._seen):
            self._resize(event.written)
            if len(self._kept) >= self._capacity:
                self._kept.popleft()
                self._gave_up = True
            self._kept.append(event)
            self._seen = event.revision

    def _resize(self, now: float) -> None:
        if len(self._kept) < self._capacity:
            return
        if now - self._kept[0].written < self.fresh:
            self._capacity = min(2 * self._capacity, MOST)
        elif now - self._kept[-self._capacity // 4].written > self.fresh:
            self._capacity = max(self._capacity // 2, LEAST)
            while len(self._kept) > self._capacity:
                self._kept.popleft()
                self._gave_up = True
