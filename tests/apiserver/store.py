"""The tenants of one cluster as etcd keeps them: a log of writes, and every state of it.

Here are resourceVersions, finalizers and compaction. Knows nothing of HTTP; who owns which field is told
by `ownership`.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import uuid4

from tests.apiserver.documents import Json, merged, rfc3339
from tests.apiserver.ownership import (
    BEFORE_FIRST_APPLY,
    Difference,
    Fields,
    Owner,
    Share,
    Shares,
    applied,
    fields,
    given_up,
    managed_fields,
    named,
    read_shares,
    second_of,
    updated,
    without,
)

EventKind: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Event:
    """One write, as a watch tells of it."""

    revision: int
    kind: EventKind
    key: str
    """`name`, or `namespace/name`."""
    resource: Json
    """As it is after the write; of a deletion as it last was, under the deletion's resourceVersion."""
    at: datetime
    """When it was written, by the server's clock."""
    owner: Owner | None = None
    """Who made a write that counts in `managedFields`."""
    written: float = field(default_factory=time.monotonic, compare=False)
    """When, by `time.monotonic`."""


@dataclass(kw_only=True)
class Tenants:
    """The tenants of one cluster: a log of writes, and every state is what the log adds up to.

    Any number of threads write and read. A write is done by a `manager`, who then owns what it changed
    in `managedFields`, at a time `at`: now by default, cut to the second. It returns the tenant as it is
    then, or as it last was, with the write's resourceVersion. KeyError: no such tenant, or one of that
    name already.
    """

    api_version: str
    kind: str
    org_label: str
    now: Callable[[], datetime]
    set_list: bool = False
    """Whether `spec.packages` is a `list-type: set`."""
    log: list[Event] = field(default_factory=list)
    current: dict[str, Json] = field(default_factory=dict)
    """The latest state, by key: for reading."""
    revision: int = 1
    """The resourceVersion of a list made now. It may be raised: something else was written."""
    compacted: int = 1
    """The oldest revision that can still be listed."""
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)
    """Held while a write is made, and notified of it: who waits for a change wakes at once."""

    def at(self, revision: int) -> dict[str, Json]:
        """The state as of that revision, by key, in the keys' order."""
        state: dict[str, Json] = {}
        for event in tuple(self.log):
            if event.revision > revision:
                break
            if event.kind == "DELETED":
                del state[event.key]
            else:
                state[event.key] = event.resource
        return dict(sorted(state.items()))

    def since(self, revision: int, most: int | None = None) -> list[Event]:
        """What was written after that revision, in order; no more than so many."""
        with self.changed:
            start = bisect_right(self.log, revision, key=lambda event: event.revision)
            return self.log[start : None if most is None else start + most]

    def create(
        self,
        name: str,
        packages: Sequence[object] | None,
        *,
        suspend: bool | None = None,
        org: str | None = "320815470900000001",
        uid: str | None = None,
        created: datetime | None = None,
        namespace: str | None = None,
        manager: str | None = "portal",
        **more: Json,
    ) -> Json:
        """A new tenant, without what is None, with `more` merged in: `metadata={"finalizers": [..]}`.

        Without a manager it has no managedFields, and later patches do not start them either.
        """
        spec = {"packages": None if packages is None else list(packages), "suspend": suspend}
        labels = None if org is None else {self.org_label: org}
        created = created or self.now()
        with self.changed:
            body = {"metadata": {"labels": labels}, "spec": spec}
            resource = merged(self._new(name, namespace, created, uid, body), more)
            owner = None if manager is None else Owner("Update", manager)
            if owner is not None:
                share = Share(frozenset(self._fields(resource)), second_of(created))
                resource["metadata"]["managedFields"] = self._managed({owner: share})
            return self._write("ADDED", _key(name, namespace), resource, created, owner)

    def patch(
        self,
        name: str,
        *,
        namespace: str | None = None,
        manager: str = "portal",
        at: datetime | None = None,
        forged: Shares | None = None,
        **patch: Json,
    ) -> Json:
        """A JSON merge patch: `spec={"suspend": True}`, `metadata={"finalizers": None}`, `status={...}`.

        What changes nothing is no write; what takes a deleted tenant's last finalizer away removes it.
        Who writes may say who owned what before, `forged`; `{}` clears managedFields.
        """
        key = _key(name, namespace)
        with self.changed:
            before = current = self.current[key]
            moment = at or self.now()
            if forged is not None:
                metadata = {"managedFields": self._managed(forged) or None}
                before = merged(before, {"metadata": metadata})
            after = merged(before, patch)
            subresource = "status" if before.get("status") != after.get("status") else ""
            owner = Owner("Update", manager, subresource)
            managed: list[Json] | None = None
            if after != before and "managedFields" in after["metadata"]:
                had, shares = self._owned(before)
                difference = Difference.between(had, self._fields(after))
                managed = self._managed(updated(shares, difference, owner, second_of(moment)))
            return self._update(key, current, after, managed, moment, owner)

    def set_status(
        self,
        name: str,
        status: Json,
        *,
        namespace: str | None = None,
        manager: str = "operator",
        at: datetime | None = None,
    ) -> Json:
        """A merge patch of the status subresource: `{"suspendedAt": "2026-11-22T15:35:19Z"}`."""
        return self.patch(name, namespace=namespace, manager=manager, at=at, status=status)

    def apply(
        self,
        name: str,
        *,
        namespace: str | None = None,
        manager: str = "flux",
        at: datetime | None = None,
        uid: str | None = None,
        force: bool = False,
        **configuration: Json,
    ) -> Json:
        """A server-side apply: `spec={"packages": [..]}`. A tenant that is not there is created.

        What the manager applied before and leaves out now is taken away, unless another one owns it too.
        Raises Conflict where it would change what others own, and is not forced.
        """
        key, moment = _key(name, namespace), at or self.now()
        owner, names = Owner("Apply", manager), named(configuration, set_list=self.set_list)
        second = second_of(moment)
        with self.changed:
            before = self.current.get(key)
            if before is None:
                resource = self._new(name, namespace, moment, uid, configuration)
                managed = self._managed({owner: Share(names, second)})
                resource["metadata"]["managedFields"] = managed
                return self._write("ADDED", key, resource, moment, owner)
            had, shares = self._owned(before)
            after = merged(before, configuration)
            if self.set_list and "packages" in configuration.get("spec", {}):
                both = (*(before["spec"].get("packages") or ()), *configuration["spec"]["packages"])
                after["spec"]["packages"] = list(dict.fromkeys(both))
            # Where nobody kept account so far: tenants/managed-fields-missing--3.
            shares = shares or {BEFORE_FIRST_APPLY: Share(frozenset(had), second)}
            after = without(after, given_up(shares, names, owner))
            difference = Difference.between(had, self._fields(after))
            taken = applied(shares, difference, names, owner, second, force=force)
            return self._update(key, before, after, self._managed(taken), moment, owner)

    def delete(self, name: str, *, namespace: str | None = None, at: datetime | None = None) -> Json:
        """Remove a tenant; one with finalizers stays, with a deletionTimestamp that never moves."""
        key, moment = _key(name, namespace), at or self.now()
        with self.changed:
            resource = self.current[key]
            metadata = resource["metadata"]
            if not metadata.get("finalizers"):
                return self._write("DELETED", key, resource, moment)
            if "deletionTimestamp" in metadata:
                return resource
            deletion = {
                "deletionTimestamp": rfc3339(moment),
                "deletionGracePeriodSeconds": 0,
                "generation": metadata.get("generation", 1) + 1,
            }
            return self._write("MODIFIED", key, merged(resource, {"metadata": deletion}), moment)

    def put_object(self, resource: Json) -> Json:
        """Store as it is what has a `metadata.name` of any type; only its resourceVersion is set."""
        metadata = resource["metadata"]
        key = _key(metadata["name"], metadata.get("namespace"))
        with self.changed:
            kind: EventKind = "MODIFIED" if key in self.current else "ADDED"
            return self._write(kind, key, deepcopy(resource), self.now())

    def write_elsewhere(self, writes: int = 1) -> int:
        """Something else in the cluster was written, so many times: only the resourceVersion moves."""
        with self.changed:
            self.revision += writes
            self.changed.notify_all()
            return self.revision

    def compact(self) -> int:
        """Forget every state but the latest: what is older is too old to be listed from now on."""
        with self.changed:
            self.compacted = self.revision
            return self.compacted

    def expire_tokens(self) -> None:
        """Compact the log: every continue token given out so far is too old from now on."""
        with self.changed:
            self.write_elsewhere()
            self.compact()

    def restore(self, revision: int) -> None:
        """Put etcd back to a backup of that revision: what was written since has never been."""
        with self.changed:
            self.log = [event for event in self.log if event.revision <= revision]
            self.current = self.at(revision)
            self.revision = revision
            self.compacted = min(self.compacted, revision)

    def _new(
        self, name: str, namespace: str | None, created: datetime, uid: str | None, body: Json
    ) -> Json:
        """A tenant as it is created, without managedFields. KeyError: the name is taken."""
        if (key := _key(name, namespace)) in self.current:
            raise KeyError(key)
        metadata: Json = {
            "name": name,
            "namespace": namespace,
            "uid": uid or str(uuid4()),
            "creationTimestamp": rfc3339(created),
            "generation": 1,
        }
        resource: Json = {"apiVersion": self.api_version, "kind": self.kind}
        return merged(merged(resource, {"metadata": metadata}), body)

    def _fields(self, resource: Json) -> Fields:
        return fields(resource, set_list=self.set_list)

    def _owned(self, resource: Json) -> tuple[Fields, Shares]:
        found = self._fields(resource)
        return found, read_shares(resource, found)

    def _managed(self, shares: Shares) -> list[Json]:
        return managed_fields(shares, self.api_version)

    def _update(
        self,
        key: str,
        before: Json,
        after: Json,
        managed: list[Json] | None,
        moment: datetime,
        owner: Owner,
    ) -> Json:
        """Write what has changed, if anything has; None leaves managedFields as they are."""
        metadata = after["metadata"]
        changed = after != before
        if changed and "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            return self._write("DELETED", key, before, moment)
        kept: Json = {}
        if after.get("spec") != before.get("spec"):
            kept["generation"] = metadata.get("generation", 1) + 1
        if managed is not None:
            kept["managedFields"] = managed
            changed = changed or managed != metadata.get("managedFields")
        if not changed:
            return before
        return self._write("MODIFIED", key, merged(after, {"metadata": kept}), moment, owner)

    def _write(
        self,
        kind: EventKind,
        key: str,
        resource: Json,
        moment: datetime,
        owner: Owner | None = None,
    ) -> Json:
        revision = self.revision + 1
        resource = merged(resource, {"metadata": {"resourceVersion": str(revision)}})
        self.log.append(Event(revision, kind, key, resource, moment, owner))
        if kind == "DELETED":
            del self.current[key]
        else:
            self.current[key] = resource
        self.revision = revision  # Last: who reads it finds the log complete up to there.
        self.changed.notify_all()
        return resource


def _key(name: object, namespace: object) -> str:
    return f"{namespace}/{name}" if namespace else f"{name}"
