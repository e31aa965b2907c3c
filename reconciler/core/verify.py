"""What a ledger must hold to, as rules with names, and the comparison of what it knows with its events.

Most rules are asked in SQL, over all rows at once (`ledger.verify`); here is what each of them means,
and the comparisons with the rebuilt state: of the known state, and of the cluster.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from msgspec import Struct

from reconciler.core.tenant import Lifecycle, Tenant
from reconciler.core.text import stamp

_exactly = partial(stamp, exact=True)


class Rule(Struct, frozen=True):
    """One thing that holds in every ledger that only passes have written."""

    name: str
    broken: str
    """What is wrong where it does not hold."""
    advice: str
    is_note: bool = False
    """Only told: what the portal wrote is kept as it is."""


_RESTORE: Final = "restore the rows from a backup as they were; what was billed by them is in doubt"
_REBUILD: Final = (
    "the events are the record: delete the row, and insert it anew from reconciler_derived_state()"
)
_RECORDS: Final = "restore the records of passes and decisions from a backup"
_KEEP: Final = "nothing to repair: the portal wrote it so, and it is kept"

RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        # A row of tenant_skill_events or tenant_suspension_events.
        Rule("row-incomplete", "a row lacks some of what explains it", _RESTORE),
        Rule("row-lifecycle", "a row is of no lifecycle", _RESTORE),
        Rule("row-pass", "a row names a pass that is not on record", _RESTORE),
        Rule("row-tenant", "a row's name or uid is not its lifecycle's", _RESTORE),
        Rule("row-kind", "a row is neither on nor off", _RESTORE),
        Rule("row-subject", "a skill's key is not of the skill", _RESTORE),
        Rule("row-instant", "a row was observed at another instant than its pass", _RESTORE),
        Rule("row-late", "a row without a pass was written when passes already were", _RESTORE),
        Rule("alternation", "a row's kind contradicts its ordinal: odd is on, even is off", _RESTORE),
        Rule("ordinal-gap", "a row before this one is missing", _RESTORE),
        Rule("ordinal-twice", "two rows have one place in their subject", _RESTORE),
        Rule("interval", "not_before <= occurred_at <= observed_at does not hold", _RESTORE),
        Rule("time-order", "a row occurred before the row before it", _RESTORE),
        Rule("write-order", "a row was written by no later pass than the row before it", _RESTORE),
        Rule("time-source", "a row's time_source does not go with its kind or its times", _RESTORE),
        Rule("before-creation", "a row lies before its lifecycle", _RESTORE),
        Rule("after-deletion", "a row lies after its lifecycle's end", _RESTORE),
        # A lifecycle.
        Rule("lifecycle-incomplete", "a lifecycle's begin or end is only partly explained", _RESTORE),
        Rule("lifecycle-pass", "a lifecycle names a pass that is not on record", _RESTORE),
        Rule("lifecycle-instant", "it begins or ends at another instant than its pass", _RESTORE),
        Rule("lifecycle-interval", "the times of its begin or its end are in no order", _RESTORE),
        Rule("lifecycle-order", "it ends before it begins", _RESTORE),
        Rule("lifecycle-source", "the source of its begin or its end is none of it", _RESTORE),
        Rule("lifecycle-successor", "it ended by a successor that is not there", _RESTORE),
        Rule("lifecycle-cluster", "its cluster is not that of the pass that showed it", _RESTORE),
        Rule("lifecycle-late", "it has no pass, and began when passes were written", _RESTORE),
        Rule("recognition", "it was recognised although its uid was known, or is not", _RESTORE),
        Rule("live-name-twice", "two live lifecycles have one name", _RESTORE),
        Rule("live-uid-twice", "two live lifecycles have one uid", _RESTORE),
        Rule("lifecycles-overlap", "two lifecycles of one uid overlap", _RESTORE),
        Rule("created-differs", "the cluster says another time of creation", _RESTORE),
        # The known state.
        Rule("state-missing", "a live lifecycle has no state", _REBUILD),
        Rule("state-of-none", "a state is of no live lifecycle", "delete the row of reconciler_state"),
        Rule("state-differs", "the state is not what the events say", _REBUILD),
        Rule("state-read", "the state was read after the last pass, or is held and was read", _REBUILD),
        # What operators decided, and the passes.
        Rule("rebinding", "a change of uid matches nothing", _RECORDS),
        Rule("reopening", "a withdrawn deletion matches nothing", _RECORDS),
        Rule("move", "a change of org matches nothing", _RECORDS),
        Rule("pass-counts", "a pass counted other rows than name it", _RESTORE),
        Rule("pass-order", "a pass is older than the pass before it", _RECORDS),
        Rule("pass-version", "a pass saw an older resourceVersion than one before it", _RECORDS),
        Rule("pass-cluster", "the cluster changed, and nobody adopted the new one", _RECORDS),
        # With --deep.
        Rule("digest-rows", "what a pass wrote was altered, added to or taken from", _RESTORE),
        Rule("digest-chain", "a digest does not follow from the one before it", _RESTORE),
        Rule("digest-missing", "a pass has no digest, and passes before it have", _RESTORE),
        # What the portal wrote.
        Rule("portal-contradiction", "the portal's rows of a subject do not alternate", _KEEP, True),
        Rule("portal-outside", "a row of the portal is outside its lifecycle, or of none", _KEEP, True),
    )
}
"""By name. The README has the same table."""


class RowName(Struct, frozen=True):
    """One row of a table."""

    table: str
    id: int


class Finding(Struct, frozen=True, kw_only=True, rename="camel"):
    """One rule that does not hold, for one tenant or pass."""

    rule: str
    tenant_name: str | None
    tenant_uid: str | None
    rows: Sequence[RowName]
    told: str
    """The values that contradict one another, for people."""

    @property
    def of(self) -> Rule:
        """The rule."""
        return RULES[self.rule]


class Rebuilt(Struct, frozen=True, kw_only=True, gc=False):
    """A live lifecycle as its events alone tell it, and as the known state has it."""

    lifecycle: Lifecycle
    known: Lifecycle | None
    """None where reconciler_state has no row of it."""
    seen_at: datetime | None
    """The snapshot that first showed this uid; None where it began otherwise, or was rebound."""
    is_adopted: bool = False


class Checked(Struct, frozen=True, rename="camel"):
    """How many rows were looked at."""

    lifecycles: int
    skill_events: int
    suspension_events: int
    passes: int


class Digests(Struct, frozen=True, rename="camel"):
    """The passes that have a digest, and the last one: kept elsewhere, it tells whether it holds."""

    passes: int
    passes_without: int
    last_pass: int | None
    last_digest: str | None


def compare_state(rebuilt: Rebuilt, last_instant: datetime | None) -> Iterator[Finding]:
    """The known state of one lifecycle against its events; `last_instant` is that of the last pass."""
    told, known = rebuilt.lifecycle, rebuilt.known
    if known is None:
        yield _of(told, "state-missing", "tenant_billing_lifecycle", "reconciler_state has no row of it")
        return
    differences = []
    if known.skills != told.skills:
        differences.append(f"skills {_listed(known.skills)}, by the events {_listed(told.skills)}")
    if known.suspended != told.suspended:
        differences.append(f"suspended {_yes(known.suspended)}, by the events {_yes(told.suspended)}")
    # What the portal dated ahead of its time counted as of the time of the adoption.
    changed = known.changed_at != told.changed_at
    if changed and not (rebuilt.is_adopted and known.changed_at <= told.changed_at):
        differences.append(
            f"changed_at {_exactly(known.changed_at)}, by the events {_exactly(told.changed_at)}"
        )
    if differences:
        yield _of(told, "state-differs", "reconciler_state", "; ".join(differences))
    if known.held and known.read_at is None:
        yield _of(told, "state-read", "reconciler_state", "held, and not known since when")
    elif known.read_at and last_instant and known.read_at > last_instant:
        last = _exactly(last_instant)
        yield _of(
            told, "state-read", "reconciler_state", f"read {_exactly(known.read_at)}, last pass {last}"
        )


def compare_creation(rebuilt: Rebuilt, tenant: Tenant) -> Iterator[Finding]:
    """The begin of a lifecycle against what the cluster says of it now; no pass would write that."""
    told = rebuilt.lifecycle
    if rebuilt.seen_at is None or told.uid != tenant.uid:
        return
    if told.created_at != min(tenant.created_at, rebuilt.seen_at):
        said = f"created {_exactly(told.created_at)}, by the cluster {_exactly(tenant.created_at)}"
        yield _of(told, "created-differs", "tenant_billing_lifecycle", said)


def _of(lifecycle: Lifecycle, rule: str, table: str, told: str) -> Finding:
    rows = [RowName(table, lifecycle.id)] if lifecycle.id is not None else []
    return Finding(rule=rule, tenant_name=lifecycle.name, tenant_uid=lifecycle.uid, rows=rows, told=told)


def _listed(skills: Sequence[str]) -> str:
    return ", ".join(skills) or "none"


def _yes(value: bool) -> str:  # noqa: FBT001 - it is what is told
    return "yes" if value else "no"
