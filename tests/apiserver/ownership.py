"""Who owns which field, and since when: `managedFields` as Kubernetes 1.36 keeps them.

An Update (POST, PUT, patch) makes its manager the only owner of what it changes, and moves the time of
its entry. A server-side apply takes a share in all that it names; its entry's time moves only where the
object changes. What is taken away leaves no time. Knows nothing of the store that keeps the resources;
`tests/proofs/truth/test_recorded.py` holds it against what a real server answered.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from tests.apiserver.documents import Json, rfc3339

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


def second_of(moment: datetime) -> int:
    return int(moment.timestamp())


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

    metadata = resource.get("metadata", {})
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


def read_shares(resource: Json, owned: Fields) -> Shares:
    """The shares that a resource's `managedFields` tell, of the fields that it has."""
    return {
        Owner(entry["operation"], entry["manager"], entry.get("subresource", "")): Share(
            frozenset(_paths(entry["fieldsV1"], owned)),
            second_of(datetime.fromisoformat(entry["time"])) if "time" in entry else None,
        )
        for entry in resource.get("metadata", {}).get("managedFields", [])
    }


def _paths(tree: Json, owned: Fields, above: Path = ()) -> Iterator[Path]:
    for step, under in tree.items():
        path = (*above, step)
        if under:
            yield from _paths(under, owned, path)
        elif path in owned:
            yield path
        elif (*path, ".") in owned:  # An empty map is owned by {}, not by {".": {}}.
            yield (*path, ".")


def without(resource: Json, paths: Collection[Path]) -> Json:
    """The resource without what nobody owns any more, and without the labels if that was all of them."""
    if not paths:
        return resource
    rest = deepcopy(resource)
    for *above, last in paths:
        under = rest
        for step in above:
            under = under[step[2:]]
        if isinstance(under, list):
            under[:] = [one for one in under if item(one)[-1] != last]
        else:
            del under[last[2:]]
    if not rest["metadata"].get("labels", True):
        del rest["metadata"]["labels"]
    return rest


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
            entry["time"] = _time(share.second)
        entries.append(entry)
    return entries


@lru_cache(maxsize=4096)
def _time(second: int) -> str:
    return rfc3339(datetime.fromtimestamp(second, UTC))


@lru_cache(maxsize=4096)
def _fields_v1(paths: Collection[Path]) -> Json:
    tree: Json = {}
    for path in sorted(paths):
        under = tree
        for step in path:
            under = under.setdefault(step, {})
    return _without_lone_dots(tree)


def _without_lone_dots(tree: Json) -> Json:
    return {} if tree.keys() == {"."} else {step: _without_lone_dots(tree[step]) for step in tree}
