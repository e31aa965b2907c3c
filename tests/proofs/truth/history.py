"""A seeded history of a cluster: portal, operator, gitops, flux and support at work on its tenants.

Each tenant is written to again and again: after a write, in 10 % of cases by the same hands within five
minutes (a label, a status, another change, a flap), and otherwise after five minutes and more. All that
managers do to managedFields happens: patches, applies, applies of what is there already, shares given
up, lists in sets, removals, more managers than are kept, times that are cleared, forged or missing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final
from uuid import UUID

from tests.apiserver import Json
from tests.apiserver.ownership import SUSPEND, Conflict, Owner, Share
from tests.proofs.truth.cluster import (
    HOUR,
    MINUTE,
    ODD_TIME,
    ORG_LABEL,
    SECOND,
    Cluster,
    Stored,
    rfc3339,
)

SKILLS: Final = (
    "browser",
    "calendar",
    "chat",
    "crm",
    "mail",
    "search",
    "threema",
    "vault",
    "wïki",
    'a"b',
)
UPDATERS: Final = ("portal", "portal", "portal", "gitops", "support")
APPLIERS: Final = ("gitops", "flux", "console")
SAME_HANDS_AGAIN: Final = 0.10

Again = Callable[[], None]
"""What the same hands may do to the tenant once more."""


class History:
    """Makes the history: `run` until so many changes that count were made."""

    def __init__(self, seed: str, begin: int, *, tenants: int, set_list: bool) -> None:
        self.rng = Random(seed)  # noqa: S311 - to be told again
        self.cluster = Cluster(self._new_uid, set_list=set_list)
        self.now = begin
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()
        self._orgs: dict[str, str] = {}
        for number in range(tenants):
            self._later(self.rng.uniform(0, 600), self._born, f"tenant-{number:02}")

    def run(self, changes: int) -> None:
        while len(self.cluster.truth) < changes:
            at, _, action = heappop(self._agenda)
            self.now = max(self.now, at)
            action()
        self._agenda.clear()
        for name, one in self.cluster.live.items():
            if not one.deleted:
                self.now += SECOND
                self._heal(name)

    def _new_uid(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def _later(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        at = self.now + max(1, round(seconds * SECOND))
        heappush(self._agenda, (at, next(self._number), lambda: action(*arguments)))

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # --- The life of a tenant ---

    def _born(self, name: str) -> None:
        spec: Json = {"packages": self._some(self.rng.choice((0, 1, 2, 3)))}
        if self._chance(0.85):
            spec["suspend"] = self._chance(0.1)
        org = self._orgs[name] = f"3208154709{self.rng.randrange(100):08}"
        metadata: Json = {"name": name, "labels": {ORG_LABEL: org}}
        if self._chance(0.4):
            metadata["finalizers"] = ["pieced.ch/cleanup"]
        if self._chance(0.03):
            del metadata["labels"]
            self._later(self.rng.uniform(1, 7200), self._if_there, name, self._heal)
        body = {"metadata": metadata, "spec": spec}
        if self._chance(0.3):
            self.cluster.apply(self.now, "gitops", name, body)
        else:
            self.cluster.create(self.now, self.rng.choice(UPDATERS), body)
        if spec.get("suspend"):
            self._operator_reacts(name)
        self._goes_on(name, self.cluster.live[name].uid)

    def _goes_on(self, name: str, uid: str) -> None:
        self._later(300 + self.rng.expovariate(1 / 600), self._turn, name, uid)

    def _turn(self, name: str, uid: str) -> None:
        one = self.cluster.live.get(name)
        if one is None or one.uid != uid:
            return
        if one.deleted:
            self._patch("portal", name, {"spec": {"packages": self._other(one)}})
        elif (again := self._act(name, one)) and self._chance(SAME_HANDS_AGAIN):
            self._later(self.rng.uniform(0.1, 300), self._if_same, name, uid, again)
        self._goes_on(name, uid)

    def _if_same(self, name: str, uid: str, again: Again) -> None:
        one = self.cluster.live.get(name)
        if one is not None and one.uid == uid and not one.deleted:
            again()

    def _if_there(self, name: str, action: Callable[[str], None]) -> None:
        if name in self.cluster.live:
            action(name)

    def _act(self, name: str, one: Stored) -> Again | None:
        choices = self._actions()
        ((_, action),) = self.rng.choices(choices, [weight for weight, _ in choices])
        return action(name, one)

    def _actions(self) -> Sequence[tuple[float, Callable[[str, Stored], Again | None]]]:
        return (
            (46, self._update_packages),
            (12, self._apply_packages),
            (13, self._switch),
            (5, self._apply_what_is_there),
            (2, self._give_up),
            (7, self._noise),
            (3, self._null),
            (3, self._status_noise),
            (2.5, self._many_managers),
            (0.1, self._let_an_early_sharer_stay),
            (2, self._die),
            (0.4, self._odd),
            (0.6, self._forge),
            (0.2, self._clear),
        )

    # --- What they do ---

    def _update_packages(self, name: str, one: Stored) -> Again:
        manager = self.rng.choice(UPDATERS)
        before = list(one.packages)
        self._patch(manager, name, {"spec": {"packages": self._other(one)}})
        return lambda: self._again(manager, name, {"spec": {"packages": before}})

    def _apply_packages(self, name: str, one: Stored) -> Again:
        manager, before = self.rng.choice(APPLIERS), list(one.packages)
        spec: Json = {"packages": self._other(one)}
        switch = SUSPEND in one.shares.get(Owner("Apply", manager), Share(frozenset(), 0)).fields
        if one.suspend is not None and (switch or self._chance(0.3)):
            spec["suspend"] = one.suspend
        self._apply(manager, name, spec, force=self._chance(0.7))
        spec = {**spec, "packages": before}
        return lambda: self._apply(manager, name, spec, force=True)

    def _apply_what_is_there(self, name: str, one: Stored) -> Again:
        manager = self.rng.choice(APPLIERS)
        spec: Json = {}
        if self._chance(0.8):
            spec["packages"] = list(one.packages)
        if one.suspend is not None and self._chance(0.5):
            spec["suspend"] = one.suspend
        self._apply(manager, name, spec, force=False)
        return lambda: self._apply(manager, name, {}, force=False)

    def _give_up(self, name: str, one: Stored) -> Again | None:
        appliers = sorted(owner.manager for owner in one.shares if owner.operation == "Apply")
        if not appliers:
            return None
        manager = self.rng.choice(appliers)
        self._apply(manager, name, {"plan": "pro"} if self._chance(0.5) else {}, force=True)
        return lambda: self._apply(manager, name, {"plan": "free"}, force=True)

    def _switch(self, name: str, one: Stored) -> Again:
        manager = self.rng.choice(UPDATERS)
        if one.suspend is None and self._chance(0.6):
            # By the status alone, whose time is the operator's.
            self._tell_status(name, suspended=not one.suspended)
            return lambda: self._tell_status(name, suspended=not one.suspended)
        value = not one.suspended
        if self._chance(0.25):
            self._apply(self.rng.choice(APPLIERS), name, {"suspend": value}, force=True)
        else:
            self._patch(manager, name, {"spec": {"suspend": value}})
        self._operator_reacts(name)
        return lambda: self._again(manager, name, {"spec": {"suspend": not value}})

    def _let_an_early_sharer_stay(self, name: str, one: Stored) -> None:
        """The gap that the rules of time accept (recording: early-time-alone)."""
        if one.suspend is None or self.cluster.set_list:
            return
        packages = {"packages": self._other(one)}
        others = {"suspend": one.suspend, "plan": f"{next(self._number)}"}
        steps: Sequence[tuple[str, Json]] = (
            ("flux", others),
            ("console", packages),
            ("flux", {**others, **packages}),
            ("console", {}),
        )
        after = 0.0
        for manager, applied in steps:
            after += self.rng.uniform(2, 30)
            self._later(after, self._if_there, name, partial(self._force, manager, applied))

    def _force(self, manager: str, spec: Json, name: str) -> None:
        self._apply(manager, name, spec, force=True)

    def _null(self, name: str, _: Stored) -> Again:
        manager, key = self.rng.choice(UPDATERS), self.rng.choice(("packages", "suspend"))
        self._patch(manager, name, {"spec": {key: None}})
        return lambda: self._label(manager, name)

    def _noise(self, name: str, _: Stored) -> Again:
        manager = self.rng.choice(UPDATERS)
        self._label(manager, name)
        return lambda: self._label(manager, name)

    def _status_noise(self, name: str, _: Stored) -> Again:
        def touch() -> None:
            self.cluster.patch_status(
                self.now, "operator", name, {"status": {"seen": next(self._number)}}
            )

        touch()
        return touch

    def _many_managers(self, name: str, _: Stored) -> None:
        for number in range(self.rng.randrange(2, 14)):
            patch = {"metadata": {"annotations": {f"batch-{number}": f"{next(self._number)}"}}}
            self.cluster.patch(self.now, f"batch-{number:02}", name, patch)
            self.now += 1

    def _die(self, name: str, one: Stored) -> None:
        self.cluster.delete(self.now, name)
        if one.deleted:
            self._later(self.rng.choice((0.5, 20, 900, 7200)), self._let_go, name, one.uid)
        else:
            self._reborn(name)

    def _let_go(self, name: str, uid: str) -> None:
        one = self.cluster.live.get(name)
        if one is not None and one.uid == uid:
            self._patch("cleanup", name, {"metadata": {"finalizers": None}})
            self._reborn(name)

    def _reborn(self, name: str) -> None:
        self._later(self.rng.choice((0.002, 0.5, 30, 400, 3000, 10_000)), self._born, name)

    def _odd(self, name: str, _: Stored) -> None:
        """Something that quarantines, until it heals."""
        match self.rng.randrange(3):
            case 0:
                self._patch("support", name, {"metadata": {"labels": {ORG_LABEL: None}}})
            case 1:
                self._patch("support", name, {"metadata": {"labels": {ORG_LABEL: "another"}}})
            case _:
                status = {"status": {"suspendedAt": ODD_TIME}}
                self.cluster.patch_status(self.now, "operator", name, status)
        self._later(self.rng.expovariate(1 / 1200), self._if_there, name, self._heal)

    def _heal(self, name: str) -> None:
        one = self.cluster.live[name]
        if one.status_time == ODD_TIME:
            self._tell_status(name, suspended=bool(one.suspend))
        self._patch("support", name, {"metadata": {"labels": {ORG_LABEL: self._orgs[name]}}})

    # --- Times that are not those of the changes ---

    def _forge(self, name: str, one: Stored) -> None:
        def other(share: Share) -> Share:
            now = self.now // SECOND
            return share._replace(
                second=self.rng.choice(
                    (None, now - 10**8, now + 10**8, now - self.rng.randrange(600), share.second)
                )
            )

        shares = {owner: other(share) for owner, share in one.shares.items()}
        if self._chance(0.2):
            shares = {Owner("Update", "ghost"): other(Share(frozenset(one.fields), 0))}
        if shares:
            patch = {"metadata": {"annotations": {"restored": f"{next(self._number)}"}}}
            self.cluster.replace(self.now, "restorer", name, patch, shares)

    def _clear(self, name: str, _: Stored) -> None:
        patch = {"metadata": {"annotations": {"cleared": f"{next(self._number)}"}}}
        self.cluster.replace(self.now, "restorer", name, patch, {})

    # --- By whom and how ---

    def _patch(self, manager: str, name: str, patch: Json) -> None:
        self.cluster.patch(self.now, manager, name, patch)

    def _again(self, manager: str, name: str, patch: Json) -> None:
        """The same hands: more often than not a touch, else the way back."""
        if self._chance(0.6):
            self._label(manager, name)
        else:
            self._patch(manager, name, patch)
            if "suspend" in patch["spec"]:
                self._operator_reacts(name)

    def _label(self, manager: str, name: str) -> None:
        where = self.rng.choice(("labels", "annotations"))
        self._patch(manager, name, {"metadata": {where: {f"{manager}/note": f"{next(self._number)}"}}})

    def _apply(self, manager: str, name: str, spec: Json, *, force: bool) -> None:
        if self.cluster.set_list and "packages" in spec and self._chance(0.5):
            spec = {**spec, "packages": self._picked(spec["packages"], 2)}
        metadata: Json = {"name": name, "annotations": {f"{manager}/applied": "yes"}}
        one = self.cluster.live[name]
        labels = one.shares.get(Owner("Apply", manager), Share(frozenset(), 0)).fields
        if ("f:metadata", "f:labels", f"f:{ORG_LABEL}") in labels:
            metadata["labels"] = {ORG_LABEL: one.resource["metadata"]["labels"][ORG_LABEL]}
        if ("f:metadata", "f:finalizers", 'v:"pieced.ch/cleanup"') in labels:
            metadata["finalizers"] = ["pieced.ch/cleanup"]
        try:
            self.cluster.apply(
                self.now, manager, name, {"metadata": metadata, "spec": spec}, force=force
            )
        except Conflict:
            return
        self._operator_reacts(name)

    def _operator_reacts(self, name: str) -> None:
        one = self.cluster.live.get(name)
        if one is None or one.suspend is None or one.suspended == (one.status_time is not None):
            stale = one is not None and one.suspend and one.status_time is not None
            if not stale:
                return
        lag = self.rng.choice((0.1, 0.7, 1.5, 3, 3, 40)) * self.rng.uniform(0.6, 1.5)
        if self._chance(0.75):
            self._later(lag, self._react, name, one.uid if one else "")

    def _react(self, name: str, uid: str) -> None:
        one = self.cluster.live.get(name)
        if one is not None and one.uid == uid and one.suspend is not None:
            self._tell_status(name, suspended=one.suspended)

    def _tell_status(self, name: str, *, suspended: bool) -> None:
        time = rfc3339(self.now // SECOND) if suspended else None
        if time and self._chance(0.05):
            time = rfc3339(self.now // SECOND + 7200).replace("Z", ".25+02:00")
        self.cluster.patch_status(self.now, "operator", name, {"status": {"suspendedAt": time}})

    # --- Which skills ---

    def _some(self, number: int) -> list[str]:
        return self.rng.sample(SKILLS, number)

    def _picked(self, packages: Sequence[str], most: int) -> list[str]:
        return self.rng.sample(list(packages), min(len(packages), max(most, 0)))

    def _other(self, one: Stored) -> list[str]:
        """Another list than the tenant has: some more, some fewer, now and then none or the same."""
        packages = list(dict.fromkeys(one.packages))
        missing = [skill for skill in SKILLS if skill not in packages]
        match self.rng.choices(
            ("more", "fewer", "both", "order", "none", "double"), (45, 28, 15, 5, 4, 3)
        )[0]:
            case "more":
                packages += self._picked(missing, self.rng.choice((1, 2, 2, 3)))
            case "fewer":
                packages = self._picked(packages, len(packages) - self.rng.choice((1, 2, 2, 3)))
            case "both":
                packages = self._picked(packages, len(packages) - 1) + self._picked(missing, 1)
            case "order":
                self.rng.shuffle(packages)
            case "none":
                packages = []
            case _ if packages and not self.cluster.set_list:
                packages.append(packages[0])
        return packages


def begins(number: int) -> int:
    """Spread over a year, among them the nights in which Zurich changes its clocks."""
    days = (_DAY_OF_2026[number % len(_DAY_OF_2026)] - 1) * 24
    return 1_767_225_600 * SECOND + days * HOUR + (number * 97 % 1440) * MINUTE + 123_457


_DAY_OF_2026: Final = (295, 296, 297, 86, 87, 88, 1, 60, 150, 210, 364)
