"""What stands between a plan and the ledger: when in doubt, nothing.

Each is a function from a plan to a plan. `fence` lets all of it through or refuses it; the others
leave something out.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.cases import Case
from reconciler.core.changes import Change, unread
from reconciler.core.plan import Plan
from reconciler.core.position import is_older, is_overtaken, went_back
from reconciler.core.tenant import RECENT, Clocks, KnownState, Snapshot, Unreadable
from reconciler.core.text import quoted, stamp
from reconciler.core.times import BEHIND_TOLERANCE, CLOCK_TOLERANCE, FUTURE_TOLERANCE
from reconciler.errors import OutdatedSnapshot, Refused, WentBack


class Limits(Struct, frozen=True, kw_only=True):
    """How much a pass may do without being asked again."""

    brake_floor: int = 5
    """So many weak deletions are always let through, unless they are more than half."""
    brake_percent: float = 10
    """Of the live tenants: the weak deletions that are let through."""
    allow_deletions: int | None = None
    """Given once, by an operator: up to so many weak deletions are let through."""
    hold_deletions: bool = False
    """The tenants' resource is going, and all tenants with it: no weak deletion is let through."""
    adopt_cluster: bool = False
    """Given once, by an operator: the snapshot's cluster continues the ledger's."""


def guard(plan: Plan, known: KnownState, limits: Limits) -> Plan:
    """The plan without what might be wrong. Raises Refused where all of it might be."""
    return brake(spare(fence(plan, known, limits), known), known, limits)


def fence(plan: Plan, known: KnownState, limits: Limits) -> Plan:
    """Refuses another cluster's snapshot, and one that is older than what the ledger knows.

    A list that only watched changes have overtaken is let through: it says nothing of their tenants.
    """
    snapshot, last, adopting = plan.snapshot, known.last_pass, limits.adopt_cluster
    ours, theirs = known.cluster_uid, snapshot.cluster_uid
    version, newest = snapshot.resource_version, known.cluster_version
    is_other = ours is not None and theirs is not None and ours != theirs
    is_back = went_back(snapshot, known)
    _check_clock(snapshot, known.clocks)
    if is_other and not adopting:
        raise Refused(
            f"the snapshot is of cluster {quoted(theirs or '')}, the ledger of {quoted(ours or '')}; "
            "nothing was written. If it continues the old one, run once with --adopt-cluster"
        )
    if known.setback is not None and not is_other and not adopting:
        raise Refused(
            f"on {stamp(known.setback.found_at)} the API server showed an older state than before "
            f"(resourceVersion {known.setback.version} after {known.setback.ledger_version}), as after "
            "a restore from a backup; nothing was written since. If that is so, run once with "
            "--adopt-cluster"
        )
    if is_back and not adopting:
        kind = WentBack if snapshot.after is not None else OutdatedSnapshot
        raise kind(
            f"the snapshot ({quoted(snapshot.source)}, resourceVersion {version}) is older than the "
            f"last pass (resourceVersion {newest}); nothing was written. If the cluster was restored "
            "from a backup, run once with --adopt-cluster"
        )
    if is_older(snapshot, known) and not is_back:
        if adopting:
            raise Refused(
                f"--adopt-cluster: the cluster was not restored: its list (resourceVersion {version}) "
                f"is only older than what another pass wrote since (resourceVersion {newest}); nothing "
                "was written. Run again without it"
            )
        if known.newer is None or not is_overtaken(snapshot, known):
            raise OutdatedSnapshot(
                f"the snapshot ({quoted(snapshot.source)}, resourceVersion {version}) is older than "
                f"what another pass wrote meanwhile (resourceVersion {newest}); nothing was written; "
                "try again"
            )
    if last and snapshot.observed_at < last.observed_at - CLOCK_TOLERANCE:
        raise OutdatedSnapshot(
            f"the snapshot ({quoted(snapshot.source)}, of {stamp(snapshot.observed_at)}) "
            f"is older than the last pass (of {stamp(last.observed_at)}); nothing was "
            "written. Archived snapshots go in before newer ones. If the clock of this machine or of "
            "the API server was set back, correct it; if the last pass has a wrong time, `reconciler "
            "void` withdraws it"
        )
    recent = max((one.changed_at for one in known.adopted.values()), default=None)
    if recent and snapshot.observed_at < recent:
        raise OutdatedSnapshot(
            f"the snapshot ({quoted(snapshot.source)}, of {stamp(snapshot.observed_at)}) "
            f"is older than what the portal wrote ({stamp(recent)}); nothing was written"
        )
    decides = is_other or is_back or known.setback is not None
    return replace(plan, adopts_cluster=adopting and decides)


