"""`reconciler verify`: checks the ledger, its known state, and both against the cluster."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_bytes, print_lines
from reconciler.commands.values import given_time
from reconciler.core.installation import Gap
from reconciler.core.position import Position, position
from reconciler.core.tenant import Snapshot
from reconciler.core.verify import Checked, Finding
from reconciler.errors import ExitStatus, OutdatedSnapshot, Refused, SnapshotError, UsageError
from reconciler.ledger import checks, schema, state_reader
from reconciler.ledger.comparison import Comparison
from reconciler.modes.catch_up import Alone
from reconciler.output.findings import Verdict, json_findings, text_findings
from reconciler.passes import gathered
from reconciler.sources.cluster import ClusterSource
from reconciler.sources.files import FileSource

NOTHING_CHECKED: Final = Checked(lifecycles=0, skill_events=0, suspension_events=0, passes=0)

log = logging.getLogger(__name__)


def verify(
    parts: Parts,
    *,
    output: str,
    snapshot: str | None = None,
    observed_at: str | None = None,
    ledger_only: bool = False,
    deep: bool = False,
    invoices: bool = False,
) -> int:
    """Prints what does not hold, and what the next pass would write. Raises ReconcilerError."""
    database = parts.database
    source = _source(parts, snapshot, observed_at, ledger_only=ledger_only)

    def compare(snapshot: Snapshot | None) -> int:
        with database.transaction(read_only=True) as transaction:
            missing = schema.missing(transaction)
            if any(gap.is_read for gap in missing):
                parts.progress("")
                verdict = Verdict(checked=NOTHING_CHECKED, planned=None, digests=None)
                return _tell(_of_schema(missing), verdict, output)
            schema.check_current(transaction, database)
            compared = Comparison(transaction, snapshot, parts.limits())
            parts.progress("")
            findings = chain(
                _of_schema(missing),
                compared.findings(deep=deep, progress=parts.progress),
                checks.invoices(transaction) if invoices else (),
            )
            verdict = Verdict(
                checked=checks.checked(transaction),
                planned=compared.planned,
                digests=checks.digests(transaction) if deep else None,
            )
            return _tell(_cleared(findings, parts.progress), verdict, output)

    def last_position() -> Position:
        with database.transaction(read_only=True) as transaction:
            schema.check_current(transaction, database)
            return position(state_reader.last_pass(transaction))

    try:
        if source is None:
            return compare(None)
        if isinstance(source, ClusterSource):
            return gathered(Alone(source, last_position, frozenset), compare)
        return gathered(source, compare)
    except (OutdatedSnapshot, Refused) as error:
        raise SnapshotError(f"the ledger cannot be compared: {error}") from error


def _cleared(findings: Iterable[Finding], progress: Callable[[str], object]) -> Iterator[Finding]:
    """The findings, each once the line that tells how far it is was cleared."""
    for finding in findings:
        progress("")
        yield finding
    progress("")


def _of_schema(missing: Sequence[Gap]) -> Iterator[Finding]:
    for gap in missing:
        yield Finding(
            rule="schema-incomplete", tenant_name=None, tenant_uid=None, rows=[], told=gap.told
        )


def _tell(findings: Iterator[Finding], verdict: Verdict, output: str) -> int:
    if output == "json":
        print_bytes(json_findings(findings, verdict))
    else:
        print_lines(text_findings(findings, verdict))
    return ExitStatus.FOUND if verdict.found else ExitStatus.DONE


def _source(
    parts: Parts,
    snapshot: str | None,
    observed_at: str | None,
    *,
    ledger_only: bool,
) -> ClusterSource | FileSource | None:
    if ledger_only and snapshot is not None:
        raise UsageError("--ledger-only compares with no cluster and no --snapshot; give one of them")
    if observed_at is not None and snapshot is None:
        raise UsageError("--observed-at dates a --snapshot; a cluster is listed now")
    if ledger_only:
        return None
    if snapshot is None:
        return parts.cluster()
    sources = parts.files([snapshot], given_time(parts, "--observed-at", observed_at), frozenset)
    if len(sources) != 1:
        raise UsageError(f"--snapshot {snapshot}: verify compares with one file, not with several")
    return sources[0]
