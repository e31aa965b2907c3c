"""The table of transitions, and the conditions that say which transition a tenant is in.

This module decides what happens to a tenant. `plan` makes the rows of a case, `guard` may hold them
back, and the ledger and the output look up in the table what a case does.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

from msgspec import Struct

from reconciler.core.tenant import KnownState, Lifecycle, Newer, Snapshot, Tenant


class Record(StrEnum):
    """A decision of an operator about a lifecycle, which the ledger records."""

    REBINDING = "rebound"
    REOPENING = "reopened"
    MOVE = "moved to another org"


UNKNOWN: Final = "unknown"
"""Who decided, if nobody is named."""


class Overrides(Struct, frozen=True, kw_only=True):
    """What an operator allows one pass to do."""

    rebind: bool = False
    """A lifecycle may continue under another uid that has its name."""
    reopen: frozenset[str] = frozenset()
    """Names of tenants whose deletion is withdrawn."""
    move: frozenset[str] = frozenset()
    """Names of tenants whose changed org is accepted."""
    effective: datetime | None = None
    """When they moved, if the operator knows better than the evidence."""
    by: str = UNKNOWN
    """Who decides, for the record."""
    because: str | None = None
    """Why."""


NONE: Final = Overrides()


class Case(StrEnum):
    """A row of the table of transitions."""

    BEGINS = "begins"
    BEGINS_DELETED = "begins-deleted"
    UNCHANGED = "unchanged"
    CONTINUES = "continues"
    ENDS = "ends"
    VANISHED = "vanished"
    SUCCEEDED = "succeeded"
    ALREADY_GONE = "already-gone"
    BACK_ALIVE = "back-alive"
    RECOGNISED = "recognised"
    REBOUND = "rebound"
    REBOUND_ELSEWHERE = "rebound-elsewhere"
    REOPENED = "reopened"
    REOPENED_ELSEWHERE = "reopened-elsewhere"
    MOVED_OUT = "moved-out"
    MOVED_IN = "moved-in"
    ORG_CHANGED = "org-changed"
    NAME_CHANGED = "name-changed"
    NAME_TAKEN = "name-taken"
    UNREADABLE = "unreadable"
    OUT_OF_SCOPE = "out-of-scope"
    OVERTAKEN = "overtaken"
    HELD = "held"
    SPARED = "spared"

    # Enum has a hash in Python, which is slow: a backfill looks a million of them up.
    __hash__ = str.__hash__

    @cached_property
    def begins(self) -> bool:
        """Whether a lifecycle begins."""
        return TRANSITIONS[self].begins

    @cached_property
    def ends(self) -> bool:
        """Whether a lifecycle ends."""
        return TRANSITIONS[self].ends

    @cached_property
    def is_weak(self) -> bool:
        """Whether a lifecycle ends only because the tenant is absent."""
        return TRANSITIONS[self].is_weak

    @cached_property
    def record(self) -> Record | None:
        """What is recorded, if an operator decided it."""
        return TRANSITIONS[self].record


class Transition(Struct, frozen=True):
    """What is known of a tenant, what the snapshot shows of it, and what the pass does."""

    known: str
    snapshot: str
    does: str
    begins: bool = False
    ends: bool = False
    is_weak: bool = False
    record: Record | None = None


TRANSITIONS: Final[Mapping[Case, Transition]] = {
    Case.BEGINS: Transition(
        "absent", "live", "`created`; `enabled` for each skill; `suspended` if it is", begins=True
    ),
    Case.BEGINS_DELETED: Transition(
        "absent", "deletion committed", "as `begins`, then `deleted`", begins=True, ends=True
    ),
    Case.UNCHANGED: Transition(
        "live", "live, and nothing differs", "nothing; a list renews the fingerprint, if that differs"
    ),
    Case.CONTINUES: Transition(
        "live",
        "live, and something differs, or it was frozen until now",
        "`enabled` or `disabled` for each skill that differs; `suspended` or `resumed` if that differs",
    ),
    Case.ENDS: Transition("live", "deletion committed", "`deleted`, and nothing else", ends=True),
    Case.VANISHED: Transition("live", "absent", "`deleted`, a weak deletion", ends=True, is_weak=True),
    Case.SUCCEEDED: Transition(
        "live",
        "absent, and another uid has its name",
        "`deleted`, a weak deletion; then the other tenant begins",
        ends=True,
        is_weak=True,
    ),
    Case.ALREADY_GONE: Transition("gone", "deletion committed", "nothing"),
    Case.BACK_ALIVE: Transition("gone", "live", "quarantined until `--reopen`"),
    Case.RECOGNISED: Transition(
        "live, and written by the portal without a uid",
        "live, under that name",
        "the uid is recorded, then as `continues`",
    ),
    Case.REBOUND: Transition(
        "live",
        "absent, another uid has its name, and `--rebind` is given",
        "the lifecycle goes on under the other uid, then as `continues`",
        record=Record.REBINDING,
    ),
    Case.REBOUND_ELSEWHERE: Transition(
        "live",
        "as `rebound`, but under another org",
        "the lifecycle goes on under the other uid; quarantined until `org move`",
        record=Record.REBINDING,
    ),
    Case.REOPENED: Transition(
        "gone",
        "live, and `--reopen` is given",
        "the deletion is withdrawn, then as `continues`",
        record=Record.REOPENING,
    ),
    Case.REOPENED_ELSEWHERE: Transition(
        "gone",
        "as `reopened`, but under another org",
        "the deletion is withdrawn; quarantined until `org move`",
        record=Record.REOPENING,
    ),
    Case.MOVED_OUT: Transition(
        "live",
        "live under another org, and `org move` is given",
        "what changed before the move, as in `continues`; then `deleted`",
        ends=True,
    ),
    Case.MOVED_IN: Transition(
        "live",
        "as `moved-out`",
        "as `begins`, under the new org and at the instant of that `deleted`; then what changed after "
        "it, as in `continues`",
        begins=True,
        record=Record.MOVE,
    ),
    Case.ORG_CHANGED: Transition(
        "live", "live or deletion committed, under another org", "quarantined until `org move`"
    ),
    Case.NAME_CHANGED: Transition("live", "its uid, under another name", "quarantined"),
    Case.NAME_TAKEN: Transition(
        "absent", "its name is that of a live lifecycle that has not ended", "quarantined"
    ),
    Case.UNREADABLE: Transition("live", "unreadable", "quarantined"),
    Case.OUT_OF_SCOPE: Transition("live", "absent, and outside the scope", "nothing"),
    Case.OVERTAKEN: Transition(
        "live, gone or absent",
        "anything, in a list that is older than its last watched change",
        "nothing",
    ),
    Case.HELD: Transition("live", "as `vanished` or `succeeded`, and the brake is on", "nothing"),
    Case.SPARED: Transition(
        "live",
        "gone, and some resource has no readable uid and no readable name",
        "nothing: it may be that resource",
    ),
}
"""A test compares them with schema/README.md."""


class Found(Struct, frozen=True, gc=False):
    """A tenant, a known lifecycle or both, and their case."""

    case: Case
    tenant: Tenant | None
    """If the lifecycle was succeeded: its successor."""
    lifecycle: Lifecycle | None


class Seen(Struct, frozen=True):
    """What the case of one tenant depends on, besides the tenant."""

    known: KnownState
    overrides: Overrides
    names: Mapping[str, Lifecycle]
    """The live lifecycles, by name."""
    present: AbstractSet[str]
    """The uids of the tenants in the snapshot."""
    unreadable: AbstractSet[str]
    """The names of the lifecycles whose resource cannot be read."""
    newer: Newer = Newer()
    """The tenants of which newer changes are written."""

    def is_absent(self, lifecycle: Lifecycle) -> bool:
        return lifecycle.uid not in self.present and lifecycle.name not in self.unreadable


def cases(snapshot: Snapshot, known: KnownState, overrides: Overrides) -> Sequence[Found]:
    """All cases except `overtaken`, and `unchanged` only where a list shows another fingerprint.

    Ending lifecycles come before tenants.
    """
    live = known.lifecycles
    seen = Seen(
        known,
        overrides,
        {lifecycle.name: lifecycle for lifecycle in live},
        {tenant.uid for tenant in snapshot.tenants},
        _unreadable(snapshot, known),
        known.newer or Newer(),
    )
    tenants: list[Found] = []
    lifecycles: list[Found] = []
    for tenant in snapshot.tenants:
        case, ours = case_of(tenant, seen)
        if case is Case.OVERTAKEN:
            continue
        if case is Case.UNCHANGED and not (snapshot.scope is None and _reads_anew(tenant, ours)):
            continue
        tenants.append(Found(case, tenant, ours))
        if case.begins and ours is not None:
            ending = Case.MOVED_OUT if case is Case.MOVED_IN else Case.SUCCEEDED
            lifecycles.append(Found(ending, tenant, ours))
    missing = [lifecycle for lifecycle in live if lifecycle.uid not in seen.present]
    told = {found.lifecycle for found in tenants} if missing else set[Lifecycle | None]()
    lifecycles += [
        Found(case_without_tenant(lifecycle, snapshot, seen), None, lifecycle)
        for lifecycle in missing
        if lifecycle not in told
    ]
    return [*lifecycles, *tenants]


def case_of(tenant: Tenant, seen: Seen) -> tuple[Case, Lifecycle | None]:
    """The case of a tenant in the snapshot, and the lifecycle that it is about."""
    # A newer change of this tenant is already written, so an older list is ignored for it.
    if tenant in seen.newer:
        return Case.OVERTAKEN, None
    # The uid is the identity, whatever else changed.
    ours = seen.known.live.get(tenant.uid)
    if ours is not None:
        return _case_of_live(tenant, ours, seen.overrides), ours
    is_alive = tenant.deleted_at is None
    ended, namesake = seen.known.gone.get(tenant.uid), seen.names.get(tenant.name)
    if ended is not None and not ended.moved_on:
        # A finalizer can keep a deleted tenant in the cluster for a while.
        if not is_alive:
            return Case.ALREADY_GONE, ended
        # Only an operator withdraws a deletion, and only while no other lifecycle has the name.
        is_reopened = tenant.name in seen.overrides.reopen and tenant.name == ended.name
        if not is_reopened or namesake is not None:
            return Case.BACK_ALIVE, ended
        return Case.REOPENED if tenant.org == ended.org else Case.REOPENED_ELSEWHERE, ended
    # The portal did not record uids: its lifecycle is recognised by the name.
    if namesake is not None and namesake.uid is None:
        return _case_of_live(tenant, namesake, seen.overrides), namesake
    # A cluster that was restored from a backup has the same tenants under new uids.
    if namesake is not None and seen.overrides.rebind and is_alive and seen.is_absent(namesake):
        return Case.REBOUND if tenant.org == namesake.org else Case.REBOUND_ELSEWHERE, namesake
    # It was moved to another org, and the lifecycle there was rebound to another uid later.
    if ended is not None:
        return Case.BACK_ALIVE if is_alive else Case.ALREADY_GONE, ended
    # Two live lifecycles cannot have the same name, and the other one is not known to have ended.
    if namesake is not None and not seen.is_absent(namesake):
        return Case.NAME_TAKEN, None
    return Case.BEGINS if is_alive else Case.BEGINS_DELETED, namesake


def _case_of_live(tenant: Tenant, ours: Lifecycle, overrides: Overrides) -> Case:
    # Kubernetes never changes the name of an object, so something is wrong.
    if tenant.name != ours.name:
        return Case.NAME_CHANGED
    # Another org pays only if an operator says so; otherwise one tenant could be billed twice.
    is_elsewhere = tenant.org != ours.org
    if is_elsewhere and tenant.name not in overrides.move:
        return Case.ORG_CHANGED
    # After a committed deletion nothing else counts.
    if tenant.deleted_at is not None:
        return Case.ENDS
    if is_elsewhere:
        return Case.MOVED_IN
    if ours.uid is None:
        return Case.RECOGNISED
    # If the lifecycle was frozen, it no longer is, even if nothing differs.
    is_same = tenant.skills == ours.skills and tenant.suspended == ours.suspended
    return Case.UNCHANGED if is_same and ours.read_at is None else Case.CONTINUES


def _reads_anew(tenant: Tenant, ours: Lifecycle | None) -> bool:
    """Whether the same facts have another fingerprint than when they were read last."""
    return ours is not None and tenant.fingerprint not in (None, ours.fingerprint)


def case_without_tenant(lifecycle: Lifecycle, snapshot: Snapshot, seen: Seen) -> Case:
    """The case of a live lifecycle that has no readable tenant in the snapshot."""
    # A newer change of this tenant is already written, so an older list is ignored for it.
    if lifecycle in seen.newer:
        return Case.OVERTAKEN
    # Its resource exists, but it cannot be read.
    if lifecycle.name in seen.unreadable:
        return Case.UNREADABLE
    # A watched change shows one tenant, and says nothing about the others.
    if snapshot.scope is not None and lifecycle.uid not in snapshot.scope:
        return Case.OUT_OF_SCOPE
    return Case.VANISHED


def _unreadable(snapshot: Snapshot, known: KnownState) -> AbstractSet[str]:
    """The lifecycles of unreadable resources: by uid, or by name if the uid is not known."""
    names = set[str]()
    for one in snapshot.unreadable:
        if (live := known.live.get(one.uid or "")) is not None:
            names.add(live.name)
        if one.name is not None and (one.uid is None or one.name in known.adopted):
            names.add(one.name)
    return names
