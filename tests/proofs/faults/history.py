"""A seeded life of a cluster: what its tenants go through, step by step, and the truth about it.

The same seed tells the same life to any number of servers. In each step something changes that a pass
has to write. Times are a script's: the clock stands still while a pass is made.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from tests.apiserver import ApiServer, Json

SKILLS: Final = ("browser", "calendar", "chat", "mail", "search", "threema", "vault", "wiki")
NAMES: Final = tuple(
    f"{animal}-{number}" for animal in ("adler", "biber", "dachs") for number in range(6)
)
NAMESPACES: Final = ("north", "south")

# The hour that Zurich has twice lies in the first steps.
BEGINNING: Final = datetime(2026, 10, 25, 0, 10, 0, 300_000, tzinfo=UTC)
STEP: Final = timedelta(minutes=20)


@dataclass
class Clock:
    """The time of the script."""

    now: datetime = BEGINNING

    def __call__(self) -> datetime:
        return self.now


class Cluster(ApiServer):
    """An API server whose time is the script's."""

    clock: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.clock() + timedelta(seconds=self.clock_skew)


class Truth(NamedTuple):
    """Something that happened, and when it did."""

    at: datetime
    uid: str
    kind: str
    skill: str | None = None


class _Seen(NamedTuple):
    skills: frozenset[str]
    suspended: bool
    deleted: bool


