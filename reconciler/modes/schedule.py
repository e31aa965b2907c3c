"""When passes are due. No other module imports `apscheduler`."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from reconciler.core import cron as crontab
from reconciler.errors import UsageError
from reconciler.modes.loop import Loop


def run_until_told(
    loop: Loop, *, seconds: float, jitter: float, cron: str | None, stop_timeout: float
) -> None:
    """Makes a pass at once, and then whenever one is due, until SIGTERM or SIGINT.

    On the signal, the running pass is finished. If that takes longer than `stop_timeout`, or on a
    second signal, KeyboardInterrupt ends it and nothing of it is written.
    """

    def told(*_: object) -> None:
        if loop.stopped.is_set():
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, stop_timeout)
        loop.stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, told)
    scheduler = make_scheduler(loop.due.set, seconds, jitter, cron)
    scheduler.start()
    try:
        loop.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        scheduler.shutdown(wait=False)


def make_scheduler(
    due: Callable[[], object], seconds: float, jitter: float = 0, cron: str | None = None
) -> BackgroundScheduler:
    """A scheduler, not started: it calls `due` at once, and then every `seconds` or by `cron`.

    However many ticks were missed, `due` is called once for them. Raises UsageError if `cron` is
    invalid.
    """
    # This executor runs the job in the scheduler's thread.
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": DebugExecutor()})
    scheduler.add_job(
        due,
        _trigger(seconds, jitter, cron),
        next_run_time=datetime.now(UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    return scheduler


class _CronTrigger(BaseTrigger):  # type: ignore[misc]
    """As a CronJob's schedule; APScheduler's own counts weekdays from Monday, and wants both days."""

    def __init__(self, schedule: crontab.Schedule, jitter: float | None) -> None:
        self._schedule = schedule
        self._jitter = jitter

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        due = self._schedule.after(max(now, previous or now))
        return due and self._apply_jitter(due, self._jitter, now)


def _trigger(seconds: float, jitter: float, cron: str | None) -> BaseTrigger:
    if cron is None:
        return IntervalTrigger(seconds=seconds, timezone=UTC, jitter=jitter or None)
    try:
        schedule = crontab.parse(cron)
    except ValueError as problem:
        raise UsageError(f"--cron: {problem}, as in '*/5 * * * *'") from None
    if schedule.after(datetime.now(UTC)) is None:
        raise UsageError(f"--cron {cron}: it matches no day of the next five years")
    return _CronTrigger(schedule, jitter or None)
