"""Passes at intervals. The one file that knows `apscheduler`.

Never two at a time: a pass runs in the scheduler's own thread, so that a tick that comes while one is
running waits, and however many did, is made up once.
"""

import logging
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from reconciler.errors import ReconcilerError

log = logging.getLogger(__name__)


def run_at_intervals(one_pass: Callable[[], None], seconds: float) -> None:
    """Makes a pass at once and then one every `seconds`, until SIGTERM or SIGINT.

    The pass in hand is finished first.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    scheduler = make_scheduler(one_pass, seconds)
    scheduler.start()
    stopped.wait()
    log.info("asked to end; finishing the pass in hand")
    scheduler.shutdown(wait=True)


def make_scheduler(one_pass: Callable[[], None], seconds: float) -> BackgroundScheduler:
    """The scheduler, not started yet. A failed pass is reported, and the next one tries again."""

    def attempt() -> None:
        try:
            one_pass()
        except ReconcilerError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says it all
        except Exception as error:
            log.error("the pass failed unexpectedly: %s: %s", type(error).__name__, error)  # noqa: TRY400
            log.debug("where", exc_info=True)

    # The first executor is the default one: it runs the job in the scheduler's thread.
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": DebugExecutor()})
    scheduler.add_job(
        attempt,
        IntervalTrigger(seconds=seconds, timezone=UTC),
        next_run_time=datetime.now(UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    return scheduler
