"""The words of the program: a tenant as one snapshot shows it, and what the ledger last said of it.

Values only. How they are read from a resource is `reading`, how they differ is `plan`.
Every datetime carries a zone and is UTC.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from reconciler.core.evidence import NOTHING, Evidence


class Tenant(Struct, frozen=True, kw_only=True, gc=False):
    """One readable `PiecedTenant`: the facts that count, as one snapshot shows them."""

    uid: str
    name: str
    """`metadata.name`, or `namespace/name`."""
    org: str
    created_at: datetime
    skills: tuple[str, ...]
    """Sorted by code point, each once."""
    suspended: bool
    suspended_at: datetime | None = None
    """`status.suspendedAt`: when, never whether."""
    deleted_at: datetime | None = None
    """`metadata.deletionTimestamp`: deletion is committed and cannot be undone."""
    evidence: Evidence = NOTHING
    org_changed_at: datetime | None = None
    """Not before the org's label was last changed, by `managedFields`."""
    fingerprint: bytes | None = None
    """Of what it was read from (see `fingerprint`); None where nobody asked for it."""


class Unreadable(Struct, frozen=True, kw_only=True):
    """One resource that is quarantined, because a field of it says nothing that can be billed."""

    uid: str | None
    name: str | None
    reason: str
    """Names the field, and what was found in it."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """The tenants of one cluster as of one instant, complete within its scope."""

    tenants: Sequence[Tenant]
    unreadable: Sequence[Unreadable] = ()
    asked_at: datetime
    """When the first request was sent: nothing in the snapshot is older than this."""
    observed_at: datetime
    """When the first page arrived: nothing in the snapshot is newer than this."""
    arrived_at: datetime | None = None
    """`observed_at` by this machine's clock; None where it is not by an API server's clock."""
    cluster_uid: str | None = None
    """The uid of the namespace kube-system; None where a file does not name its cluster."""
    resource_version: str | None = None
    source: str
    """Where it came from, for people: `cluster`, `watch`, or a file's name."""
    digest: str | None = None
    """Of a file, the SHA-256 of its content: whether it was read is told by that."""
    scope: frozenset[str] | None = None
    """The uids that it is complete for: one, where a change was watched; None: all there are."""
    after: int | None = None
    """The ledger's resourceVersion before a list was asked for, where that is known."""
    after_instant: datetime | None = None
    """The instant of the ledger's last pass before it was asked for, where that is known."""
    gapless: bool | None = None
    """Whether all that happened since the last list was seen, change by change; None: nobody can say."""
    gap_since: datetime | None = None
    """Where it was not: since when something may have been made and undone unseen."""
    unchanged: frozenset[bytes] = frozenset()
    """The fingerprints of the tenants that were not read: the ledger knows them, as they are."""
    released: int = 0
    """How many tenants it had before they were released."""

    @property
    def live(self) -> int:
        """How many tenants it shows that could be read, or need not be."""
        return len(self.tenants) + len(self.unchanged) + self.released

    @property
    def size(self) -> int:
        return self.live + len(self.unreadable)

    @property
    def is_absence(self) -> bool:
        """Whether a watched tenant is gone, and no deletion of it was seen."""
        return bool(self.scope) and self.size == 0


class Lifecycle(Struct, frozen=True, kw_only=True, gc=False):
    """One live lifecycle as the ledger last described it."""

    id: int | None
    """The row of `tenant_billing_lifecycle`; None while it is only planned."""
    uid: str | None
    """None: written by the portal, and not yet recognised in a snapshot."""
    name: str
    org: str
    created_at: datetime
    skills: tuple[str, ...]
    suspended: bool
    changed_at: datetime
    """The latest time of its rows: no later row of it may lie before."""
    read_at: datetime | None = None
    """When the last pass that could read the tenant asked for it; None: the last pass of all could."""
    held: bool = False
    """It was not in the last snapshot, and its deletion is held back until an operator decides."""
    moved_on: bool = False
    """It has ended by a move: what was billed by it goes on under another org."""
    settled_at: datetime | None = None
    """When its last watched change was, where evidence tells: whatever comes next came later."""
    fingerprint: bytes | None = None
    """Of the resource that was last read as this state; None where the next pass has to read it."""


class Newer(Struct, frozen=True, kw_only=True):
    """The tenants of which changes were written that are newer than a list: it says nothing of them."""

    uids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.uids or self.names)

    def __contains__(self, one: Tenant | Unreadable | Lifecycle) -> bool:
        return one.uid in self.uids or one.name in self.names


class LastPass(Struct, frozen=True, kw_only=True):
    """The last pass that was written."""

    id: int | None
    """None while it is only planned."""
    asked_at: datetime
    observed_at: datetime
    has_version: bool = False
    """Whether it was of the ledger's cluster and had a resourceVersion."""


class Setback(Struct, frozen=True, kw_only=True):
    """A list of the ledger's cluster that showed less than had been seen, as after a restore of etcd."""

    found_at: datetime
    version: int
    """The resourceVersion of the list."""
    ledger_version: int
    """That of the ledger, before the list was asked for."""


RECENT: Final = timedelta(hours=1)
"""How long a watched deletion counts among those that may be too many."""


class Clocks(Struct, frozen=True, kw_only=True):
    """This machine's clock and the database's, by which the API server's can be judged."""

    latest: datetime
    """The later of the two."""
    agreed: datetime | None = None
    """The earlier of the two if they agree; None: they do not, or it does not matter."""


class KnownState(Struct, frozen=True, kw_only=True):
    """What the ledger last said of each tenant."""

    live: Mapping[str, Lifecycle] = {}
    """By uid."""
    adopted: Mapping[str, Lifecycle] = {}
    """Live ones that have no uid yet, by name."""
    gone: Mapping[str, Lifecycle] = {}
    """By uid, the last lifecycle as it was at its end; of those tenants that the snapshot shows."""
    last_pass: LastPass | None = None
    listed_at: datetime | None = None
    """When the last pass over a complete list asked for it."""
    looked_at: datetime | None = None
    """When the last pass asked that shows all that happened before it: listed, or caught up."""
    waits: bool = False
    """Whether a deletion was held back or a tenant quarantined in that pass, or since."""
    population: int | None = None
    """How many live there are in all, where only some of them are given."""
    vanishing: int = 0
    """Of changes that were watched together: how many from the one in question on are absences."""
    held_deletions: Sequence[datetime] = ()
    """When watched deletions were held, within RECENT."""
    watched_deletions: Sequence[datetime] = ()
    """When weak deletions that were watched were written, within RECENT."""
    clocks: Clocks | None = None
    """None: nobody asked."""
    preparation: str = ""
    """SQL that the pass runs first: the tables are not there yet, or not as it needs them."""
    cluster_uid: str | None = None
    """The cluster of the last pass that named one."""
    cluster_version: int | None = None
    """The highest resourceVersion of the passes over that cluster, since it was last adopted."""
    listed_version: int | None = None
    """The same of its lists."""
    setback: Setback | None = None
    """Its server went back, and no operator has decided since what becomes of that."""
    newer: Newer | None = Newer()
    """Of what the passes since are that are newer than the list in question; None: that is not known."""

    @property
    def lifecycles(self) -> Sequence[Lifecycle]:
        return [*self.live.values(), *self.adopted.values()]
