"""`reconciler run`: one pass over the cluster, or one over each snapshot file."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from reconciler.commands.parts import Parts
from reconciler.commands.printing import exit_status, print_pass
from reconciler.commands.values import decided_by, given_time
from reconciler.core.cases import Overrides
from reconciler.errors import ExitStatus, NotPrinted, Unfinished, UsageError, lowest
from reconciler.ledger.postgres_ledger import DryRunLedger, PostgresLedger
from reconciler.modes.catch_up import Alone, CaughtUp, within, writing
from reconciler.modes.follower import Follower
from reconciler.modes.replay import replay
from reconciler.passes import Pass, Source, run_pass
from reconciler.sources.cluster import ClusterSource
from reconciler.sources.files import FileSource

log = logging.getLogger(__name__)


def run(
    parts: Parts,
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
    move: Sequence[str] = (),
    effective: str | None = None,
    by: str | None = None,
    because: str | None = None,
) -> int:
    """Makes the passes and prints each. Raises ReconcilerError."""
    if detailed_exitcode and not dry_run:
        raise UsageError("--detailed-exitcode is about the plan of a dry run; give --dry-run as well")
    progress = parts.progress
    database = parts.database
    ledger = DryRunLedger(database) if dry_run else PostgresLedger(database)
    known = parts.known(ledger)
    sources = _sources(parts, snapshot, observed_at, known)
    if len(sources) > 1 and (reopen or move):
        decision = "--reopen" if reopen else "org move"
        raise UsageError(f"{decision} decides about one snapshot, not about several")
    allowed = parts.limits(allow_deletions=allow_deletions, adopt_cluster=adopt_cluster)
    overrides = Overrides(
        rebind=rebind,
        reopen=frozenset(reopen),
        move=frozenset(move),
        effective=given_time(parts, "--effective", effective),
        by=decided_by(by),
        because=because,
    )
    ledger.prepare()
    statuses: list[int] = []
    planned = False
    unprinted: NotPrinted | None = None

    def report(done: Pass) -> None:
        nonlocal planned, unprinted
        progress("")
        if unprinted is None:
            try:
                print_pass(done, output, dry_run=dry_run)
            except NotPrinted as problem:
                unprinted = problem
        statuses.append(exit_status(done, parts.settings.quarantine_exit))
        planned = planned or any(change.rows for change in done.plan.changes)

    def one_pass(source: Source) -> Pass:
        if len(sources) > 1:
            progress(f"snapshot {sources.index(source) + 1} of {len(sources)}")
            # The archive is still there: what a power cut takes is replayed.
            ledger.waits_for_disk = source is sources[-1]
        return run_pass(source, ledger, allowed, overrides)

    def watched(done: Pass) -> None:
        if done.plan.changes:
            report(done)

    if isinstance(sources[0], FileSource):
        for done in _replayed(sources, ledger, one_pass):
            report(done)
    elif parts.settings.catch_up:
        # What an operator allowed or decided is for the list, which shows all of it.
        write = writing(ledger, parts.limits(), watched)
        with closing(Follower(sources[0], write, settle=parts.settings.settle)) as follower:
            turn = within(parts.settings.catch_up_timeout)
            try:
                report(one_pass(CaughtUp(sources[0], follower, ledger.position, turn, known)))
            except Unfinished as problem:
                log.warning("%s", problem)
    else:
        report(one_pass(Alone(sources[0], ledger.position, known)))
    if unprinted is not None:
        raise unprinted
    status = lowest(statuses)
    return ExitStatus.CHANGES_PLANNED if detailed_exitcode and planned and status == 0 else status


def _sources(
    parts: Parts,
    snapshot: Sequence[str],
    observed_at: str | None,
    known: Callable[[], frozenset[bytes]],
) -> Sequence[ClusterSource] | Sequence[FileSource]:
    if snapshot:
        return parts.files(snapshot, given_time(parts, "--observed-at", observed_at), known)
    if observed_at is not None:
        raise UsageError("--observed-at dates a --snapshot; a cluster is listed now")
    return [parts.cluster()]


def _replayed(
    sources: Sequence[ClusterSource] | Sequence[FileSource],
    ledger: PostgresLedger | DryRunLedger,
    one_pass: Callable[[Source], Pass],
) -> Iterable[Pass]:
    if len(sources) == 1:
        return (one_pass(source) for source in sources)
    kept = [source for source in sources if isinstance(source, FileSource)]
    return replay(kept, ledger.last_instant, ledger.was_read, one_pass)
