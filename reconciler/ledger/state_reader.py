"""Reads back what the ledger last said of each tenant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from reconciler.core.fingerprint import LENGTH, shown, without_unchanged
from reconciler.core.portal import PortalEvent, PortalLife, PortalLifecycle, lives
from reconciler.core.position import is_overtaken, number
from reconciler.core.tenant import (
    RECENT,
    Clocks,
    KnownState,
    LastPass,
    Lifecycle,
    Newer,
    Setback,
    Snapshot,
)
from reconciler.core.times import BEHIND_TOLERANCE, FUTURE_TOLERANCE
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("state_reader")


def last_pass(transaction: Transaction, *, is_current: bool = True) -> KnownState:
    """What is known of the passes themselves, and of no tenant yet.

    `is_current`: the schema is that of this program. Before version 3, each list stands for itself, and
    no server was found to go back.
    """
    rows = transaction.rows(_SQL["last_pass"], RECENT, RECENT)
    if not rows:
        return KnownState()
    id_, asked_at, observed_at, has_version, cluster_uid, listed, watched, *rest = rows[0]
    listed_at, deletions, held = rest
    versions = [found for version in (listed, watched) if (found := number(version)) is not None]
    looked_at, waits, setback = listed_at, False, None
    if is_current:
        looked_at, waits, setback = _continuity(transaction, cluster_uid)
    return KnownState(
        last_pass=LastPass(id=id_, asked_at=asked_at, observed_at=observed_at, has_version=has_version),
        listed_at=listed_at,
        looked_at=looked_at,
        watched_deletions=deletions,
        held_deletions=held,
        waits=waits,
        cluster_uid=cluster_uid,
        cluster_version=max(versions, default=None),
        listed_version=number(listed),
        setback=setback,
    )


def _continuity(
    transaction: Transaction, cluster_uid: str | None
) -> tuple[datetime | None, bool, Setback | None]:
    ((looked_at, waits, found_at, *versions),) = transaction.rows(_SQL["continuity"], cluster_uid)
    if found_at is None:
        return looked_at, waits, None
    version, ledger_version = map(int, versions)
    return looked_at, waits, Setback(found_at=found_at, version=version, ledger_version=ledger_version)


def heal(transaction: Transaction) -> None:
    """Gives a state to the live lifecycles that have none; before the state is read."""
    if ids := _stateless(transaction):
        transaction.change(_SQL["heal"], ids, rows=len(ids))


def _stateless(transaction: Transaction) -> list[int]:
    return [id_ for (id_,) in transaction.rows(_SQL["stateless"])]


def clocks(transaction: Transaction, snapshot: Snapshot) -> Clocks:
    """This machine's clock and the database's, which is asked only if that matters."""
    ours, arrived_at = datetime.now(UTC), snapshot.arrived_at
    is_behind = arrived_at is not None and snapshot.observed_at < arrived_at - BEHIND_TOLERANCE
    if snapshot.observed_at <= ours and not is_behind:
        return Clocks(latest=ours)
    theirs: datetime = transaction.value("SELECT clock_timestamp()")
    if arrived_at is None or abs(theirs - arrived_at) > FUTURE_TOLERANCE:
        return Clocks(latest=max(ours, theirs))
    return Clocks(latest=max(ours, theirs), agreed=min(arrived_at, theirs))


def known_state(
    transaction: Transaction, *, is_current: bool = True, is_healed: bool = False
) -> KnownState:
    """The last known state of every live lifecycle. `is_healed`: each has one, after `heal`."""
    known = _by_identity(_live(transaction, None, is_healed=is_healed))
    return replace(last_pass(transaction, is_current=is_current), **known)


class Printed(NamedTuple):
    """The fingerprints of the tenants that need not be read while they have the same one."""

    fingerprints: frozenset[bytes]
    as_of: int | None
    """The last pass; None: there is none."""


def printed(transaction: Transaction) -> Printed:
    """The fingerprints of the ledger as it stands."""
    ((joined, as_of),) = transaction.rows(_SQL["fingerprints"])
    each = range(0, len(joined or b""), LENGTH)
    return Printed(frozenset(joined[at : at + LENGTH] for at in each), as_of)


def changed_state(
    transaction: Transaction, snapshot: Snapshot, current: frozenset[bytes], *, is_healed: bool = False
) -> KnownState:
    """The last known state of the lifecycles that a plan needs where some tenants were not read.

    `current` are the fingerprints of the ledger.
    """
    read, unseen = shown(snapshot), current - snapshot.unchanged
    ids: Sequence[int] | None = None
    if len(unseen) + len(read.uids) < len(current) / 4:
        found = transaction.rows(_SQL["changed"], list(unseen), list(read.uids), list(read.names))
        ids = [id_ for (id_,) in found]
    needed = without_unchanged(_live(transaction, ids, is_healed=is_healed), snapshot)
    # All others are those that were not read.
    population = len(needed) + len(snapshot.unchanged & current)
    return replace(last_pass(transaction), population=population, **_by_identity(needed))


def concerned_state(transaction: Transaction, changes: Sequence[Snapshot]) -> KnownState:
    """The last known state of the lifecycles that watched changes are about, or share their names.

    After `heal`.
    """
    uids = {uid for change in changes for uid in change.scope or ()}
    names = {name for change in changes for name in shown(change).names}
    found = transaction.rows(_SQL["concerned"], list(uids), list(names))
    needed = list(_live(transaction, [id_ for (id_,) in found], is_healed=True))
    population = transaction.value(_SQL["population"])
    return replace(last_pass(transaction), population=population, **_by_identity(needed))


def _live(
    transaction: Transaction, ids: Sequence[int] | None, *, is_healed: bool
) -> Iterator[Lifecycle]:
    """The live lifecycles of these ids, or all; and those without a state, unless there are none."""
    yield from map(_lifecycle, transaction.stream(_SQL["live"], ids, ids))
    if not is_healed and (late := _stateless(transaction)):
        yield from map(_lifecycle, transaction.rows(_SQL["late"], late))


def _by_identity(lifecycles: Iterable[Lifecycle]) -> Mapping[str, Mapping[str, Lifecycle]]:
    """The `live` and the `adopted` of a known state."""
    live: dict[str, Lifecycle] = {}
    adopted: dict[str, Lifecycle] = {}
    for lifecycle in lifecycles:
        if lifecycle.uid is None:
            adopted[lifecycle.name] = lifecycle
        else:
            live[lifecycle.uid] = lifecycle
    return {"live": live, "adopted": adopted}


def gone(transaction: Transaction, snapshot: Snapshot, known: KnownState) -> Mapping[str, Lifecycle]:
    """The last lifecycles of the tenants in the snapshot that have ended, as they were then."""
    new = [
        (tenant.uid, tenant.name, tenant.created_at)
        for tenant in snapshot.tenants
        if tenant.uid not in known.live and tenant.name not in known.adopted
    ]
    rows = transaction.rows(_SQL["gone"], *map(list, zip(*new, strict=True))) if new else ()
    ended = map(_lifecycle, rows)
    return {lifecycle.uid: lifecycle for lifecycle in ended if lifecycle.uid is not None}


def portal_lives(transaction: Transaction) -> Sequence[PortalLife]:
    """What the portal's hooks wrote, where the schema is still theirs; nothing where there is none."""
    now, tables = transaction.rows(_SQL["portal_tables"])[0]
    lifecycles: list[PortalLifecycle] = []
    events: list[PortalEvent] = []
    if "tenant_billing_lifecycle" in tables:
        lifecycles = [PortalLifecycle(*row) for row in transaction.rows(_SQL["portal_lifecycles"])]
    if "tenant_skill_events" in tables:
        events += [PortalEvent(*row) for row in transaction.rows(_SQL["portal_skill_events"])]
    if "tenant_suspension_events" in tables:
        events += [PortalEvent(*row) for row in transaction.rows(_SQL["portal_suspension_events"])]
    return lives(lifecycles, events, now)


