"""The tenants of one cluster as etcd keeps them: a log of writes, and every state of it.

Here are resourceVersions, finalizers and compaction. Knows nothing of HTTP; who owns which field is told
by `ownership`.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import uuid4

from tests.apiserver.documents import Json, merged, rfc3339
from tests.apiserver.ownership import managed_fields


@dataclass(frozen=True, slots=True)
class Event:
    """One write, as a watch tells of it."""

    revision: int
    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    key: str
    """`name`, or `namespace/name`."""
    resource: Json
    """As it is after the write; of a deletion as it last was, under the deletion's resourceVersion."""


@dataclass(kw_only=True)
class Tenants:
    """The tenants of one cluster: a log of writes, and every state is what the log adds up to.

    One thread writes, any number read. A write is done by a `manager`, who then owns what it changed in
    `managedFields`, at a time `at`: now by default, cut to the second. KeyError: no such tenant, or one
    of that name already.
    """

    api_version: str
    kind: str
    org_label: str
    now: Callable[[], datetime]
    log: list[Event] = field(default_factory=list)
    current: dict[str, Json] = field(default_factory=dict)
    """The latest state, by key: for reading."""
    revision: int = 1
    """The resourceVersion of a list made now. It may be raised: something else was written."""
    compacted: int = 1
    """The oldest revision that can still be read."""

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
        key = _key(name, namespace)
        if key in self.current:
            raise KeyError(key)
        created = created or self.now()
        metadata: Json = {
            "name": name,
            "namespace": namespace,
            "uid": uid or str(uuid4()),
            "creationTimestamp": rfc3339(created),
            "generation": 1,
            "labels": None if org is None else {self.org_label: org},
        }
        spec = {"packages": None if packages is None else list(packages), "suspend": suspend}
        resource: Json = {"apiVersion": self.api_version, "kind": self.kind}
        resource = merged(merged(resource, {"metadata": metadata, "spec": spec}), more)
        if manager is not None:
            resource["metadata"]["managedFields"] = managed_fields({}, resource, manager, created)
        return self._write("ADDED", key, resource)

    def patch(
        self,
        name: str,
        *,
        namespace: str | None = None,
        manager: str = "portal",
        at: datetime | None = None,
        **patch: Json,
    ) -> Json:
        """A JSON merge patch: `spec={"suspend": True}`, `metadata={"finalizers": None}`, `status={...}`.

        What changes nothing is no write; what takes a deleted tenant's last finalizer away removes it.
        """
        key = _key(name, namespace)
        before = self.current[key]
        after = merged(before, patch)
        if after == before:
            return deepcopy(before)
        metadata = after["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            return self._write("DELETED", key, before)
        kept: Json = {}
        if after.get("spec") != before.get("spec"):
            kept["generation"] = metadata.get("generation", 1) + 1
        if "managedFields" in metadata:
            kept["managedFields"] = managed_fields(before, after, manager, at or self.now())
        return self._write("MODIFIED", key, merged(after, {"metadata": kept}))

    def delete(self, name: str, *, namespace: str | None = None, at: datetime | None = None) -> None:
        """Remove a tenant; one with finalizers stays, with a deletionTimestamp that never moves."""
        key = _key(name, namespace)
        resource = self.current[key]
        metadata = resource["metadata"]
        if not metadata.get("finalizers"):
            self._write("DELETED", key, resource)
        elif "deletionTimestamp" not in metadata:
            deletion = {
                "deletionTimestamp": rfc3339(at or self.now()),
                "deletionGracePeriodSeconds": 0,
                "generation": metadata.get("generation", 1) + 1,
            }
            self._write("MODIFIED", key, merged(resource, {"metadata": deletion}))

    def put_object(self, resource: Json) -> Json:
        """Store as it is what has a `metadata.name` of any type; only its resourceVersion is set."""
        metadata = resource["metadata"]
        key = _key(metadata["name"], metadata.get("namespace"))
        return self._write("MODIFIED" if key in self.current else "ADDED", key, deepcopy(resource))

    def expire_tokens(self) -> None:
        """Compact the log: every continue token given out so far is too old from now on."""
        self.revision += 1
        self.compacted = self.revision

    def restore(self, revision: int) -> None:
        """Put etcd back to a backup of that revision: what was written since has never been."""
        self.log = [event for event in self.log if event.revision <= revision]
        self.current = self.at(revision)
        self.revision = revision

    def _write(self, kind: Literal["ADDED", "MODIFIED", "DELETED"], key: str, resource: Json) -> Json:
        revision = self.revision + 1
        resource = merged(resource, {"metadata": {"resourceVersion": str(revision)}})
        self.log.append(Event(revision, kind, key, resource))
        if kind == "DELETED":
            del self.current[key]
        else:
            self.current[key] = resource
        self.revision = revision  # Last: who reads it finds the log complete up to there.
        return deepcopy(resource)


def _key(name: object, namespace: object) -> str:
    return f"{namespace}/{name}" if namespace else f"{name}"