@dataclass
class History:
    """Writes one step after the other to a server's tenants."""

    seed: int
    server: Cluster
    clock: Clock
    truth: list[Truth] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311
        self._seen: dict[str, _Seen] = {}
        self._sound: dict[str, Json] = {}
        """The malformed tenants as they were before, by key."""
        self._touched: set[str] = set()
        self._weak = 0

    def begin(self) -> None:
        """The cluster as it is before the first pass."""
        for key in self._random.sample(self._keys(), 9):
            self._create(key)
        self._note()
        self.clock.now = BEGINNING + STEP

    def step(self) -> None:
        """A few writes, at least one of them a change of a tenant; then the time of a pass."""
        self._touched, self._weak = set(), 0
        end = self.clock.now + STEP
        writes: list[Callable[[], None]] = [self._toggle]
        writes += self._random.choices(
            [
                *(self._toggle, self._suspend, self._new, self._delete, self._finish_deletion),
                *(self._recreate, self._malform, self._heal),
            ],
            [4, 3, 4, 3, 3, 1, 1, 3],
            k=self._random.randint(1, 5),
        )
        for write in writes:
            self.clock.now += timedelta(seconds=self._random.uniform(1, 150))
            write()
            self._note()
        self.clock.now = end + timedelta(microseconds=self._random.randrange(1_000_000))

    # The writes ------------------------------------------------------------------------------------

    def _toggle(self) -> None:
        if key := self._pick(lambda one: not one.deleted):
            packages = self._packages(self._now(key)["spec"].get("packages"))
            self._patch(key, spec={"packages": packages})

    def _suspend(self) -> None:
        if key := self._pick(lambda one: not one.deleted):
            spec = self._now(key)["spec"]
            suspends = not spec.get("suspend")
            self._patch(key, spec={"suspend": suspends})
            self._note()
            if suspends and self._random.random() < 0.7:
                self.clock.now += timedelta(seconds=2)
                at = self.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
                self._patch(key, manager="operator", status={"suspendedAt": at})
            elif not suspends and self._random.random() < 0.5:
                self._patch(key, manager="operator", status={"suspendedAt": None})

    def _new(self) -> None:
        free = sorted(set(self._keys()) - self.server.tenants.current.keys() - self._touched)
        if free and len(self.server.tenants.current) < 14:
            self._create(self._random.choice(free))

    def _delete(self) -> None:
        if key := self._pick(self._may_vanish):
            self._remove(key)

    def _recreate(self) -> None:
        if key := self._pick(self._may_vanish):
            self._remove(key)
            if key not in self.server.tenants.current:
                self.clock.now += timedelta(seconds=self._random.choice((0, 0.2, 30)))
                self._note()
                self._create(key)

    def _finish_deletion(self) -> None:
        if key := self._pick(lambda one: one.deleted):
            self._patch(key, manager="operator", metadata={"finalizers": None})

    def _malform(self) -> None:
        if key := self._pick(lambda one: not one.deleted):
            self._sound[key] = self._now(key)
            label = self.server.org_label
            patches: list[Json] = [
                {"spec": {"packages": "mail"}},
                {"spec": {"packages": ["mail", 7]}},
                {"spec": {"packages": ["mail\0"]}},
                {"spec": {"suspend": "yes"}},
                {"status": {"suspendedAt": "yesterday"}},
                {"metadata": {"labels": {label: None}}},
                {"metadata": {"labels": {label: "another"}}},
            ]
            self._patch(key, manager="gitops", **self._random.choice(patches))

    def _heal(self) -> None:
        healing = sorted(self._sound.keys() & self.server.tenants.current.keys() - self._touched)
        if healing:
            key = self._random.choice(healing)
            sound = self._sound.pop(key)
            self._touched.add(key)
            spec = {"suspend": sound["spec"].get("suspend"), "packages": sound["spec"].get("packages")}
            if self._random.random() < 0.5:
                spec["packages"] = self._packages(spec["packages"])
            status = {"suspendedAt": sound.get("status", {}).get("suspendedAt")}
            labels = sound["metadata"]["labels"]
            self._patch(key, manager="gitops", spec=spec, metadata={"labels": labels})
            self._patch(key, manager="gitops", status=status)

    # How -------------------------------------------------------------------------------------------

    def _keys(self) -> list[str]:
        if not self.server.namespaced:
            return list(NAMES)
        return [f"{namespace}/{name}" for name in NAMES[:9] for namespace in NAMESPACES]

    def _pick(self, wanted: Callable[[_Seen], bool]) -> str | None:
        current = self.server.tenants.current
        found = [
            key
            for key in sorted(current.keys() - self._touched - self._sound.keys())
            if (one := self._seen.get(current[key]["metadata"]["uid"])) and wanted(one)
        ]
        if not found:
            return None
        self._touched.add(key := self._random.choice(found))
        return key

    def _may_vanish(self, one: _Seen) -> bool:
        staying = sum(not one.deleted for one in self._seen.values())
        return not one.deleted and self._weak < 2 and staying > 7

    def _packages(self, before: list[str] | None) -> list[str]:
        """Others than before."""
        while True:
            after = self._random.sample(SKILLS, self._random.randint(0, 4))
            if set(after) != set(before or ()):
                return after

    def _create(self, key: str) -> None:
        self._touched.add(key)
        finalizers = ["pieced.ch/teardown"] if self._random.random() < 0.4 else None
        more: Json = {"metadata": {"finalizers": finalizers}}
        self.server.tenants.create(
            key.rpartition("/")[2],
            self._random.choice([None, self._packages(None), self._packages([])]),
            suspend=self._random.choice([None, None, False, True]),
            org=f"32081547090000000{self._random.randint(1, 4)}",
            uid=str(UUID(int=self._random.getrandbits(128), version=4)),
            namespace=key.rpartition("/")[0] or None,
            manager=self._random.choice(["portal", "gitops"]),
            **more,
        )

    def _remove(self, key: str) -> None:
        self._weak += 1
        namespace, _, name = key.rpartition("/")
        self.server.tenants.delete(name, namespace=namespace or None)

    def _patch(self, key: str, *, manager: str = "portal", **patch: Any) -> None:
        namespace, _, name = key.rpartition("/")
        self.server.tenants.patch(name, namespace=namespace or None, manager=manager, **patch)

    def _now(self, key: str) -> Json:
        return deepcopy(self.server.tenants.current[key])

    # The truth -------------------------------------------------------------------------------------

    def _note(self) -> None:
        """Writes down what has happened since the last time."""
        now, current = self.clock.now, self.server.tenants.current
        living = {item["metadata"]["uid"]: key for key, item in current.items()}
        for uid in self._seen.keys() - living.keys():
            if not self._seen.pop(uid).deleted:
                self.truth.append(Truth(now, uid, "deleted"))
        self._sound = {key: item for key, item in self._sound.items() if _same(item, current.get(key))}
        for uid, key in living.items():
            if key in self._sound:
                continue
            resource = current[key]
            spec, metadata = resource["spec"], resource["metadata"]
            suspend = spec.get("suspend")
            after = _Seen(
                frozenset(spec.get("packages") or ()),
                bool(resource.get("status", {}).get("suspendedAt")) if suspend is None else suspend,
                "deletionTimestamp" in metadata,
            )
            before = self._seen.get(uid)
            if before is None:
                self.truth.append(Truth(now, uid, "created"))
            before = before or _Seen(frozenset(), suspended=False, deleted=False)
            new, old = after.skills - before.skills, before.skills - after.skills
            self.truth += [Truth(now, uid, "enabled", skill) for skill in new]
            self.truth += [Truth(now, uid, "disabled", skill) for skill in old]
            if after.suspended != before.suspended:
                kind = "suspended" if after.suspended else "resumed"
                self.truth.append(Truth(now, uid, kind))
            if after.deleted and not before.deleted:
                self.truth.append(Truth(now, uid, "deleted"))
            self._seen[uid] = after


def _same(one: Json, other: Json | None) -> bool:
    return other is not None and one["metadata"]["uid"] == other["metadata"]["uid"]
