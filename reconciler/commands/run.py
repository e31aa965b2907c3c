"""`reconciler run`: one pass over the cluster, or one over each snapshot file."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from reconciler.commands.reporting import CHANGES_PLANNED, exit_status, lowest, print_pass
from reconciler.commands.wiring import (
    cluster_source,
    dialect,
    given_time,
    limits,
    open_database,
    set_up_logging,
)
from reconciler.core.plan import Decisions
from reconciler.errors import UsageError
from reconciler.ledger.books import DryLedger, Ledger
from reconciler.output.text import Progress
from reconciler.passes import Source, run_pass
from reconciler.settings import Settings, load
from reconciler.sources.files import FileSource, file_sources

log = logging.getLogger(__name__)


def run(
    flags: dict[str, Any],
    *,
    output: str,
    dry_run: bool = False,
    snapshot: Sequence[str] = (),
    observed_at: str | None = None,
    detailed_exitcode: bool = False,
    allow_deletions: int | None = None,
    adopt_cluster: bool = False,
    rebind: bool = False,
    reopen: Sequence[str] = (),
) -> int:
    """Makes the passes and prints each. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings)
    progress = Progress()
    if detailed_exitcode and not dry_run:
        raise UsageError("--detailed-exitcode tells what a --dry-run found; give both")
    sources = _sources(settings, snapshot, observed_at, progress)
    allowed = limits(settings, allow_deletions=allow_deletions, adopt_cluster=adopt_cluster)
    decisions = Decisions(rebind=rebind, reopen=frozenset(reopen))
    statuses = []
    planned = False
    with open_database(settings) as database:
        ledger = DryLedger(database) if dry_run else Ledger(database)
        ledger.prepare()
        for number, source in enumerate(sources, start=1):
            if len(sources) > 1:
                progress(f"snapshot {number} of {len(sources)}")
                if _is_in_already(source, ledger):
                    continue
            done = run_pass(source, ledger, allowed, decisions)
            progress("")
            print_pass(done, output, dry_run=dry_run)
            statuses.append(exit_status(done, settings.quarantine_exit))
            planned = planned or any(change.rows for change in done.plan.changes)
    status = lowest(statuses)
    return CHANGES_PLANNED if detailed_exitcode and planned and status == 0 else status


def _sources(
    settings: Settings, snapshot: Sequence[str], observed_at: str | None, progress: Progress
) -> Sequence[Source]:
    if not snapshot:
        if observed_at is not None:
            raise UsageError("--observed-at dates a --snapshot; a cluster is looked at now")
        return [cluster_source(settings, progress)]
    now = datetime.now(UTC)
    return file_sources(
        snapshot,
        given_time("--observed-at", observed_at, now),
        now,
        dialect(settings),
        settings.cluster_uid,
    )


def _is_in_already(source: Source, ledger: Ledger | DryLedger) -> bool:
    """Whether one of several snapshots is not newer than the last pass, and so is skipped."""
    last = ledger.last_instant()
    if not isinstance(source, FileSource) or last is None or source.observed_at > last:
        return False
    log.info("skipped %s: not newer than the last pass (%s)", source.name, f"{last:%Y-%m-%dT%H:%M:%SZ}")
    return True
