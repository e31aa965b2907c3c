"""`reconciler loop`: a pass now, and one at every interval, until it is told to end."""

import logging
from typing import Any

from reconciler.commands.reporting import print_pass
from reconciler.commands.wiring import cluster_source, limits, open_database, set_up_logging
from reconciler.ledger.books import Ledger
from reconciler.modes.loop import run_at_intervals
from reconciler.output.report import summary
from reconciler.output.text import Progress
from reconciler.passes import run_pass
from reconciler.settings import load

log = logging.getLogger(__name__)


def loop(flags: dict[str, Any], *, output: str) -> int:
    """Runs until SIGTERM or Ctrl-C. Raises ReconcilerError only before the first pass."""
    settings = load(flags)
    set_up_logging(settings)
    source, allowed = cluster_source(settings, Progress()), limits(settings)
    with open_database(settings) as database:
        ledger = Ledger(database)

        def one_pass() -> None:
            ledger.prepare()
            done = run_pass(source, ledger, allowed)
            if output == "json" or any(change.rows for change in done.plan.changes):
                print_pass(done, output, dry_run=False)
            log.info(summary(done.plan, dry_run=False))

        run_at_intervals(one_pass, settings.interval)
    return 0
