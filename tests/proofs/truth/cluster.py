"""A cluster in memory with a true clock, in microseconds, and the log of what truly happened.

It takes the writes that an API server takes, each at a given instant, keeps `managedFields` by the rules
of `ownership`, and cuts all times to whole seconds. It knows nothing of the reconciler.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from msgspec.json import encode

from tests.apiserver import Json, merged
from tests.apiserver.documents import rfc3339 as spelled
from tests.apiserver.ownership import (
    ANCIENT,
    BEFORE_FIRST_APPLY,
    PACKAGES,
    SUSPEND,
    Difference,
    Fields,
    Owner,
    Path,
    Share,
    Shares,
    applied,
    fields,
    given_up,
    item,
    latest,
    managed_fields,
    named,
    updated,
    without,
)

API_VERSION: Final = "pieced.ch/v1alpha1"
KIND: Final = "PiecedTenant"
ORG_LABEL: Final = "pieced.ch/zitadel-org-id"

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

ODD_TIME: Final = "2026-11-22T15:43:40,5Z"
"""What `format: date-time` lets in, and RFC 3339 does not: it quarantines."""

FORGED: Final = "forged"
"""Somebody wrote times that are not those of the changes."""
GAP: Final = "gap"
"""The changer gave its share up by an apply without the field; an earlier sharer stays."""
STALE: Final = "stale"
"""`status.suspendedAt` is that of an earlier suspension, the operator is late; nothing else tells."""
OVERLOOKED: Final = "overlooked"
"""The same, but managedFields have the time of this one."""


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
class Stored:
    """One tenant."""

    resource: Json
    shares: Shares
    fields: Fields
    changers: dict[Path, Owner] = field(default_factory=dict)
    """Who last changed the field's value."""
    doubts: dict[Path, str] = field(default_factory=dict)
    suspended_at: int = 0
    """When it was truly suspended for the last time."""

    @property
    def uid(self) -> str:
        uid: str = self.resource["metadata"]["uid"]
        return uid

    @property
    def packages(self) -> list[str]:
        return self.resource.get("spec", {}).get("packages") or []

    @property
    def suspend(self) -> bool | None:
        suspend: bool | None = self.resource.get("spec", {}).get("suspend")
        return suspend

    @property
    def suspended(self) -> bool:
        return self.status_time is not None if self.suspend is None else self.suspend

    @property
    def status_time(self) -> str | None:
        text: str | None = self.resource.get("status", {}).get("suspendedAt")
        return text

    @property
    def deleted(self) -> bool:
        return "deletionTimestamp" in self.resource["metadata"]


class Written(NamedTuple):
    """A resource as a write leaves it."""

    resource: Json
    fields: Fields
    difference: Difference
    """From what it was."""


