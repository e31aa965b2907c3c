"""The rules of a ledger, and the comparison of its state with its events and with the cluster.

SQL checks most of the rules, over all rows at once (`ledger.checks`). Here is what each rule means.
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
    """Something that is true of every ledger that only passes have written."""

    name: str
    broken: str
    """What is wrong if the rule is broken."""
    advice: str
    is_note: bool = False
    """It is reported but is not a finding, because the portal's rows are kept as they are."""


_RESTORE: Final = "restore the rows from a backup; bills that include them are in doubt"
_RUN_AGAIN: Final = "run a pass: it writes the row again"
_REBUILD: Final = "delete the row and insert it again from reconciler_derived_state()"
_RECORDS: Final = "restore the records of passes and of operators' decisions from a backup"
_KEEP: Final = "nothing to do: the portal wrote the row before the first pass"

RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        # A row of tenant_skill_events or tenant_suspension_events.
        Rule("row-incomplete", "a row lacks some of the columns that explain it", _RESTORE),
        Rule("row-lifecycle", "a row names a lifecycle that does not exist", _RESTORE),
        Rule("row-pass", "a row names a pass that does not exist", _RESTORE),
        Rule("row-tenant", "the name or the uid of a row is not that of its lifecycle", _RESTORE),
        Rule("row-kind", "the event_kind of a row is unknown", _RESTORE),
        Rule("row-subject", "the skill_key of a row is not that of its skill", _RESTORE),
        Rule("row-instant", "the observed_at of a row is not that of its pass", _RESTORE),
        Rule("row-late", "a row without a pass was written after the first pass", _RESTORE),
        Rule(
            "alternation", "a row has the wrong ordinal for its kind: odd is on, even is off", _RESTORE
        ),
        Rule("ordinal-gap", "the row before this one is missing", _RESTORE),
        Rule("ordinal-twice", "two rows of a subject have the same ordinal", _RESTORE),
        Rule("interval", "not_before <= occurred_at <= observed_at is not true of a row", _RESTORE),
        Rule("time-order", "a row has an earlier occurred_at than the row before it", _RESTORE),
        Rule("write-order", "a row was not written by a later pass than the row before it", _RESTORE),
        Rule("time-source", "the time_source of a row does not fit its kind or its times", _RESTORE),
        Rule("before-creation", "a row is earlier than the beginning of its lifecycle", _RESTORE),
        Rule("after-deletion", "a row is later than the end of its lifecycle", _RESTORE),
        # A lifecycle.
        Rule("lifecycle-incomplete", "its beginning or its end is only partly explained", _RESTORE),
        Rule("lifecycle-pass", "a lifecycle names a pass that does not exist", _RESTORE),
        Rule(
            "lifecycle-instant", "its beginning or end has another observed_at than its pass", _RESTORE
        ),
        Rule("lifecycle-interval", "the times of its beginning or its end are out of order", _RESTORE),
        Rule("lifecycle-order", "it ends before it begins", _RESTORE),
        Rule("lifecycle-source", "the time source of its beginning or its end does not fit", _RESTORE),
        Rule("lifecycle-successor", "it was ended by a successor that does not exist", _RESTORE),
        Rule("lifecycle-cluster", "its cluster is not that of the pass that recorded it", _RESTORE),
        Rule("lifecycle-late", "a lifecycle without a pass began after the first pass", _RESTORE),
        Rule("recognition", "a pass recorded its uid, but it has none or had one already", _RESTORE),
        Rule("live-name-twice", "two live lifecycles have the same name", _RESTORE),
        Rule("live-uid-twice", "two live lifecycles have the same uid", _RESTORE),
        Rule("lifecycles-overlap", "two lifecycles with the same uid overlap", _RESTORE),
        Rule("created-differs", "its creation differs from that in the cluster", _RESTORE),
        # The known state.
        Rule("state-missing", "a live lifecycle has no row in reconciler_state", _RUN_AGAIN),
        Rule(
            "state-of-none",
            "a row of reconciler_state has no live lifecycle",
            "delete the row of reconciler_state",
        ),
        Rule("state-differs", "reconciler_state differs from what the events say", _REBUILD),
        Rule(
            "state-read",
            "read_at is after the last pass, missing though held, or set although the tenant was read",
            _REBUILD,
        ),
        Rule(
            "fingerprint",
            "passes do not read a tenant, although it differs from the ledger",
            "run once with --read-all",
        ),
        # What operators decided, and the passes.
        Rule("rebinding", "a recorded change of uid does not match its lifecycle", _RECORDS),
        Rule("reopening", "a recorded withdrawal of a deletion does not match its lifecycle", _RECORDS),
        Rule("move", "a recorded change of org does not match its lifecycles", _RECORDS),
        Rule("override", "a recorded decision of an operator is not what its pass did", _RECORDS),
        Rule(
            "override-missing",
            "it is not on record who decided a move, a rebinding or a reopening",
            _RECORDS,
        ),
        Rule("pass-counts", "the counts of a pass differ from the rows that name it", _RESTORE),
        Rule("pass-order", "a pass has an earlier observed_at than the pass before it", _RECORDS),
        Rule("pass-version", "a pass saw a lower resourceVersion than a pass before it", _RECORDS),
        Rule("pass-cluster", "the cluster changed without --adopt-cluster", _RECORDS),
        # The schema.
        Rule(
            "schema-incomplete",
            "a table, column, index, constraint, trigger or function of the schema is missing",
            "`reconciler schema apply` makes it again; the rows of a table come from a backup only",
        ),
        # With --deep.
        Rule("digest-rows", "rows of a pass were altered, added or removed", _RESTORE),
        Rule("digest-chain", "a digest does not follow from the one before it", _RESTORE),
        Rule("digest-missing", "a pass has no digest, but passes before it have one", _RESTORE),
        Rule(
            "adoption",
            "rows without a pass are not those that were adopted",
            "where a hook of the portal wrote them, `reconciler schema apply` adopts them; otherwise "
            "restore the rows from a backup",
        ),
        # With --invoices.
        Rule(
            "invoice-line",
            "a line of an issued invoice differs from the ledger at the invoice's own position",
            "if the invoice is wrong, credit it and issue another one",
        ),
        Rule(
            "invoice-voided",
            "an issued invoice was computed at a position that was voided",
            "if the invoice is wrong, credit it and issue another one",
        ),
        Rule(
            "invoice-position",
            "an issued invoice does not say at which position it was computed",
            "nothing to do: its lines cannot be computed again",
            True,
        ),
        # What the portal wrote.
        Rule("portal-contradiction", "the portal's rows of a subject do not alternate", _KEEP, True),
        Rule("portal-outside", "a row of the portal is outside its lifecycle, or has none", _KEEP, True),
    )
}
"""By name. schema/README.md has the same table."""


