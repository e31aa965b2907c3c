"""The writer of a storm: many changes, by chance but from a seed, each as an honest manager makes it."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from random import Random
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from tests.apiserver import Json, Tenants
from tests.proofs.storm.truth import Change, Kind, Truth

SKILLS: Final = ("calendar", "chat", "crm", "files", "mail", "office", "search", "threema", "wiki")
UPDATERS: Final = ("portal", "gitops", "console")
APPLIER: Final = "flux"
CLEANUP: Final = "pieced.ch/cleanup"

_MOVES: Final[Mapping[str, int]] = {
    "skills": 48,
    "flap": 12,
    "suspension": 16,
    "noise": 10,
    "create": 7,
    "delete": 7,
}
"""What is done next, by its share in a hundred."""


class Storm:
    """Changes about so many tenants, by so many writes a second, or as fast as it can (None).

    It writes in a thread for as long as its context lasts, or until as many `changes` as are wished were
    made. The same seed makes the same changes. No more than `most_weak` deletions are without a
    finalizer (None: as chance has it), so that a brake need not hold them; one with a finalizer stays
    for `linger` further writes, so that a list still sees its deletionTimestamp. It is the only one
    that may write to its tenants, and the store may not be rolled back below what the truth has.
    """

    def __init__(
        self,
        store: Tenants,
        seed: int,
        tenants: int,
        rate: float | None = None,
        *,
        changes: int | None = None,
        most_weak: int | None = None,
        linger: int = 20,
        prefix: str = "storm-",
    ) -> None:
        self.store = store
        self.truth = Truth()
        self.writes = 0
        """All of them, also those that change nothing that can be billed."""
        self.error: BaseException | None = None
        """What ended the storm before its time; `join` raises it."""
        self._random = Random(seed)  # noqa: S311
        self._tenants, self._rate, self._changes = tenants, rate, changes
        self._most_weak, self._linger, self._prefix = most_weak, linger, prefix
        self._live: list[str] = []
        self._going: deque[tuple[int, str]] = deque()
        """Of each tenant whose deletion is committed: after which write it goes, and its name."""
        self._free: list[str] = []
        self._named = self._weak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._blow, name="storm")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def fill(self) -> None:
        """Create the tenants, at once, before the storm begins; their changes are in the truth."""
        while len(self._live) < self._tenants:
            self._create()

    def join(self, seconds: float | None = None) -> None:
        """Wait until all changes that were wished for are made. TimeoutError."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"{len(self.truth)} changes are made, and the storm is not over")
        if self.error is not None:
            raise self.error

    def _blow(self) -> None:
        began, before, until = time.monotonic(), self.writes, None
        if self._changes is not None:
            until = len(self.truth) + self._changes
        try:
            for _ in self._moves():
                if self._stop.is_set() or (until is not None and len(self.truth) >= until):
                    return
                if self._rate is not None:
                    due = began + (self.writes - before) / self._rate
                    self._stop.wait(max(0.0, due - time.monotonic()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the test waits.
            self.error = error

    def _moves(self) -> Iterator[None]:
        """Write for ever; each step has made a write, and a flap several."""
        moves, shares = list(_MOVES), list(_MOVES.values())
        while True:
            while self._going and self._going[0][0] <= self.writes:
                self._finalize(self._going.popleft()[1])
                yield
            move = self._random.choices(moves, shares)[0]
            if len(self._live) < max(2, self._tenants * 3 // 4):
                move = "create"
            elif move == "create" and len(self._live) > self._tenants * 5 // 4:
                move = "delete"
            match move:
                case "skills":
                    self._set_skills(self._one())
                    yield
                case "flap":
                    yield from self._flap(self._one())
                case "suspension":
                    yield from self._switch_suspension(self._one())
                case "noise":
                    self._make_noise()
                    yield
                case "create":
                    self._create()
                    yield
                case "delete":
                    self._delete(self._one())
                    yield

    def _one(self) -> str:
        return self._random.choice(self._live)

    def _create(self) -> None:
        if self._free and self._random.random() < 0.5:
            name = self._free.pop(self._random.randrange(len(self._free)))
        else:
            self._named += 1
            name = f"{self._prefix}{self._named:05}"
        packages = self._random.sample(SKILLS, self._random.randint(0, 4))
        began = self.store.now()
        created = self.store.create(
            name,
            packages,
            suspend=self._random.random() < 0.1,
            org=f"32081547{self._random.randrange(10**10):010}",
            uid=str(UUID(int=self._random.getrandbits(128), version=4)),
            manager=self._random.choice(UPDATERS),
            metadata={"finalizers": [CLEANUP]},
        )
        self._live.append(name)
        self._record({}, created, began)

    def _delete(self, name: str) -> None:
        weak = self._random.random() < 0.3
        if self._most_weak is not None and self._weak >= self._most_weak:
            weak = False
        if weak and CLEANUP in self.store.current[name]["metadata"].get("finalizers", ()):
            self._patch(name, {"metadata": {"finalizers": None}})
        self._live.remove(name)
        before = self.store.current[name]
        began = self.store.now()
        after = self.store.delete(name)
        self._record(before, after, began, deleted=True, weak=weak)
        if weak:
            self._weak += 1
            self._free.append(name)
        else:
            self._going.append((self.writes + self._linger, name))

    def _finalize(self, name: str) -> None:
        self.store.patch(name, metadata={"finalizers": None}, manager="operator")
        self.writes += 1
        self._free.append(name)

    def _set_skills(self, name: str) -> None:
        """Another set of skills, in one write: one or several are switched."""
        switched = set(self._random.sample(SKILLS, self._random.choice((1, 1, 1, 2, 3))))
        self._set_packages(name, sorted(set(self._packages(name)) ^ switched))

    def _flap(self, name: str) -> Iterator[None]:
        """One skill on and off, or off and on, as fast as can be; now and then more than once."""
        skill = self._random.choice(SKILLS)
        for _ in range(2 * self._random.choice((1, 1, 2))):
            self._set_packages(name, sorted(set(self._packages(name)) ^ {skill}))
        yield

    def _switch_suspension(self, name: str) -> Iterator[None]:
        """The portal switches it; the operator then writes its status, or is too late for a resume."""
        suspend = not self.store.current[name]["spec"]["suspend"]
        self._patch(name, {"spec": {"suspend": suspend}})
        yield
        if suspend:
            stamp = self.store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            self.store.set_status(name, {"suspendedAt": stamp})
            self.writes += 1
            yield
        elif self._random.random() < 0.5:
            self.store.set_status(name, {"suspendedAt": None})
            self.writes += 1
            yield

    def _make_noise(self) -> None:
        """Something that cannot be billed: a label, or the skills of a tenant that is on its way out."""
        if self._going and self._random.random() < 0.3:
            name = self._random.choice(self._going)[1]
            skills = self._random.sample(SKILLS, 2)
            self.store.patch(name, spec={"packages": skills}, manager="gitops")
        else:
            plan = {"pieced.ch/plan": self._random.choice(("free", "pro", "team"))}
            manager = self._random.choice(UPDATERS)
            self.store.patch(self._one(), metadata={"labels": plan}, manager=manager)
        self.writes += 1

    def _packages(self, name: str) -> list[str]:
        packages: list[str] = self.store.current[name]["spec"]["packages"]
        return packages

    def _set_packages(self, name: str, packages: Sequence[str]) -> None:
        if self._random.random() < 0.15:
            before, began = self.store.current[name], self.store.now()
            spec = {"packages": list(packages)}
            after = self.store.apply(name, manager=APPLIER, force=True, spec=spec)
            self._record(before, after, began)
        else:
            self._patch(name, {"spec": {"packages": list(packages)}})

    def _patch(self, name: str, patch: Json) -> None:
        before, began = self.store.current[name], self.store.now()
        after = self.store.patch(name, manager=self._random.choice(UPDATERS), **patch)
        self._record(before, after, began)

    def _record(
        self, before: Json, after: Json, began: datetime, *, deleted: bool = False, weak: bool = False
    ) -> None:
        """Add what a write has changed to the truth."""
        self.writes += 1
        old, new = before.get("spec", {}), after["spec"]
        had, has = set(old.get("packages", ())), set(new["packages"])
        found: list[tuple[Kind, str | None]] = []
        if not before:
            found.append((Kind.CREATED, None))
        found += [(Kind.ENABLED, skill) for skill in sorted(has - had)]
        found += [(Kind.DISABLED, skill) for skill in sorted(had - has)]
        if new["suspend"] != old.get("suspend", False):
            found.append((Kind.SUSPENDED if new["suspend"] else Kind.RESUMED, None))
        if deleted:
            found.append((Kind.DELETED, None))
        metadata, done = after["metadata"], self.store.now()
        self.truth.add(
            Change(
                kind=kind,
                name=metadata["name"],
                uid=metadata["uid"],
                skill=skill,
                began=began,
                done=done,
                revision=int(metadata["resourceVersion"]),
                weak=weak,
            )
            for kind, skill in found
        )
