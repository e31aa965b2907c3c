"""What truly happened in a cluster, to the microsecond, and what the tenants' times tell of it.

Read from the log of an API server's writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from msgspec.json import encode

from tests.apiserver import Event, Json, Tenants
from tests.apiserver.ownership import (
    ANCIENT,
    PACKAGES,
    SUSPEND,
    Difference,
    Fields,
    Owner,
    Path,
    Share,
    Shares,
    fields,
    item,
    latest,
    read_shares,
    second_of,
)
from tests.simulation.truth import Kind, State, is_readable, is_time
from tests.simulation.writes import RESTORER

API_VERSION: Final = "pieced.ch/v1alpha1"
KIND: Final = "PiecedTenant"

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

FORGED: Final = "forged"
"""Somebody wrote times that are not those of the changes."""
GAP: Final = "gap"
"""The changer gave its share up by an apply without the field; an earlier sharer stays."""
STALE: Final = "stale"
"""`status.suspendedAt` is that of an earlier suspension, the operator is late; nothing else tells."""
OVERLOOKED: Final = "overlooked"
"""The same, but managedFields have the time of this one."""
SUSPENDED_AT: Final = ("f:status", "f:suspendedAt")


class Change(NamedTuple):
    """Something that counts, and when it truly happened."""

    at: int
    uid: str
    kind: str
    skill: str | None = None
    evident: bool = False
    """Right after it, `managedFields` told its second."""


class Write(NamedTuple):
    """One resource after one write."""

    at: int
    name: str
    uid: str
    body: bytes | None
    """None: it is gone."""
    readable: bool = True
    """Whether every field says something that can be billed."""
    doubts: Mapping[Path, str] = {}
    """The fields of which the resource's times tell less than the rules of time assume, and why."""


@dataclass
class Told:
    """What is known of one tenant that is there."""

    state: State = field(default_factory=State)
    shares: Shares = field(default_factory=dict)
    fields: Fields = field(default_factory=dict)
    changers: dict[Path, Owner] = field(default_factory=dict)
    """Who last changed the field's value."""
    doubts: dict[Path, str] = field(default_factory=dict)
    suspended_at: int = 0
    """When it was truly suspended for the last time."""

    def take(self, event: Event, *, set_list: bool) -> None:
        """The fields, who owns them, and who changed them last, after a write."""
        found = fields(event.resource, set_list=set_list)
        shares = read_shares(event.resource, found)
        difference = Difference.between(self.fields, found)
        owner = event.owner
        if owner is not None and owner.manager == RESTORER:
            self.changers.clear()
            self.doubts = dict.fromkeys(self.fields, FORGED) if shares else {}
        elif owner is not None and owner in self.shares:
            left = self.shares[owner].fields - shares.get(owner, Share(frozenset(), 0)).fields
            given_up = [path for path in left & found.keys() if self.changers.get(path) == owner]
            self.doubts |= dict.fromkeys(given_up, GAP)
        if ANCIENT in shares:
            merged = self.shares.keys() - shares.keys()
            self.changers |= {path: ANCIENT for path, who in self.changers.items() if who in merged}
        for path in difference.changed | difference.removed:
            self.doubts.pop(path, None)
            self.changers.pop(path, None)
        if owner is not None:
            self.changers |= dict.fromkeys(difference.changed, owner)
        self.fields, self.shares = found, shares

    def doubts_of(self, resource: Json) -> Iterator[tuple[Path, str]]:
        yield from ((path, why) for path, why in self.doubts.items() if path[:2] in (PACKAGES, SUSPEND))
        time = resource.get("status", {}).get("suspendedAt")
        if time is not None and is_time(time) and self.state.suspended:
            since = self.suspended_at // SECOND
            if second_of(datetime.fromisoformat(time)) < since:
                is_known = (latest(self.shares, SUSPEND) or 0) >= since
                yield SUSPENDED_AT, OVERLOOKED if is_known else STALE


@dataclass
class Evidence:
    """The writes to those tenants, the truth about them, and where their times cannot be believed."""

    tenants: Tenants
    writes: list[Write] = field(default_factory=list)
    truth: list[Change] = field(default_factory=list)
    after_the_end: list[Change] = field(default_factory=list)
    """What was still changed after the deletion was committed: it no longer counts."""
    _told: dict[str, Told] = field(default_factory=dict)

    def read(self) -> "Evidence":
        """Up to the end of the log; each event is a write."""
        for event in self.tenants.log[len(self.writes) :]:
            self._take(event)
        return self

    def _take(self, event: Event) -> None:
        resource, at = event.resource, micros(event.at)
        name, uid = event.key, resource["metadata"]["uid"]
        if event.kind == "DELETED":
            if not self._told.pop(uid).state.deleted:
                self.truth.append(Change(at, uid, "deleted"))
            self.writes.append(Write(at, name, uid, None))
            return
        is_new = event.kind == "ADDED"
        if is_new:
            self._told[uid] = Told()
            self.truth.append(Change(at, uid, "created"))
        one = self._told[uid]
        before, ended = one.state, one.state.deleted
        one.take(event, set_list=self.tenants.set_list)
        # What is changed after the end is a change all the same.
        one.state = before._replace(deleted=False).then(resource)
        log = self.after_the_end if ended else self.truth
        for kind, skill in one.state.since(before):
            is_evident = not is_new and self._is_evident(one, kind, skill, resource, at)
            log.append(Change(at, uid, kind.value, skill, is_evident))
            if kind is Kind.SUSPENDED:
                one.suspended_at = at
        self.writes.append(
            Write(
                at,
                name,
                uid,
                encode(resource),
                readable=is_readable(resource),
                doubts=dict(one.doubts_of(resource)),
            )
        )

    def _is_evident(self, one: Told, kind: Kind, skill: str | None, resource: Json, at: int) -> bool:
        match kind:
            case Kind.ENABLED if self.tenants.set_list:
                path = item(skill or "")
            case Kind.ENABLED:
                path = PACKAGES
            case Kind.DISABLED if one.state.skills:
                path = PACKAGES
            case Kind.SUSPENDED | Kind.RESUMED if resource["spec"].get("suspend") is not None:
                path = SUSPEND
            case _:
                return False
        return latest(one.shares, path) == at // SECOND


def micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)