def _lifecycle(row: Sequence[Any]) -> Lifecycle:
    id_, uid, name, org, created_at, skills, suspended, changed_at, read_at, held, *rest = row
    fingerprint, settled_at, *moved_on = rest
    return Lifecycle(
        id=id_,
        uid=uid,
        name=name,
        org=intern(org),
        created_at=created_at,
        skills=tuple(map(intern, skills)),
        suspended=suspended,
        changed_at=changed_at,
        read_at=read_at,
        held=held,
        moved_on=moved_on == [True],
        settled_at=settled_at,
        fingerprint=fingerprint,
    )


def newer(transaction: Transaction, snapshot: Snapshot, known: KnownState) -> Newer | None:
    """The tenants of which changes are written that are newer than this list; None: not known of all."""
    if not is_overtaken(snapshot, known):
        return Newer()
    which = (snapshot.cluster_uid or known.cluster_uid, snapshot.resource_version)
    ((uids, names, is_unknown),) = transaction.rows(_SQL["newer"], *which, *which)
    return None if is_unknown else Newer(uids=frozenset(uids or ()), names=frozenset(names or ()))


def is_current(transaction: Transaction, last: LastPass) -> bool:
    """Whether no pass was written after this one."""
    return transaction.rows(_SQL["last_id"]) == [(last.id, last.observed_at)]


def is_last(transaction: Transaction, pass_id: int | None) -> bool:
    """Whether no pass was written after that one; None: none at all."""
    return [id_ for id_, _ in transaction.rows(_SQL["last_id"])] == ([pass_id] if pass_id else [])


def last_age(transaction: Transaction) -> float | None:
    """Seconds since the last pass was written, by the database's clock."""
    rows = transaction.rows(_SQL["last_age"])
    return rows[0][0] if rows else None


def was_read(transaction: Transaction, digest: str, name: str, instant: datetime) -> bool:
    """Whether a pass was made over a snapshot file of that content."""
    return bool(transaction.rows(_SQL["was_read"], digest, name, instant))