class RowName(Struct, frozen=True):
    """One row of a table."""

    table: str
    id: int


class Finding(Struct, frozen=True, kw_only=True, rename="camel"):
    """One broken rule, for one tenant or pass."""

    rule: str
    tenant_name: str | None
    tenant_uid: str | None
    rows: Sequence[RowName]
    told: str
    """The values that contradict each other, for people."""

    @property
    def of(self) -> Rule:
        """The rule."""
        return RULES[self.rule]


class Rebuilt(Struct, frozen=True, kw_only=True, gc=False):
    """A live lifecycle, rebuilt from its events alone, and the same according to the known state."""

    lifecycle: Lifecycle
    known: Lifecycle | None
    """None if reconciler_state has no row for it."""
    seen_at: datetime | None
    """The snapshot that first showed this uid; None if rebound, or not begun by a creation."""
    is_adopted: bool = False


class Checked(Struct, frozen=True, rename="camel"):
    """How many rows were checked."""

    lifecycles: int
    skill_events: int
    suspension_events: int
    passes: int


class Digests(Struct, frozen=True, rename="camel"):
    """How many passes have a digest, and the last digest, to be stored outside the database."""

    passes: int
    passes_without: int
    last_pass: int | None
    last_digest: str | None


def compare_state(rebuilt: Rebuilt, last_instant: datetime | None) -> Iterator[Finding]:
    """Compares the known state of a lifecycle with its events. `last_instant` is of the last pass."""
    told, known = rebuilt.lifecycle, rebuilt.known
    if known is None:
        yield _of(told, "state-missing", "tenant_billing_lifecycle", "it has no row in reconciler_state")
        return
    differences = []
    if known.skills != told.skills:
        differences.append(f"skills {_listed(known.skills)}; the events say {_listed(told.skills)}")
    if known.suspended != told.suspended:
        differences.append(f"suspended {_yes(known.suspended)}; the events say {_yes(told.suspended)}")
    # Portal rows dated in the future were clamped to the time of adoption.
    changed = known.changed_at != told.changed_at
    if changed and not (rebuilt.is_adopted and known.changed_at <= told.changed_at):
        differences.append(
            f"changed_at {_exactly(known.changed_at)}; the events say {_exactly(told.changed_at)}"
        )
    if differences:
        yield _of(told, "state-differs", "reconciler_state", "; ".join(differences))
    if known.held and known.read_at is None:
        yield _of(told, "state-read", "reconciler_state", "held, but read_at is missing")
    elif known.read_at and last_instant and known.read_at > last_instant:
        last = _exactly(last_instant)
        yield _of(
            told,
            "state-read",
            "reconciler_state",
            f"read_at {_exactly(known.read_at)}; last pass {last}",
        )


def compare_creation(rebuilt: Rebuilt, tenant: Tenant) -> Iterator[Finding]:
    """Compares the beginning of a lifecycle with the cluster, which a pass does not do."""
    told = rebuilt.lifecycle
    if rebuilt.seen_at is None or told.uid != tenant.uid:
        return
    if told.created_at != min(tenant.created_at, rebuilt.seen_at):
        said = f"created {_exactly(told.created_at)}; the cluster says {_exactly(tenant.created_at)}"
        yield _of(told, "created-differs", "tenant_billing_lifecycle", said)


def compare_fingerprint(rebuilt: Rebuilt, tenant: Tenant) -> Iterator[Finding]:
    """Whether passes are right not to read a tenant because it has the fingerprint on record."""
    told, known = rebuilt.lifecycle, rebuilt.known
    if known is None or known.fingerprint is None or known.fingerprint != tenant.fingerprint:
        return
    its = (tenant.name, tenant.org, tenant.skills, tenant.suspended, tenant.deleted_at)
    if its != (told.name, told.org, told.skills, told.suspended, None):
        said = (
            f"the fingerprint on record, {known.fingerprint.hex()}, is that of the tenant in the cluster"
        )
        yield _of(told, "fingerprint", "reconciler_state", said)


def _of(lifecycle: Lifecycle, rule: str, table: str, told: str) -> Finding:
    rows = [RowName(table, lifecycle.id)] if lifecycle.id is not None else []
    return Finding(rule=rule, tenant_name=lifecycle.name, tenant_uid=lifecycle.uid, rows=rows, told=told)


def _listed(skills: Sequence[str]) -> str:
    return ", ".join(skills) or "none"


def _yes(value: bool) -> str:  # noqa: FBT001 - it is what is told
    return "yes" if value else "no"