def spare(plan: Plan, known: KnownState) -> Plan:
    """Deletes nothing where some resource tells neither its uid nor its name: it may be anyone."""
    if all(one.uid is not None or one.name is not None for one in plan.snapshot.unreadable):
        return plan
    # A moved tenant was seen under its new org: its end is no absence.
    return _without(plan, known, lambda case: case.ends and case is not Case.MOVED_OUT, Case.SPARED)


def brake(plan: Plan, known: KnownState, limits: Limits) -> Plan:
    """Holds all weak deletions where they are too many to be an ordinary day.

    That many vanish at once when a CRD is on its way out (its list is 200 and empty), when a
    `kubectl get` failed half-way (its List is well-formed), or when the wrong cluster answers.
    """
    weak = [change for change in plan.changes if change.case.is_weak]
    # Those that are watched come one by one: they count together, over an hour, written or held.
    since = plan.snapshot.observed_at - RECENT
    watched = sum(instant > since for instant in known.watched_deletions)
    is_watched = plan.snapshot.scope is not None
    held = sum(instant > since for instant in known.held_deletions) if is_watched else 0
    live = len(known.lifecycles) if known.population is None else known.population
    before = live + watched
    vanished = max(len(weak), known.vanishing) + watched + held
    usual = max(limits.brake_floor, before * limits.brake_percent / 100)
    too_many = vanished > usual or (before > 1 and vanished > before / 2)
    # Once on, the brake stays on until an operator decides, or the tenants are back.
    is_on = any(change.lifecycle.held for change in weak)
    is_empty = plan.snapshot.scope is None and plan.snapshot.size == 0
    if not weak or not (too_many or is_on or is_empty or limits.hold_deletions):
        return plan
    if limits.allow_deletions is not None and len(weak) <= limits.allow_deletions:
        return replace(plan, allows_deletions=True)
    rest = _without(plan, known, lambda case: case.is_weak, Case.HELD)
    return replace(rest, held=tuple(change.lifecycle for change in weak))


def quarantine(plan: Plan, known: KnownState, reasons: Mapping[str, str]) -> Plan:
    """Leaves out the tenants of these names, whose rows the ledger cannot hold, and says why."""
    uids = {change.lifecycle.name: change.lifecycle.uid for change in plan.changes}
    unreadable = [
        Unreadable(uid=uids.get(name), name=name, reason=reason) for name, reason in reasons.items()
    ]
    rest = _without_names(plan, known, reasons.keys(), Case.UNREADABLE)
    return replace(rest, quarantined=(*plan.quarantined, *unreadable))


def _without(plan: Plan, known: KnownState, is_withheld: Callable[[Case], bool], instead: Case) -> Plan:
    """Leaves changes out, with the successors that wait for them; who stays live is frozen."""
    names = {change.lifecycle.name for change in plan.changes if is_withheld(change.case)}
    return _without_names(plan, known, names, instead)


def _without_names(plan: Plan, known: KnownState, names: AbstractSet[str], instead: Case) -> Plan:
    changes: list[Change] = []
    for change in plan.changes:
        if change.lifecycle.name not in names:
            changes.append(change)
        elif change.known is not None:
            held = instead is Case.HELD or change.known.held
            frozen = unread(instead, change.known, known, held=held)
            changes += [frozen] if frozen else []
    return replace(plan, changes=tuple(changes))


def _check_clock(snapshot: Snapshot, clocks: Clocks | None) -> None:
    """Refuses a time that this machine and the database contradict."""
    if clocks is None:
        return
    taken = f"the snapshot ({quoted(snapshot.source)}, of {stamp(snapshot.observed_at)})"
    if snapshot.observed_at > clocks.latest + FUTURE_TOLERANCE:
        advice = (
            "date the file by its name, as in tenants-20261122T050000Z.json, or by --observed-at"
            if snapshot.digest is not None
            else "set the API server's clock"
        )
        raise Refused(
            f"{taken} is ahead of this machine's clock and of the database's ({stamp(clocks.latest)}); "
            f"nothing was written; {advice}"
        )
    if clocks.agreed is not None and snapshot.observed_at < clocks.agreed - BEHIND_TOLERANCE:
        raise Refused(
            f"{taken} is behind this machine's clock and the database's ({stamp(clocks.agreed)}); "
            "nothing was written; set the API server's clock"
        )
