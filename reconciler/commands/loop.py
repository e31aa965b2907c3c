"""`reconciler loop`: a pass now, and one whenever it is due; with `--watch` one for each change, too."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from typing import Any, Final

from reconciler.commands.reporting import print_pass
from reconciler.commands.wiring import cluster_source, limits, open_database, set_up_logging
from reconciler.core.tenant import Snapshot
from reconciler.errors import LedgerError
from reconciler.health import Vitals
from reconciler.ledger.books import Ledger
from reconciler.modes.follow import CaughtUp, Follower
from reconciler.modes.loop import run_until_told
from reconciler.modes.resident import Resident
from reconciler.output.report import summary
from reconciler.output.text import Progress
from reconciler.passes import Pass, run_pass, run_watched
from reconciler.settings import load

HEALTH_PORT: Final = 8080
LEADER: Final = "reconciler leader of "

log = logging.getLogger(__name__)


def loop(flags: dict[str, Any], *, output: str) -> int:
    """Runs until SIGTERM or Ctrl-C. Raises ReconcilerError only before the first pass."""
    settings = load(flags)
    set_up_logging(settings)
    vitals = Vitals(
        ready_within=settings.ready_within, live_within=settings.live_within, watches=settings.watch
    )
    progress = Progress()

    def progressed(text: str) -> None:
        vitals.turned()
        progress(text)

    cluster, allowed = cluster_source(settings, progressed), limits(settings)
    port = HEALTH_PORT if settings.health_port is None else settings.health_port
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        seat = stack.enter_context(closing(database.beside()))
        books = Ledger(database)
        ledger = vitals.ledger(books)

        def report(done: Pass) -> None:
            if done.id is not None:
                log.info(summary(done.plan, dry_run=False), extra={"pass_id": done.id, **_about(done)})
                if output == "json" or any(change.rows for change in done.plan.changes):
                    print_pass(done, output, dry_run=False)

        def write(changes: Sequence[Snapshot]) -> None:
            for done in run_watched(changes, ledger, allowed):
                vitals.watched(done)
                report(done)

        follower = Follower(cluster.watch, write, vitals) if settings.watch else None
        timed = vitals.source(cluster)
        source = timed if follower is None else CaughtUp(timed, follower)

        def full_pass() -> None:
            vitals.attempted()
            books.prepare()
            if follower is not None:
                follower.resume(books.last_seen)
            done = run_pass(source, ledger, allowed)
            vitals.passed(done)
            if follower is not None:
                follower.listed(done.plan.snapshot)
            report(done)

        def leads() -> bool:
            if seat.holds(LEADER):
                return True
            vitals.stood_by(books.age())
            return False

        resident = Resident(
            full_pass,
            follower=follower,
            leads=leads,
            vitals=vitals,
            interval=settings.interval,
        )
        with suppress(LedgerError):  # the first pass will say what is wrong
            vitals.stood_by(books.age())
        if port:
            stack.enter_context(vitals.served(port))
        run_until_told(
            resident,
            seconds=settings.interval,
            jitter=settings.jitter,
            cron=settings.cron,
            stop_timeout=settings.stop_timeout,
        )
    return 0


def _about(done: Pass) -> dict[str, str | None]:
    """The one tenant that a watched change is about."""
    snapshot = done.plan.snapshot
    if snapshot.scope is None or not done.plan.changes:
        return {}
    lifecycle = done.plan.changes[0].lifecycle
    return {"tenant": lifecycle.name, "uid": lifecycle.uid}