@dataclass
class Cluster:
    """The tenants, what was written to them, and the truth.

    KeyError: no tenant of that name, or one already.
    """

    new_uid: Callable[[], str]
    set_list: bool = False
    """Whether `spec.packages` is a `list-type: set`."""
    live: dict[str, Stored] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    truth: list[Change] = field(default_factory=list)
    after_the_end: list[Change] = field(default_factory=list)
    """What was still changed after the deletion was committed: it no longer counts."""

    def create(self, at: int, manager: str, body: Json) -> None:
        """A POST."""
        self._create(at, body, Owner("Update", manager))

    def patch(self, at: int, manager: str, name: str, patch: Json) -> None:
        """A JSON merge patch (RFC 7386) of the resource."""
        self._update(at, name, merged(self.live[name].resource, patch), Owner("Update", manager))

    def patch_status(self, at: int, manager: str, name: str, patch: Json) -> None:
        """A JSON merge patch of the subresource: of it only the status is written."""
        resource = merged(self.live[name].resource, {"status": patch["status"]})
        self._update(at, name, resource, Owner("Update", manager, "status"))

    def apply(self, at: int, manager: str, name: str, body: Json, *, force: bool = False) -> None:
        """A server-side apply. Raises Conflict, and then nothing was written."""
        owner, names = Owner("Apply", manager), named(body, set_list=self.set_list)
        if name not in self.live:
            self._create(at, body, owner, names)
            return
        one = self.live[name]
        shares = one.shares or {BEFORE_FIRST_APPLY: Share(frozenset(one.fields), at // SECOND)}
        resource = merged(one.resource, body)
        if self.set_list and "packages" in body.get("spec", {}):
            packages = dict.fromkeys(one.packages) | dict.fromkeys(body["spec"]["packages"])
            resource["spec"]["packages"] = list(packages)
        resource = without(resource, given_up(shares, names, owner))
        written = self._written(one, resource)
        let_go = shares[owner].fields - names if owner in shares else frozenset()
        taken = applied(shares, written.difference, names, owner, at // SECOND, force=force)
        if written.difference or taken != one.shares:
            left = let_go & written.fields.keys()
            one.doubts |= {path: GAP for path in left if one.changers.get(path) == owner}
            self._write(at, one, written, taken, owner)

    def replace(self, at: int, manager: str, name: str, patch: Json, shares: Shares) -> None:
        """A PUT that changes something, and says who owns what since when; `{}` clears managedFields."""
        one = self.live[name]
        one.shares = shares
        one.changers.clear()
        one.doubts = dict.fromkeys(one.fields, FORGED) if shares else {}
        self.patch(at, manager, name, patch)

    def delete(self, at: int, name: str) -> None:
        """One with finalizers stays, with a deletionTimestamp that never moves."""
        one = self.live[name]
        metadata = one.resource["metadata"]
        if not metadata.get("finalizers"):
            self._remove(at, one)
        elif not one.deleted:
            resource = merged(one.resource, {"metadata": {"deletionTimestamp": rfc3339(at // SECOND)}})
            self._write(at, one, self._written(one, resource), one.shares, None)

    def _create(self, at: int, body: Json, owner: Owner, names: frozenset[Path] | None = None) -> None:
        name = body["metadata"]["name"]
        if name in self.live:
            raise KeyError(name)
        identity = {"uid": self.new_uid(), "creationTimestamp": rfc3339(at // SECOND)}
        resource = merged(body, {"apiVersion": API_VERSION, "kind": KIND, "metadata": identity})
        one = self.live[name] = Stored(resource, {}, {})
        written = self._written(one, resource)
        shares = {owner: Share(names or frozenset(written.fields), at // SECOND)}
        self.truth.append(Change(at, one.uid, "created"))
        self._write(at, one, written, shares, owner)

    def _update(self, at: int, name: str, resource: Json, owner: Owner) -> None:
        one = self.live[name]
        written = self._written(one, resource)
        if one.deleted and not resource["metadata"].get("finalizers"):
            self._remove(at, one)
        elif written.difference or resource != one.resource:
            shares = updated(one.shares, written.difference, owner, at // SECOND) if one.shares else {}
            self._write(at, one, written, shares, owner)

    def _written(self, one: Stored, resource: Json) -> Written:
        after = fields(resource, set_list=self.set_list)
        return Written(resource, after, Difference.between(one.fields, after))

    def _write(
        self, at: int, one: Stored, written: Written, shares: Shares, owner: Owner | None
    ) -> None:
        skills, suspended, deleted = set(one.packages), one.suspended, one.deleted
        is_new = not one.fields
        if ANCIENT in shares:
            merged_now = one.shares.keys() - shares.keys()
            one.changers |= {path: ANCIENT for path, who in one.changers.items() if who in merged_now}
        for path in written.difference.changed | written.difference.removed:
            one.doubts.pop(path, None)
            one.changers.pop(path, None)
        if owner is not None:
            one.changers |= dict.fromkeys(written.difference.changed, owner)
        if is_new:
            skills, suspended = set(), False
        one.resource, one.shares, one.fields = written.resource, shares, written.fields
        self._log(at, one, skills, suspended=suspended, is_new=is_new, deleted=deleted)
        self._publish(at, one)

    def _log(
        self, at: int, one: Stored, skills: set[str], *, suspended: bool, is_new: bool, deleted: bool
    ) -> None:
        log = self.after_the_end if deleted else self.truth
        second = None if is_new else at // SECOND
        packages = set(one.packages)

        def evident(path: Path) -> bool:
            return latest(one.shares, path) == second

        for skill in sorted(packages - skills):
            path = item(skill) if self.set_list else PACKAGES
            log.append(Change(at, one.uid, "enabled", skill, evident(path)))
        for skill in sorted(skills - packages):
            log.append(Change(at, one.uid, "disabled", skill, bool(packages) and evident(PACKAGES)))
        if one.suspended != suspended:
            kind = "suspended" if one.suspended else "resumed"
            log.append(Change(at, one.uid, kind, None, one.suspend is not None and evident(SUSPEND)))
            if one.suspended:
                one.suspended_at = at
        if one.deleted and not deleted:
            log.append(Change(at, one.uid, "deleted"))

    def _publish(self, at: int, one: Stored) -> None:
        metadata = one.resource["metadata"]
        told = second_of(one.status_time) if one.status_time else None
        doubts = {path: why for path, why in one.doubts.items() if path[:2] in (PACKAGES, SUSPEND)}
        if told is not None and one.suspended and told < one.suspended_at // SECOND:
            known = (latest(one.shares, SUSPEND) or 0) >= one.suspended_at // SECOND
            doubts["f:status", "f:suspendedAt"] = OVERLOOKED if known else STALE
        self.writes.append(
            Write(
                at,
                metadata["name"],
                one.uid,
                encode(self.shown(one)),
                readable=ORG_LABEL in metadata.get("labels", {})
                and (one.status_time is None or told is not None),
                doubts=doubts,
            )
        )

    def shown(self, one: Stored) -> Json:
        """The resource as a list shows it."""
        if not one.shares:
            return one.resource
        entries = managed_fields(one.shares, API_VERSION)
        return {**one.resource, "metadata": {**one.resource["metadata"], "managedFields": entries}}

    def _remove(self, at: int, one: Stored) -> None:
        name = one.resource["metadata"]["name"]
        del self.live[name]
        if not one.deleted:
            self.truth.append(Change(at, one.uid, "deleted"))
        self.writes.append(Write(at, name, one.uid, None))


def rfc3339(second: int) -> str:
    return spelled(EPOCH + timedelta(seconds=second))


def second_of(text: str) -> int | None:
    """The second that a time of the operator's says; None for `ODD_TIME`."""
    return None if text == ODD_TIME else (datetime.fromisoformat(text) - EPOCH) // timedelta(seconds=1)
