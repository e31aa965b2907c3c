"""What managers do to a tenant that is there, and to its managedFields.

Patches, applies, applies of what is there already, shares given up, lists in sets, removals, more
managers than are kept, times that are cleared, forged or missing.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property, partial
from itertools import count
from random import Random
from typing import Any, Final

from tests.apiserver import Conflict, Json, Tenants
from tests.apiserver.documents import rfc3339
from tests.apiserver.ownership import SUSPEND, Owner, Share, Shares, fields, read_shares, second_of
from tests.simulation.truth import ORG_LABEL

SKILLS: Final = (
    *("browser", "calendar", "chat", "crm", "files", "mail", "office", "search", "threema", "vault"),
    *("wïki", 'a"b'),
)
UPDATERS: Final = ("portal", "portal", "portal", "gitops", "support")
APPLIERS: Final = ("gitops", "flux", "console")
RESTORER: Final = "restorer"
"""Who writes times into managedFields that are not those of the changes."""
CLEANUP: Final = "pieced.ch/cleanup"

Again = Callable[[], None]
"""What the same hands may do to the tenant once more."""


class One:
    """One tenant as it is now."""

    def __init__(self, resource: Json, *, set_list: bool = False) -> None:
        self.resource = resource
        self.set_list = set_list
        self.uid: str = resource["metadata"]["uid"]
        self.deleted = "deletionTimestamp" in resource["metadata"]
        self.packages: list[str] = resource.get("spec", {}).get("packages") or []
        self.suspend: bool | None = resource.get("spec", {}).get("suspend")
        self.status_time: str | None = resource.get("status", {}).get("suspendedAt")

    @property
    def suspended(self) -> bool:
        return self.status_time is not None if self.suspend is None else self.suspend

    @cached_property
    def shares(self) -> Shares:
        return read_shares(self.resource, fields(self.resource, set_list=self.set_list))

    def applied_by(self, manager: str) -> frozenset[tuple[str, ...]]:
        return self.shares.get(Owner("Apply", manager), Share(frozenset(), 0)).fields


class Writes:
    """The writes; each method that takes a key and its tenant is one that habits can name."""

    tenants: Tenants
    chance: Random
    number: "count[int]"

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        raise NotImplementedError

    def one(self, key: str, uid: str | None = None) -> One | None:
        raise NotImplementedError

    def happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    # By whom and how

    @staticmethod
    def where(key: str) -> dict[str, Any]:
        namespace, _, name = key.rpartition("/")
        return {"name": name, "namespace": namespace or None}

    def patch(self, key: str, manager: str, **patch: Any) -> None:
        self.tenants.patch(**self.where(key), manager=manager, **patch)

    def apply(self, key: str, manager: str, spec: Json, *, force: bool) -> None:
        if self.tenants.set_list and "packages" in spec and self.happens(0.5):
            spec = {**spec, "packages": self._picked(spec["packages"], 2)}
        one = self.one(key)
        if one is None:
            return
        metadata: Json = {"annotations": {f"{manager}/applied": "yes"}}
        owned = one.applied_by(manager)
        if ("f:metadata", "f:labels", f"f:{ORG_LABEL}") in owned:
            metadata["labels"] = {ORG_LABEL: one.resource["metadata"]["labels"][ORG_LABEL]}
        if ("f:metadata", "f:finalizers", f'v:"{CLEANUP}"') in owned:
            metadata["finalizers"] = [CLEANUP]
        try:
            self.tenants.apply(
                **self.where(key), manager=manager, force=force, metadata=metadata, spec=spec
            )
        except Conflict:
            return
        self.operator_reacts(key)

    def _label(self, key: str, manager: str) -> None:
        where = self.chance.choice(("labels", "annotations"))
        self.patch(key, manager, metadata={where: {f"{manager}/note": f"{next(self.number)}"}})

    def _again(self, key: str, manager: str, **spec: object) -> None:
        """The same hands: more often than not a touch, else the way back."""
        if self.happens(0.6):
            self._label(key, manager)
        else:
            self.patch(key, manager, spec=spec)
            if "suspend" in spec:
                self.operator_reacts(key)

    # The operator

    def tell_status(self, key: str, *, suspended: bool) -> None:
        now = self.tenants.now()
        time = rfc3339(now) if suspended else None
        if time and self.happens(0.05):
            time = rfc3339(now + timedelta(hours=2)).replace("Z", ".25+02:00")
        self.patch(key, "operator", status={"suspendedAt": time})

    def operator_reacts(self, key: str) -> None:
        """It tells in the status since when a tenant is suspended: mostly, and not always at once."""
        one = self.one(key)
        if one is None or one.suspend is None:
            return
        is_stale = one.suspend and one.status_time is not None
        if one.suspend == (one.status_time is not None) and not is_stale:
            return
        lag = self.chance.choice((0.1, 0.7, 1.5, 3, 3, 40)) * self.chance.uniform(0.6, 1.5)
        if self.happens(0.75):
            self.later(lag, lambda: self._react(key, one.uid))

    def _react(self, key: str, uid: str) -> None:
        one = self.one(key, uid)
        if one is not None and isinstance(one.suspend, bool):
            self.tell_status(key, suspended=one.suspend)

    # What is done

    def patch_packages(self, key: str, one: One) -> Again:
        manager = self.chance.choice(UPDATERS)
        before = list(one.packages)
        self.patch(key, manager, spec={"packages": self.other_packages(one)})
        return lambda: self._again(key, manager, packages=before)

    def apply_packages(self, key: str, one: One) -> Again:
        manager, before = self.chance.choice(APPLIERS), list(one.packages)
        spec: Json = {"packages": self.other_packages(one)}
        if one.suspend is not None and (SUSPEND in one.applied_by(manager) or self.happens(0.3)):
            spec["suspend"] = one.suspend
        self.apply(key, manager, spec, force=self.happens(0.7))
        spec = {**spec, "packages": before}
        return lambda: self.apply(key, manager, spec, force=True)

    def flap(self, key: str, one: One) -> None:
        """One skill on and off, or off and on, as fast as can be; now and then more than once."""
        skill, manager = self.chance.choice(SKILLS), self.chance.choice(UPDATERS)
        without = [one for one in one.packages if one != skill]
        states = [one.packages, [*without, skill] if without == one.packages else without]
        for step in range(2 * self.chance.choice((1, 1, 2))):
            self.patch(key, manager, spec={"packages": states[(step + 1) % 2]})

    def apply_what_is_there(self, key: str, one: One) -> Again:
        manager = self.chance.choice(APPLIERS)
        spec: Json = {}
        if self.happens(0.8):
            spec["packages"] = list(one.packages)
        if one.suspend is not None and self.happens(0.5):
            spec["suspend"] = one.suspend
        self.apply(key, manager, spec, force=False)
        return lambda: self.apply(key, manager, {}, force=False)

    def give_up(self, key: str, one: One) -> Again | None:
        appliers = sorted(owner.manager for owner in one.shares if owner.operation == "Apply")
        if not appliers:
            return None
        manager = self.chance.choice(appliers)
        self.apply(key, manager, {"plan": "pro"} if self.happens(0.5) else {}, force=True)
        return lambda: self.apply(key, manager, {"plan": "free"}, force=True)

    def switch_suspension(self, key: str, one: One) -> Again:
        manager, value = self.chance.choice(UPDATERS), not one.suspended
        if one.suspend is None and self.happens(0.6):
            # By the status alone, whose time is the operator's.
            self.tell_status(key, suspended=value)
            return lambda: self.tell_status(key, suspended=value)
        if self.happens(0.25):
            self.apply(key, self.chance.choice(APPLIERS), {"suspend": value}, force=True)
        else:
            self.patch(key, manager, spec={"suspend": value})
        self.operator_reacts(key)
        return lambda: self._again(key, manager, suspend=not value)

    def let_an_early_sharer_stay(self, key: str, one: One) -> None:
        """The gap that the rules of time accept (recording: early-time-alone)."""
        if one.suspend is None or self.tenants.set_list:
            return
        packages = {"packages": self.other_packages(one)}
        others = {"suspend": one.suspend, "plan": f"{next(self.number)}"}
        steps: Sequence[tuple[str, Json]] = (
            ("flux", others),
            ("console", packages),
            ("flux", {**others, **packages}),
            ("console", {}),
        )
        after = 0.0
        for manager, spec in steps:
            after += self.chance.uniform(2, 30)
            self.later(after, partial(self.apply, key, manager, spec, force=True))

    def remove_a_field(self, key: str, _: One) -> Again:
        manager, field = self.chance.choice(UPDATERS), self.chance.choice(("packages", "suspend"))
        self.patch(key, manager, spec={field: None})
        return lambda: self._label(key, manager)

    def label(self, key: str, _: One) -> Again:
        manager = self.chance.choice(UPDATERS)
        self._label(key, manager)
        return lambda: self._label(key, manager)

    def touch_status(self, key: str, _: One) -> Again:
        def touch() -> None:
            self.patch(key, "operator", status={"seen": next(self.number)})

        touch()
        return touch

    def let_many_managers_write(self, key: str, _: One) -> None:
        for number in range(self.chance.randrange(2, 14)):
            patch = {"annotations": {f"batch-{number}": f"{next(self.number)}"}}
            self.patch(key, f"batch-{number:02}", metadata=patch)

    # Times that are not those of the changes

    def forge_times(self, key: str, one: One) -> None:
        def other(share: Share) -> Share:
            now = second_of(self.tenants.now())
            times = (None, now - 10**8, now + 10**8, now - self.chance.randrange(600), share.second)
            return share._replace(second=self.chance.choice(times))

        shares = {owner: other(share) for owner, share in one.shares.items()}
        if self.happens(0.2):
            ghosts = frozenset(fields(one.resource, set_list=one.set_list))
            shares = {Owner("Update", "ghost"): other(Share(ghosts, 0))}
        if shares:
            note = {"annotations": {"restored": f"{next(self.number)}"}}
            self.patch(key, RESTORER, forged=shares, metadata=note)

    def clear_times(self, key: str, _: One) -> None:
        note = {"annotations": {"cleared": f"{next(self.number)}"}}
        self.patch(key, RESTORER, forged={}, metadata=note)

    # Which skills

    def some_packages(self) -> list[str]:
        return self.chance.sample(SKILLS, self.chance.choice((0, 1, 2, 3)))

    def _picked(self, packages: Sequence[str], most: int) -> list[str]:
        return self.chance.sample(list(packages), min(len(packages), max(most, 0)))

    def other_packages(self, one: One) -> list[str]:
        """Another list than the tenant has: some more, some fewer, now and then none or the same."""
        packages = list(dict.fromkeys(one.packages))
        missing = [skill for skill in SKILLS if skill not in packages]
        kinds, weights = ("more", "fewer", "both", "order", "none", "double"), (45, 28, 15, 5, 4, 3)
        match self.chance.choices(kinds, weights)[0]:
            case "more":
                packages += self._picked(missing, self.chance.choice((1, 2, 2, 3)))
            case "fewer":
                packages = self._picked(packages, len(packages) - self.chance.choice((1, 2, 2, 3)))
            case "both":
                packages = self._picked(packages, len(packages) - 1) + self._picked(missing, 1)
            case "order":
                self.chance.shuffle(packages)
            case "none":
                packages = []
            case _ if packages and not self.tenants.set_list:
                packages.append(packages[0])
        return packages
