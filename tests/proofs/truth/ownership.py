"""Who owns which field, and since when: `managedFields` as Kubernetes 1.36 keeps them.

An Update (POST, PUT, patch) makes its manager the only owner of what it changes, and moves the time of
its entry. A server-side apply takes a share in all that it names; its entry's time moves only where the
object changes. What is taken away leaves no time. Proved in `test_recorded`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Raw
from msgspec.json import encode

from tests.apiserver import Json

Path = tuple[str, ...]
"""As in FieldsV1: `("f:spec", "f:packages")`; of a map or a set itself, with `"."` at its end."""
Fields = Mapping[Path, object]

MOST_UPDATERS: Final = 10
"""So many Update entries are kept; the oldest of more are merged into one."""
PACKAGES: Final = ("f:spec", "f:packages")
SUSPEND: Final = ("f:spec", "f:suspend")


class Owner(NamedTuple):
    """An entry's key."""

    operation: str
    manager: str
    subresource: str = ""


class Share(NamedTuple):
    """What an entry's manager owns, and when it last changed any of it."""

    fields: frozenset[Path]
    second: int | None


Shares = Mapping[Owner, Share]
ANCIENT: Final = Owner("Update", "ancient-changes")
BEFORE_FIRST_APPLY: Final = Owner("Update", "before-first-apply")


class Conflict(Exception):
    """A server-side apply, not forced, would change what others own."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a write does to the fields."""

    changed: frozenset[Path]
    """New, or with another value."""
    removed: frozenset[Path]

    @classmethod
    def between(cls, before: Fields, after: Fields) -> "Difference":
        missing = object()
        return cls(
            frozenset(path for path, value in after.items() if before.get(path, missing) != value),
            frozenset(before.keys() - after.keys()),
        )

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def item(skill: str) -> Path:
    """The field of one skill in a set."""
    return *PACKAGES, f"v:{json.dumps(skill, ensure_ascii=False)}"


def fields(resource: Json, *, set_list: bool) -> dict[Path, object]:
    """Everything in a resource that can be owned, and its value."""
    found: dict[Path, object] = {}

    def walk(path: Path, value: object) -> None:
        if isinstance(value, dict):
            found[*path, "."] = None
            for name, under in value.items():
                walk((*path, f"f:{name}"), under)
        elif isinstance(value, list) and (path[-1] == "f:finalizers" or (set_list and path == PACKAGES)):
            found[*path, "."] = None
            for one in value:
                found[*path, f"v:{json.dumps(one, ensure_ascii=False)}"] = None
        else:
            found[path] = value

    metadata = resource["metadata"]
    for name in ("annotations", "finalizers", "labels"):
        if name in metadata:
            walk(("f:metadata", f"f:{name}"), metadata[name])
    for name in ("spec", "status"):
        if name in resource:
            walk((f"f:{name}",), resource[name])
    return found


def named(configuration: Json, *, set_list: bool) -> frozenset[Path]:
    """The fields that an applied configuration names: its leaves, without maps and sets themselves."""
    return frozenset(path for path in fields(configuration, set_list=set_list) if path[-1] != ".")


def updated(shares: Shares, difference: Difference, owner: Owner, second: int) -> Shares:
    """After an Update by that owner."""
    lost = difference.changed | difference.removed
    kept = {one: Share(share.fields - lost, share.second) for one, share in shares.items()}
    if difference.changed:
        mine = kept.pop(owner).fields if owner in kept else frozenset()
        kept[owner] = Share(mine | difference.changed, second)
    return _capped({one: share for one, share in kept.items() if share.fields})


def applied(
    shares: Shares,
    difference: Difference,
    names: frozenset[Path],
    owner: Owner,
    second: int,
    *,
    force: bool,
) -> Shares:
    """After a server-side apply that names these fields. Raises Conflict."""
    result: dict[Owner, Share] = {}
    for one, share in shares.items():
        if one == owner:
            continue
        if share.fields & difference.changed and not force:
            raise Conflict(one.manager)
        left = share.fields - difference.changed - difference.removed
        if left:
            result[one] = Share(left, share.second)
    before = shares.get(owner)
    if names:
        result[owner] = Share(names, second if difference or before is None else before.second)
        if before is None and not difference:
            result[owner] = Share(names, None)
    return result


def given_up(shares: Shares, names: frozenset[Path], owner: Owner) -> frozenset[Path]:
    """What nobody owns any more once the owner applies these fields: the server takes it away."""
    if owner not in shares:
        return frozenset()
    others = [share.fields for one, share in shares.items() if one != owner]
    return shares[owner].fields.difference(names, *others)


def _capped(shares: dict[Owner, Share]) -> Shares:
    updaters = [one for one in shares if one.operation == "Update"]
    if len(updaters) <= MOST_UPDATERS:
        return shares
    updaters.sort(key=lambda one: (shares[one].second or 0, one.manager, one.subresource))
    merged = updaters[: len(updaters) - MOST_UPDATERS + 1]
    together = frozenset().union(*(shares[one].fields for one in merged))
    # The latest of the merged times.
    bucket = Share(together, shares[merged[-1]].second)
    return {one: share for one, share in shares.items() if one not in merged} | {ANCIENT: bucket}


def latest(shares: Shares, path: Path) -> int | None:
    """The latest second of those who own a field of the resource itself."""
    times = [
        share.second
        for one, share in shares.items()
        if path in share.fields and share.second is not None and not one.subresource
    ]
    return max(times, default=None)


def managed_fields(shares: Shares, api_version: str) -> list[Json]:
    """As the API server prints them."""
    order = sorted(
        shares, key=lambda one: (one.operation, shares[one].second or 0, one.manager, one.subresource)
    )
    entries = []
    for one in order:
        share = shares[one]
        entry: Json = {
            "apiVersion": api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields_v1(share.fields),
            "manager": one.manager,
            "operation": one.operation,
        }
        if one.subresource:
            entry["subresource"] = one.subresource
        if share.second is not None:
            entry["time"] = rfc3339(share.second)
        entries.append(entry)
    return entries


@lru_cache(maxsize=4096)
def rfc3339(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"


@lru_cache(maxsize=4096)
def _fields_v1(paths: Collection[Path]) -> Raw:
    tree: Json = {}
    for path in sorted(paths):
        under = tree
        for step in path:
            under = under.setdefault(step, {})
    return Raw(encode(_without_lone_dots(tree)))


def _without_lone_dots(tree: Json) -> Json:
    return {} if tree.keys() == {"."} else {step: _without_lone_dots(tree[step]) for step in tree}
