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
    settings = parts.settings
    if settings.list_every and not settings.catch_up:
        raise UsageError("--list-every is for passes that catch up; do not give --no-catch-up as well")
    if detailed_exitcode and not dry_run:
        raise UsageError("--detailed-exitcode is about the plan of a dry run; give --dry-run as well")
    database = parts.database
    is_replay = len(snapshot) > 0
    ledger = DryRunLedger(database) if dry_run else PostgresLedger(database, remembers=is_replay)
    known = parts.known(ledger)
    sources = _sources(parts, snapshot, observed_at, known)
    if len(sources) > 1 and (reopen or move):
        decision = "--reopen" if reopen else "org move"
        raise UsageError(f"{decision} decides about one snapshot, not about several")
    limits = parts.limits(allow_deletions=allow_deletions, adopt_cluster=adopt_cluster)
    overrides = Overrides(
        rebind=rebind,
        reopen=frozenset(reopen),
        move=frozenset(move),
        effective=given_time(parts, "--effective", effective),
        by=decided_by(by),
        because=because,
    )
    ledger.prepare()
    results = _Results(parts, output, dry_run=dry_run)

    def one_pass(source: Source) -> Pass:
        if len(sources) > 1:
            parts.progress(f"snapshot {sources.index(source) + 1} of {len(sources)}")
            # The archive is still there: what a power cut takes is replayed.
            ledger.waits_for_disk = source is sources[-1]
        return run_pass(source, ledger, limits, overrides)

    if isinstance(sources[0], FileSource):
        for done in _replayed(sources, ledger, one_pass):
            results.report(done)
    elif settings.catch_up:
        # What an operator allowed or decided is for the list, which shows all of it.
        write = writing(ledger, parts.limits(), results.watched)
        is_due = rebind or reopen or move or adopt_cluster or allow_deletions is not None
        with closing(Follower(sources[0], write, settle=settings.settle)) as follower:
            caught_up = CaughtUp(
                sources[0],
                follower,
                ledger.position,
                turn=within(settings.catch_up_timeout),
                known=known,
                list_every=0 if is_due or settings.read_all else settings.list_every,
            )
            try:
                results.report(one_pass(caught_up))
            except Unfinished as problem:
                log.warning("%s", problem)
    else:
        results.report(one_pass(Alone(sources[0], ledger.position, known)))
    return results.status(detailed=detailed_exitcode)


class _Results:
    """Prints each pass, and knows the exit status of all of them."""

    def __init__(self, parts: Parts, output: str, *, dry_run: bool) -> None:
        self._parts = parts
        self._output = output
        self._dry_run = dry_run
        self._statuses: list[int] = []
        self._has_rows = False
        self._unprinted: NotPrinted | None = None

    def report(self, done: Pass) -> None:
        self._parts.progress("")
        if self._unprinted is None:
            try:
                print_pass(done, self._output, dry_run=self._dry_run)
            except NotPrinted as problem:
                # What remains is written all the same.
                self._unprinted = problem
        self._statuses.append(exit_status(done, self._parts.settings.quarantine_exit))
        self._has_rows = self._has_rows or any(change.rows for change in done.plan.changes)

    def watched(self, done: Pass) -> None:
        """Reports a watched change, if it changes something or cannot be written."""
        if done.plan.changes or done.plan.quarantined or done.plan.held:
            self.report(done)

    def status(self, *, detailed: bool) -> int:
        """Raises NotPrinted if something could not be printed. `detailed`: planned rows count."""
        if self._unprinted is not None:
            raise self._unprinted
        status = lowest(self._statuses)
        if detailed and self._has_rows and status == ExitStatus.DONE:
            return ExitStatus.CHANGES_PLANNED
        return status


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
