"""What truly happened: every change that can be billed, and what they add up to."""

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, made between two instants of the server's clock by the write of that revision."""

    kind: Kind
    name: str
    uid: str
    skill: str | None
    began: datetime
    done: datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One tenant as it is, or as it was when its deletion was committed: that ends all else."""

    name: str
    uid: str
    skills: frozenset[str] = frozenset()
    suspended: bool = False
    deleted: bool = False

    def after(self, change: Change) -> "State":
        match change.kind:
            case Kind.ENABLED:
                return replace(self, skills=self.skills | {change.skill or ""})
            case Kind.DISABLED:
                return replace(self, skills=self.skills - {change.skill or ""})
            case Kind.SUSPENDED | Kind.RESUMED:
                return replace(self, suspended=change.kind is Kind.SUSPENDED)
            case Kind.DELETED:
                return replace(self, deleted=True)
        return self


@dataclass
class Truth:
    """The log of changes, in order. It may be read while it is written."""

    _changes: list[Change] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, changes: Iterable[Change]) -> None:
        with self._lock:
            self._changes += changes

    @property
    def changes(self) -> list[Change]:
        with self._lock:
            return list(self._changes)

    def __len__(self) -> int:
        return len(self._changes)

    def state(self, revision: int | None = None) -> dict[str, State]:
        """Every tenant there ever was, by uid, as of the end or of a revision."""
        states: dict[str, State] = {}
        for change in self.changes:
            if revision is not None and change.revision > revision:
                break
            before = states.get(change.uid) or State(name=change.name, uid=change.uid)
            states[change.uid] = before.after(change)
        return states

    def by_subject(self) -> dict[str, dict[Subject, list[Change]]]:
        """By uid and subject, the exact changes in their order."""
        found: dict[str, dict[Subject, list[Change]]] = defaultdict(lambda: defaultdict(list))
        for change in self.changes:
            found[change.uid][change.subject].append(change)
        return {uid: dict(subjects) for uid, subjects in found.items()}
