"""The life of a cluster's tenants: who is born, who goes, what goes wrong, and when it is whose turn.

What is done to a tenant that is there is in `writes`. Time is a script's: whoever lives a life says how
far it goes, with `advance`, and whether the server's clock is the same one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final
from uuid import UUID

from tests.apiserver import Json, Tenants, merged
from tests.apiserver.documents import rfc3339
from tests.simulation.truth import ORG_LABEL, is_time
from tests.simulation.writes import CLEANUP, UPDATERS, Again, One, Writes

UNLABELLED: Final[Json] = {"metadata": {"labels": {ORG_LABEL: None}}}
MOVED: Final[Json] = {"metadata": {"labels": {ORG_LABEL: "another"}}}
ODD_TIME: Final[Json] = {"status": {"suspendedAt": "2026-11-22T15:43:40,5Z"}}
"""What `format: date-time` lets in, and RFC 3339 does not."""
_WITHOUT_DELETION: Final[Json] = {
    "metadata": {"deletionTimestamp": None, "deletionGracePeriodSeconds": None}
}
TORN: Final[Sequence[Json]] = (
    {"spec": {"packages": "mail"}},
    {"spec": {"packages": ["mail", 7]}},
    {"spec": {"packages": ["mail\0"]}},
    {"spec": {"suspend": "yes"}},
    {"status": {"suspendedAt": "yesterday"}},
)
"""What no sound schema lets in."""


@dataclass
class Clock:
    """The time of a script."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What happens how often; delays are in seconds."""

    writes: Mapping[str, float]
    """The weights of the methods of `Writes` and of `Life` by which a tenant is changed."""
    population: tuple[int, int] | None = None
    """At the first, somebody is created instead of deleted; at the second, the other way round."""
    finalizers: float = 0.4
    """The share of the tenants that have one."""
    linger: Sequence[float] = (0.5, 20, 900, 7200)
    """How long one with a finalizer stays once its deletion is committed."""
    reborn: Sequence[float | None] = (None,)
    """After how long another tenant takes the name of one that is gone, if any does."""
    weak: float = 0
    """The share of the deletions before which a finalizer is taken away."""
    posthumous: float = 0
    """The share of those whose turn it is after their deletion and who are changed all the same."""
    unlabelled: float = 0
    """The share of those that are born without an org."""
    odd: Sequence[Json] = (UNLABELLED, MOVED, ODD_TIME)
    """The patches that make a tenant unreadable, until it heals."""
    healing: float = 1200
    """How long that takes on average."""
    same_hands: float = 0
    """The share of writes after which the same manager writes once more within five minutes."""
    turns: bool = False
    """Each tenant is written to at times of its own, 15 minutes after the last on average."""


