"""Who owns which field of a resource, and since when: `managedFields`, from one state to the next.

Knows nothing of the store that keeps the states.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

from tests.apiserver.documents import Json, rfc3339

FieldPath: TypeAlias = tuple[str, ...]
"""As in FieldsV1: `("f:spec", "f:packages")`; of a map itself, `("f:spec", ".")`."""
_Owner: TypeAlias = tuple[str, str, str]
"""Operation, manager, and subresource or nothing."""


class Conflict(Exception):
    """A server-side apply, not forced, would change what this other manager owns."""


def managed_fields(before: Json, after: Json, manager: str, moment: datetime) -> list[Json]:
    """`managedFields` after an update by that manager, as v1.36 has it (list/seven).

    What is new or changed is the manager's alone, and its time moves; what is gone leaves no time.
    """
    new = _fields(after)
    changed, _ = _difference(before, after)
    entries, shares = _owned(before, new.keys() - changed)
    if changed:
        subresource = "status" if before.get("status") != after.get("status") else ""
        owner = ("Update", manager, subresource)
        shares[owner] = shares.get(owner, set()) | changed
        entries[owner] = _entry(after, owner, moment)
    return _printed(entries, shares)


def after_apply(
    before: Json,
    after: Json,
    configuration: Json,
    manager: str,
    moment: datetime,
    *,
    force: bool = False,
) -> list[Json]:
    """`managedFields` after a server-side apply of that configuration. Raises Conflict.

    The applier takes a share in all that it names; its time moves only where the resource changes, and
    an entry that is new with an apply that changes nothing has no time (tenants/two-managers--4).
    """
    owner, named = ("Apply", manager, ""), _named(configuration)
    changed, removed = _difference(before, after)
    first = {} if "managedFields" in before.get("metadata", {}) else _fields(before)
    entries, shares = _owned(before, _fields(before).keys() - removed)
    if first:  # Nobody kept account so far: tenants/managed-fields-missing--3.
        unknown = ("Update", "before-first-apply", "")
        entries[unknown], shares[unknown] = _entry(after, unknown, moment), set(first) - removed
    for other in shares.keys() - {owner}:
        if shares[other] & changed and not force:
            raise Conflict(other[1])
        shares[other] -= changed
    if changed or removed:
        entries[owner] = _entry(after, owner, moment)
    elif owner not in entries:
        entries[owner] = _entry(after, owner, None)
    shares[owner] = named
    return _printed(entries, shares)


def given_up(before: Json, configuration: Json, manager: str) -> set[FieldPath]:
    """What nobody owns any more once the manager applies this: the server takes it away."""
    owner = ("Apply", manager, "")
    _, shares = _owned(before, set(_fields(before)))
    return shares.pop(owner, set()).difference(_named(configuration), *shares.values())


def _entry(resource: Json, owner: _Owner, moment: datetime | None) -> Json:
    operation, manager, subresource = owner
    return {
        "apiVersion": resource["apiVersion"],
        "fieldsType": "FieldsV1",
        "manager": manager,
        "operation": operation,
        **({"subresource": subresource} if subresource else {}),
        **({"time": rfc3339(moment)} if moment else {}),
    }


def _owned(
    resource: Json, fields: set[FieldPath]
) -> tuple[dict[_Owner, Json], dict[_Owner, set[FieldPath]]]:
    """The entries of a resource's managedFields, and which of these fields each of them owns."""
    entries = {
        (entry["operation"], entry["manager"], entry.get("subresource", "")): entry
        for entry in resource.get("metadata", {}).get("managedFields", [])
    }
    shares = {
        owner: {path for path in fields if _owns(entry["fieldsV1"], path)}
        for owner, entry in entries.items()
    }
    return entries, shares


def _printed(entries: dict[_Owner, Json], shares: dict[_Owner, set[FieldPath]]) -> list[Json]:
    managed = [
        entries[owner] | {"fieldsV1": _fields_v1(fields)} for owner, fields in shares.items() if fields
    ]
    return sorted(
        managed, key=lambda entry: (entry["operation"], entry.get("time", ""), entry["manager"])
    )


def _difference(before: Json, after: Json) -> tuple[set[FieldPath], set[FieldPath]]:
    """What is new or has another value, and what is gone."""
    old, new = _fields(before), _fields(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    return changed, set(old.keys() - new.keys())


def _named(configuration: Json) -> set[FieldPath]:
    """The leaves of an applied configuration, without maps and sets themselves."""
    return {path for path in _fields(configuration) if path[-1] != "."}


def _fields(resource: Json) -> dict[FieldPath, object]:
    """Everything in a resource that can be owned, and its value."""
    metadata = resource.get("metadata", {})
    fields: dict[FieldPath, object] = {}
    for name in ("annotations", "finalizers", "labels"):
        if name in metadata:
            fields.update(_walk(("f:metadata", f"f:{name}"), metadata[name]))
    for name in ("spec", "status"):
        if name in resource:
            fields.update(_walk((f"f:{name}",), resource[name]))
    return fields


def _walk(path: FieldPath, value: object) -> Iterator[tuple[FieldPath, object]]:
    if isinstance(value, dict):
        yield (*path, "."), None
        for name, under in value.items():
            yield from _walk((*path, f"f:{name}"), under)
    elif path[-1] == "f:finalizers" and isinstance(value, list):
        yield (*path, "."), None
        for item in value:
            yield (*path, f"v:{json.dumps(item)}"), None
    else:
        yield path, value


def _owns(fields_v1: Json, path: FieldPath) -> bool:
    for step in path:
        if step not in fields_v1:
            return step == "." and not fields_v1  # An empty map is owned by {}, not by {".": {}}.
        fields_v1 = fields_v1[step]
    return True


def _fields_v1(paths: set[FieldPath]) -> Json:
    tree: Json = {}
    for path in paths:
        under = tree
        for step in path:
            under = under.setdefault(step, {})

    def without_lone_dots(tree: Json) -> Json:
        return {} if tree.keys() == {"."} else {step: without_lone_dots(tree[step]) for step in tree}

    return without_lone_dots(tree)
