"""`reconciler loop`: a pass now, and one whenever it is due; with `--watch` one for each change, too."""

import logging
from contextlib import ExitStack, closing, suppress
from typing import Final

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_pass
from reconciler.errors import LedgerError, NotPrinted
from reconciler.health import Health
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
    health = Health(
        ready_within=settings.ready_within, live_within=settings.live_within, watches=settings.watch
    )

    def progressed(text: str) -> None:
        health.turned()
        parts.progress(text)

    cluster, allowed = parts.cluster(progressed), parts.limits()
    with ExitStack() as stack:
        database = parts.database
        seat = stack.enter_context(closing(database.beside()))
        ledger = PostgresLedger(database)
        timed_ledger = health.ledger(ledger)

        def report(done: Pass) -> None:
            if done.plan.snapshot.scope is not None:
                health.watched(done)
            if done.id is not None:
                log.info(summary(done.plan, dry_run=False), extra={"pass_id": done.id, **_about(done)})
                if output == "json" or any(change.rows for change in done.plan.changes):
                    try:
                        print_pass(done, output, dry_run=False)
                    except NotPrinted as problem:
                        log.error("%s", str(problem) or "nobody reads the results")  # noqa: TRY400

        timed = health.cluster(cluster)
        write = writing(timed_ledger, allowed, report)
        follower = Follower(timed, write, health, settle=settings.settle)

        def turn() -> None:
            passes.turn()

        source = (
            CaughtUp(timed, follower, ledger.position, turn, parts.known(ledger))
            if settings.catch_up
            else Alone(timed, ledger.position, parts.known(ledger))
        )

        def full_pass() -> None:
            health.attempted()
            ledger.prepare()
            done = run_pass(source, timed_ledger, allowed)
            health.passed(done)
            if settings.watch:
                follower.listed(done.plan.snapshot)
            else:
                follower.close()
            report(done)

        def leads() -> bool:
            if seat.holds(LEADER):
                return True
            health.stood_by(ledger.age())
            return False

        passes = Loop(
            full_pass,
            follower=follower,
            leads=leads,
            health=health,
            interval=settings.interval,
        )
        with suppress(LedgerError):  # the first pass will say what is wrong
            health.stood_by(ledger.age())
        if settings.health_port:
            stack.enter_context(health.served(settings.health_port))
        run_until_told(
            passes,
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
