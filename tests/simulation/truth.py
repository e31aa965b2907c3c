"""What truly happened: every change that can be billed, read from the log of an API server's writes."""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from tests.apiserver import Event, Json, Tenants

ORG_LABEL: Final = "pieced.ch/zitadel-org-id"
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Kind(StrEnum):
    """The kinds of changes, in the order in which one write makes several."""

    CREATED = "created"
    ENABLED = "enabled"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    DELETED = "deleted"


class Subject(NamedTuple):
    """What of a tenant changes: its life, its suspension, or one skill."""

    what: str
    skill: str | None = None


class State(NamedTuple):
    """One tenant as it is, or as it was when its deletion was committed: that ends all else."""

    skills: frozenset[str] = frozenset()
    suspended: bool = False
    deleted: bool = False

    def then(self, resource: Json) -> "State":
        """The state of a later resource; a field that says nothing billable leaves what was."""
        if self.deleted:
            return self
        spec, time = resource.get("spec", {}), resource.get("status", {}).get("suspendedAt")
        packages, suspend = spec.get("packages"), spec.get("suspend")
        return State(
            frozenset(packages or ()) if _are_skills(packages) else self.skills,
            suspend if isinstance(suspend, bool) else time is not None if suspend is None else self[1],
            "deletionTimestamp" in resource["metadata"],
        )

    def since(self, before: "State") -> Iterator[tuple[Kind, str | None]]:
        """What has changed since another state."""
        yield from ((Kind.ENABLED, skill) for skill in sorted(self.skills - before.skills))
        yield from ((Kind.DISABLED, skill) for skill in sorted(before.skills - self.skills))
        if self.suspended != before.suspended:
            yield (Kind.SUSPENDED if self.suspended else Kind.RESUMED), None
        if self.deleted and not before.deleted:
            yield Kind.DELETED, None


def is_readable(resource: Json) -> bool:
    """Whether every field says something that can be billed."""
    spec, time = resource.get("spec", {}), resource.get("status", {}).get("suspendedAt")
    return (
        bool(resource["metadata"].get("labels", {}).get(ORG_LABEL))
        and _are_skills(spec.get("packages"))
        and isinstance(spec.get("suspend"), bool | None)
        and (time is None or is_time(time))
    )


def is_time(text: str) -> bool:
    return _RFC_3339.fullmatch(text) is not None


def _are_skills(packages: object) -> bool:
    if packages is None:
        return True
    return isinstance(packages, list) and all(
        isinstance(skill, str) and skill and "\0" not in skill for skill in packages
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, made by the write of that revision at that instant of the server's clock."""

    kind: Kind
    name: str
    uid: str
    skill: str | None
    at: datetime
    revision: int
    weak: bool = False
    """A deletion that leaves no deletionTimestamp."""

    @property
    def subject(self) -> Subject:
        match self.kind:
            case Kind.CREATED | Kind.DELETED:
                return Subject("life")
            case Kind.SUSPENDED | Kind.RESUMED:
                return Subject("suspension")
        return Subject("skill", self.skill)


@dataclass
class Truth:
    """The changes of those tenants, in order. It may be read while tenants are written."""

    tenants: Tenants
    of: Callable[[str], bool] = lambda _: True
    """Whether it is about a tenant of that key."""
    states: dict[str, State] = field(default_factory=dict)
    """Every tenant there ever was, by uid."""
    _changes: list[Change] = field(default_factory=list)
    _read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def changes(self) -> list[Change]:
        with self._lock:
            for event in self.tenants.log[self._read :]:
                self._read += 1
                if self.of(event.key):
                    self._changes += self._made_by(event)
            return list(self._changes)

    def __len__(self) -> int:
        return len(self.changes)

    def _made_by(self, event: Event) -> Iterator[Change]:
        metadata = event.resource["metadata"]
        uid = metadata["uid"]
        before = State() if event.kind == "ADDED" else self.states[uid]
        after = before.then(event.resource)
        weak = event.kind == "DELETED" and not before.deleted
        if weak:
            after = before._replace(deleted=True)
        self.states[uid] = after
        kinds = [(Kind.CREATED, None)] if event.kind == "ADDED" else []
        for kind, skill in (*kinds, *after.since(before)):
            yield Change(
                kind=kind,
                name=metadata["name"],
                uid=uid,
                skill=skill,
                at=event.at,
                revision=event.revision,
                weak=weak,
            )

    def by_subject(self) -> dict[str, dict[Subject, list[Change]]]:
        """By uid and subject, the exact changes in their order."""
        found: dict[str, dict[Subject, list[Change]]] = defaultdict(lambda: defaultdict(list))
        for change in self.changes:
            found[change.uid][change.subject].append(change)
        return {uid: dict(subjects) for uid, subjects in found.items()}