@dataclass(kw_only=True)
class Life(Writes):
    """Writes to the tenants of those keys. The same seed makes the same life."""

    tenants: Tenants
    seed: object
    clock: Clock
    habits: Habits
    keys: Sequence[str]
    weak: int | None = None
    """So many more deletions may leave no deletionTimestamp; None: any."""
    touched: set[str] | None = None
    """Who was written to; these are left alone. None: nobody is, however often."""
    back: dict[str, str] = field(default_factory=dict)
    """By key, the uids of those that were gone and are back."""
    _agenda: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _orgs: dict[str, str] = field(default_factory=dict)
    _sound: dict[str, Json] = field(default_factory=dict)
    """The odd ones as they were before, by key."""

    def __post_init__(self) -> None:
        self.chance = Random(f"{self.seed}")  # noqa: S311 - to be told again
        self.number = count()
        self._free = [key for key in reversed(self.keys) if key not in self.tenants.current]
        own = {name: getattr(self, name) for name in self.habits.writes}
        self._writes: Sequence[Callable[[str, One], Again | None]] = list(own.values())
        self._weights = list(self.habits.writes.values())

    # Time

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        at = self.clock.now + max(timedelta(microseconds=1), timedelta(seconds=seconds))
        heappush(self._agenda, (at, next(self.number), action))

    def advance(self, until: datetime) -> bool:
        """Do what is next, if it is due by then; else it is that time, and False."""
        if not self._agenda or self._agenda[0][0] > until:
            self.clock.now = max(self.clock.now, until)
            return False
        at, _, action = heappop(self._agenda)
        self.clock.now = max(self.clock.now, at)
        action()
        return True

    def next(self) -> None:
        """Go on to what is next."""
        self.advance(self._agenda[0][0])

    def end(self) -> None:
        """Nothing that is due happens any more, and everybody heals."""
        self._agenda.clear()
        for key in sorted(self.tenants.current):
            one = self.one(key)
            if one is not None and not one.deleted:
                self.clock.now += timedelta(seconds=1)
                self._heal(key, one.uid)

    # Whose turn it is

    def one(self, key: str, uid: str | None = None) -> One | None:
        """The tenant of that key, if it is there, and still that one."""
        resource = self.tenants.current.get(key)
        if resource is None or uid not in (None, resource["metadata"]["uid"]):
            return None
        return One(resource, set_list=self.tenants.set_list)

    def act(self) -> None:
        """Something happens to somebody."""
        (write,) = self.chance.choices(self._writes, self._weights)
        living = self.tenants.current.keys() & set(self.keys)
        if self.habits.population is not None:
            least, most = self.habits.population
            if write in (self.delete, self.recreate) and len(living) <= least:
                write = self.create
            elif write == self.create and len(living) >= most:
                write = self.delete
        left = sorted(living - self._sound.keys() - (self.touched or set()))
        key = self.chance.choice(left) if left else ""
        one = self.one(key)
        if write == self.create or one is None:
            self.create()
        elif one.deleted:
            self._change_the_dead(key, one)
        else:
            self._touch(key)
            write(key, one)

    def _touch(self, key: str) -> None:
        if self.touched is not None:
            self.touched.add(key)

    def _turn(self, key: str, uid: str) -> None:
        one = self.one(key, uid)
        if one is None:
            return
        if one.deleted:
            self._change_the_dead(key, one)
        elif key not in self._sound or not self.is_torn(one):
            (write,) = self.chance.choices(self._writes, self._weights)
            again = write(key, one)
            if again is not None and self.happens(self.habits.same_hands):
                self.later(self.chance.uniform(0.1, 300), lambda: self._once_more(key, uid, again))
        self._goes_on(key, uid)

    def _goes_on(self, key: str, uid: str) -> None:
        if self.habits.turns:
            self.later(300 + self.chance.expovariate(1 / 600), lambda: self._turn(key, uid))

    def _once_more(self, key: str, uid: str, again: Again) -> None:
        one = self.one(key, uid)
        if one is not None and not one.deleted and not self.is_torn(one):
            again()

    def _change_the_dead(self, key: str, one: One) -> None:
        if self.happens(self.habits.posthumous):
            self.patch(key, "portal", spec={"packages": self.other_packages(one)})

    # Birth and death

    def fill(self, number: int) -> None:
        for _ in range(number):
            self._born(self._free.pop())

    def create(self, _key: str = "", _one: One | None = None) -> None:
        """Somebody new, under a name that is free."""
        free = [key for key in self._free if key not in (self.touched or ())]
        if free:
            self._free.remove(free[-1])
            self._born(free[-1])

    def _born(self, key: str) -> None:
        if key in self.tenants.current:
            return
        chance = self.chance
        namespace, _, name = key.rpartition("/")
        spec: Json = {"packages": self.some_packages()}
        if self.happens(0.85):
            spec["suspend"] = self.happens(0.1)
        org = self._orgs[key] = f"3208154709{chance.randrange(100):08}"
        label = None if self.happens(self.habits.unlabelled) else org
        metadata: Json = {"labels": {ORG_LABEL: label}} if label else {}
        if self.happens(self.habits.finalizers):
            metadata["finalizers"] = [CLEANUP]
        uid = self._uid()
        if self.happens(0.3):
            self.tenants.apply(
                name,
                namespace=namespace or None,
                manager="gitops",
                uid=uid,
                metadata=metadata,
                spec=spec,
            )
        else:
            self.tenants.create(
                name,
                None,
                org=None,
                uid=uid,
                namespace=namespace or None,
                manager=chance.choice(UPDATERS),
                metadata=metadata,
                spec=spec,
            )
        self._touch(key)
        if label is None:
            self.later(chance.uniform(1, 7200), lambda: self._heal(key, uid))
        if spec.get("suspend"):
            self.operator_reacts(key)
        self._goes_on(key, uid)

    def _uid(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def delete(self, key: str, one: One) -> None:
        """Somebody goes, at once or once the finalizer is gone."""
        has_finalizer = "finalizers" in one.resource["metadata"]
        if has_finalizer and self.weak != 0 and self.happens(self.habits.weak):
            self.patch(key, self.chance.choice(UPDATERS), metadata={"finalizers": None})
            has_finalizer = False
        if not has_finalizer:
            if self.weak == 0:
                return
            self.weak = None if self.weak is None else self.weak - 1
        self.tenants.delete(**self.where(key))
        if has_finalizer:
            self.later(self.chance.choice(self.habits.linger), lambda: self._let_go(key, one.uid))
        else:
            self._is_free(key)

    def recreate(self, key: str, one: One) -> None:
        """Somebody goes, and another is there under the same name at once."""
        self.delete(key, one)
        if key in self._free:
            self._free.remove(key)
            self._born(key)

    def remove(self, key: str) -> Json:
        """It is gone at once; returns what it was."""
        resource = self.tenants.current[key]
        self.patch(key, "cleanup", metadata={"finalizers": None})
        if key in self.tenants.current:
            self.tenants.delete(**self.where(key))
        return resource

    def _let_go(self, key: str, uid: str) -> None:
        if self.one(key, uid) is not None:
            self.patch(key, "cleanup", metadata={"finalizers": None})
            self._is_free(key)

    def _is_free(self, key: str) -> None:
        delay = self.chance.choice(self.habits.reborn)
        if delay is None:
            self._free.insert(self.chance.randrange(len(self._free) + 1), key)
        else:
            self.later(delay, lambda: self._born(key))

    # Backups

    def come_back(self, _key: str, _one: One) -> None:
        """Somebody puts a tenant that is gone back as it was, with its uid."""
        current = self.tenants.current
        events = [event for event in self.tenants.log if event.kind == "DELETED"]
        gone = [event for event in events if event.key in self._free and event.key not in current]
        if gone:
            event = self.chance.choice(gone)
            self._free.remove(event.key)
            self.tenants.put_object(merged(event.resource, _WITHOUT_DELETION))
            self.back[event.key] = event.resource["metadata"]["uid"]

    def restore_under_other_uids(self) -> None:
        """The cluster is made anew from a backup that does not keep uids."""
        for key in sorted(self.tenants.current):
            resource = merged(self.remove(key), _WITHOUT_DELETION)
            times = {"uid": self._uid(), "creationTimestamp": rfc3339(self.tenants.now())}
            self.tenants.put_object(merged(resource, {"metadata": times}))

    # What goes wrong

    def is_torn(self, one: One) -> bool:
        """Whether its spec says nothing that could be changed."""
        packages = one.resource["spec"].get("packages")
        return not (packages is None or isinstance(packages, list)) or one.suspend not in (
            None,
            True,
            False,
        )

    def change_org(self, key: str, _: One) -> None:
        """It is another's from now on, also once it heals."""
        org = self._orgs[key] = f"3208154709{self.chance.randrange(100):08}"
        self.patch(key, "support", metadata={"labels": {ORG_LABEL: org}})

    def break_it(self, key: str, one: One) -> None:
        """Something that quarantines, until it heals."""
        patch = self.chance.choice(self.habits.odd)
        self._sound[key] = one.resource
        self.patch(key, "operator" if "status" in patch else "support", **patch)
        delay = self.chance.expovariate(1 / self.habits.healing)
        self.later(delay, lambda: self._heal(key, one.uid))

    def _heal(self, key: str, uid: str) -> None:
        sound, one = self._sound.pop(key, None), self.one(key, uid)
        if one is None:
            return
        self._touch(key)
        if one.status_time is not None and not is_time(one.status_time):
            self.tell_status(key, suspended=one.suspend is True)
        patch: Json = {"metadata": {"labels": {ORG_LABEL: self._orgs[key]}}}
        if sound is not None and self.is_torn(one):
            before = One(sound, set_list=self.tenants.set_list)
            packages = self.other_packages(before) if self.happens(0.5) else before.packages
            patch["spec"] = {"packages": packages, "suspend": before.suspend}
        self.patch(key, "support", **patch)
