"""`reconciler loop`: a pass now, and one whenever it is due; with `--watch` one for each change, too."""

import logging
from contextlib import ExitStack, closing, suppress
from typing import Final

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_pass
from reconciler.errors import LedgerError, NotPrinted
from reconciler.health import Health
from reconciler.ledger.postgres import Database
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.modes.catch_up import Alone, CaughtUp, writing
from reconciler.modes.follower import Follower
from reconciler.modes.loop import Loop
from reconciler.modes.schedule import run_until_told
from reconciler.output.plan_json import summary
from reconciler.passes import Pass, run_pass

LEADER: Final = "reconciler leader of "

log = logging.getLogger(__name__)


def loop(parts: Parts, *, output: str) -> int:
    """Runs until SIGTERM or Ctrl-C. Raises ReconcilerError only before the first pass."""
    settings = parts.settings
    with ExitStack() as stack:
        seat = stack.enter_context(closing(parts.database.beside()))
        resident = _Resident(parts, output, seat)
        health = resident.health
        with suppress(LedgerError):  # the first pass will say what is wrong
            health.stood_by(resident.ledger.age())
        if settings.health_port:
            stack.enter_context(health.served(settings.health_port))
        run_until_told(
            resident.passes,
            seconds=settings.interval,
            jitter=settings.jitter,
            cron=settings.cron,
            stop_timeout=settings.stop_timeout,
        )
    return 0


class _Resident:
    """The parts of a loop, each timed and watched over by `health`."""

    def __init__(self, parts: Parts, output: str, seat: Database) -> None:
        """`seat` is the connection that holds the lock of the one who leads."""
        settings = parts.settings
        self.health = Health(
            ready_within=settings.ready_within, live_within=settings.live_within, watches=settings.watch
        )
        self.ledger = PostgresLedger(parts.database)
        self._parts, self._output, self._seat = parts, output, seat
        self._limits = parts.limits()
        self._timed_ledger = self.health.ledger(self.ledger)
        cluster = self.health.cluster(parts.cluster(self._progressed))
        write = writing(self._timed_ledger, self._limits, self._report)
        self._follower = Follower(cluster, write, self.health, settle=settings.settle)
        self.passes = Loop(
            self._full_pass,
            follower=self._follower,
            leads=self._leads,
            health=self.health,
            interval=settings.interval,
        )
        position, known = self.ledger.position, parts.known(self.ledger)
        self._source = (
            CaughtUp(cluster, self._follower, position, self.passes.turn, known)
            if settings.catch_up
            else Alone(cluster, position, known)
        )

    def _full_pass(self) -> None:
        self.health.attempted()
        self.ledger.prepare()
        done = run_pass(self._source, self._timed_ledger, self._limits)
        self.health.passed(done)
        if self._parts.settings.watch:
            self._follower.listed(done.plan.snapshot)
        else:
            self._follower.close()
        self._report(done)

    def _leads(self) -> bool:
        if self._seat.holds(LEADER):
            return True
        self.health.stood_by(self.ledger.age())
        return False

    def _progressed(self, text: str) -> None:
        self.health.turned()
        self._parts.progress(text)

    def _report(self, done: Pass) -> None:
        if done.plan.snapshot.scope is not None:
            self.health.watched(done)
        if done.id is None:
            return
        log.info(summary(done.plan, dry_run=False), extra={"pass_id": done.id, **_about(done)})
        if self._output == "json" or any(change.rows for change in done.plan.changes):
            try:
                print_pass(done, self._output, dry_run=False)
            except NotPrinted as problem:
                log.error("%s", str(problem) or "nobody reads the results")  # noqa: TRY400


def _about(done: Pass) -> dict[str, str | None]:
    """The one tenant that a watched change is about."""
    snapshot = done.plan.snapshot
    if snapshot.scope is None or not done.plan.changes:
        return {}
    lifecycle = done.plan.changes[0].lifecycle
    return {"tenant": lifecycle.name, "uid": lifecycle.uid}
