"""How far the ledger is in the history of its cluster, in resourceVersions, and what follows from that.

resourceVersions are compared as decimal numbers, within one cluster; where one is missing or no number,
they say nothing.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct

from reconciler.core.tenant import KnownState, Setback, Snapshot
from reconciler.core.times import CLOCK_TOLERANCE


class Position(Struct, frozen=True, kw_only=True):
    """The cluster of the ledger, and the highest resourceVersion that was written of it."""

    cluster_uid: str | None = None
    version: int | None = None
    instant: datetime | None = None
    """Of the last pass."""
    listed_at: datetime | None = None
    """When all tenants were last listed; None: never, or something waits for the next list since."""


LONGEST: Final = 40
"""Digits of a resourceVersion that is read as a number; servers give a uint64, of 20 at most."""


def number(version: str | None) -> int | None:
    """A resourceVersion as a number, where it is one. A text of more than LONGEST digits is none."""
    if version is None or not version.isdecimal() or len(version) > LONGEST:
        return None
    return int(version)


def position(known: KnownState) -> Position:
    """How far the ledger is; nowhere, where its server went back and nobody decided about that."""
    version = known.cluster_version if known.setback is None else None
    instant = known.last_pass.observed_at if known.last_pass else None
    listed_at = None if known.waits else known.listed_at
    return Position(cluster_uid=known.cluster_uid, version=version, instant=instant, listed_at=listed_at)


def setback(snapshot: Snapshot) -> Setback:
    """What is remembered of a list that its server should not have shown."""
    version, before = number(snapshot.resource_version) or 0, snapshot.after or 0
    return Setback(found_at=snapshot.observed_at, version=version, ledger_version=before)


def is_news(snapshot: Snapshot, known: KnownState) -> bool:
    """Whether a watched change is not in what was written already."""
    version, newest = number(snapshot.resource_version), known.cluster_version
    if snapshot.cluster_uid != known.cluster_uid or version is None or newest is None:
        return True
    return version > newest


def is_in_order(snapshot: Snapshot, known: KnownState) -> bool:
    """Whether resourceVersions alone tell what came after what: the last pass had one, too.

    Not where its time is before what the ledger had when it was asked for: then the clock went back.
    """
    before, last = snapshot.after_instant, known.last_pass
    if before is not None and snapshot.observed_at < before - CLOCK_TOLERANCE:
        return False
    is_live = snapshot.scope is not None or snapshot.after is not None
    return is_live and last is not None and last.has_version and _is_same_cluster(snapshot, known)


def is_older(snapshot: Snapshot, known: KnownState) -> bool:
    """Whether something newer of the snapshot's cluster was written. Equal is not older."""
    return _is_before(snapshot, known, known.cluster_version)


def went_back(snapshot: Snapshot, known: KnownState) -> bool:
    """Whether its server has lost what it had: as of a backup, it shows what was before.

    A server that tells a lower resourceVersion than the ledger had before it was asked has gone back.
    Otherwise the ledger has moved on since. Of a file nobody knows when it was asked for.
    """
    version = number(snapshot.resource_version)
    return is_older(snapshot, known) and (
        snapshot.after is None or (version is not None and version < snapshot.after)
    )


def is_overtaken(snapshot: Snapshot, known: KnownState) -> bool:
    """Whether only watched changes were written that are newer than this list."""
    return (
        snapshot.scope is None
        and is_older(snapshot, known)
        and not went_back(snapshot, known)
        and not _is_before(snapshot, known, known.listed_version)
    )


def _is_before(snapshot: Snapshot, known: KnownState, other: int | None) -> bool:
    version = number(snapshot.resource_version)
    if version is None or other is None or not _is_same_cluster(snapshot, known):
        return False
    return version < other


def _is_same_cluster(snapshot: Snapshot, known: KnownState) -> bool:
    return snapshot.cluster_uid in (None, known.cluster_uid) or known.cluster_uid is None
