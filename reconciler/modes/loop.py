"""The program while it stays: full passes when they are due, and in between what the watch delivers.

One thread does all of it, so that there are never two passes at a time. A failure is reported and tried
again after a while that grows; the loop never spins, and never stops in silence.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from reconciler.errors import ReconcilerError, Silence, SnapshotError, UsageError
from reconciler.modes.backoff import delay
from reconciler.modes.follower import Follower
from reconciler.modes.stop import Stop

TURN: Final = 0.2
"""Seconds within which the loop looks up from waiting."""
STANDBY: Final = 2.0
"""Seconds between two attempts to become the one that leads."""
ASK_AGAIN: Final = 1.0
"""Seconds for which the answer that it leads is taken for true; no pass is wrong if it is not."""
FIRST_RETRY: Final = 5.0
LONGEST_RETRY: Final = 300.0

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The loop was told to end while a pass was waiting."""


class LoopHealth(Protocol):
    """Whoever wants to know how the loop is."""

    def turned(self) -> None: ...

    def leading(self, *, leads: bool) -> None: ...

    def failed(self, error: Exception) -> None: ...


class Loop:
    """Passes without end."""

    def __init__(
        self,
        full_pass: Callable[[], None],
        *,
        follower: Follower | None = None,
        leads: Callable[[], bool] = lambda: True,
        health: LoopHealth,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`leads` raises ReconcilerError where nobody can say."""
        self.due = threading.Event()
        """A full pass is due: set by a scheduler, and by whatever asks for one."""
        self.stopped = Stop()
        self._full_pass = full_pass
        self._follower = follower
        self._asked_leads = leads
        self._health = health
        self._first_retry = min(interval, FIRST_RETRY)
        self._longest_retry = max(min(interval, LONGEST_RETRY), 60.0)
        self._clock = clock
        self._leads: bool | None = None
        self._asked_at = clock()
        self._failures = 0
        self._has_worked = False
        self._not_before = clock()

    def turn(self) -> None:
        """For a step that waits: it gets on. Raises Stopped where the loop was told to end."""
        self._health.turned()
        if self.stopped.is_set():
            raise Stopped

    def run(self) -> None:
        """Until `stopped` is set."""
        while not self.stopped.is_set():
            self._health.turned()
            wait = self._not_before - self._clock()
            if wait > 0:
                self.stopped.wait(min(wait, TURN))
            elif not self._is_leading():
                self.stopped.wait(min(STANDBY, self._first_retry))
            elif self.due.is_set():
                self.due.clear()
                self._attempt(self._full_pass)
            elif (follower := self._follower) is not None and follower.is_on:
                self._attempt(partial(self._follow, follower))
            else:
                self.stopped.wait(TURN)
        if self._follower is not None:
            self._follower.close()

    def _follow(self, follower: Follower) -> None:
        try:
            follower.follow(TURN)
        except Silence as problem:
            # It goes on from where it was; whether anything was missed, the next pass will tell.
            log.info("%s", problem)
        except SnapshotError as problem:
            log.warning("%s", problem)
            self.due.set()

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Stopped:
            log.info("told to end while waiting for the watch; the list was not written")
        except ReconcilerError as error:
            if isinstance(error, UsageError) and not self._has_worked:
                # Nothing mends it but another start; later on, a file may just be being replaced.
                raise
            log.error("%s", error)  # noqa: TRY400 - the message says it all
            self._failed(error)
        except Exception as error:
            log.error("failed unexpectedly: %s: %s", type(error).__name__, error)  # noqa: TRY400
            log.debug("where", exc_info=True)
            self._failed(error)
        else:
            self._failures, self._has_worked = 0, True

    def _failed(self, error: Exception) -> None:
        self._health.failed(error)
        self._failures += 1
        wait = delay(self._failures, self._first_retry, self._longest_retry)
        log.info("trying again in %.0f s", wait)
        self._not_before = self._clock() + wait
        self.due.set()

    def _is_leading(self) -> bool:
        if self._leads and self._clock() - self._asked_at < ASK_AGAIN:
            return True
        self._asked_at = self._clock()
        who = "another replica leads"
        try:
            leads = self._asked_leads()
        except ReconcilerError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says it all
            self._failed(error)
            leads, who = False, "the database does not answer"
        if leads != self._leads:
            self._health.leading(leads=leads)
            log.info("leading" if leads else f"standing by: {who}")
            if leads:
                self.due.set()
            elif self._follower is not None:
                self._follower.close()
        self._leads = leads
        return leads
