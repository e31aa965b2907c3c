"""Who owns which field of a resource, and since when: `managedFields`, from one state to the next.

Knows nothing of the store that keeps the states.
"""

import json
from datetime import datetime
from typing import TypeAlias

from tests.apiserver.documents import Json, rfc3339

_FieldPath: TypeAlias = tuple[str, ...]
"""As in FieldsV1: `("f:spec", "f:packages")`; of a map itself, `("f:spec", ".")`."""


def managed_fields(before: Json, after: Json, manager: str, moment: datetime) -> list[Json]:
    """`managedFields` after an update by that manager, as v1.36 has it (list/seven).

    What is new or changed is the manager's alone, and its time moves; what is gone leaves no time.
    """
    old, new = _fields(before), _fields(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    stayed = new.keys() - changed
    entries = {
        (entry["manager"], entry.get("subresource")): (
            entry,
            {path for path in stayed if _owns(entry["fieldsV1"], path)},
        )
        for entry in before.get("metadata", {}).get("managedFields", [])
    }
    if changed:
        subresource = "status" if before.get("status") != after.get("status") else None
        entry = {
            "apiVersion": after["apiVersion"],
            "fieldsType": "FieldsV1",
            "manager": manager,
            "operation": "Update",
            **({"subresource": subresource} if subresource else {}),
            "time": rfc3339(moment),
        }
        _, owned = entries.get((manager, subresource), ({}, set()))
        entries[manager, subresource] = entry, owned | changed
    managed = [entry | {"fieldsV1": _fields_v1(owned)} for entry, owned in entries.values() if owned]
    return sorted(
        managed, key=lambda entry: (entry["operation"], entry.get("time", ""), entry["manager"])
    )


def _fields(resource: Json) -> dict[_FieldPath, object]:
    """Everything in a resource that can be owned, and its value."""
    fields: dict[_FieldPath, object] = {}

    def walk(path: _FieldPath, value: object) -> None:
        if isinstance(value, dict):
            fields[*path, "."] = None
            for name, under in value.items():
                walk((*path, f"f:{name}"), under)
        elif path[-1] == "f:finalizers" and isinstance(value, list):
            fields.update(
                {(*path, step): None for step in (".", *(f"v:{json.dumps(item)}" for item in value))}
            )
        else:
            fields[path] = value

    metadata = resource.get("metadata", {})
    for name in {"annotations", "finalizers", "labels"} & metadata.keys():
        walk(("f:metadata", f"f:{name}"), metadata[name])
    for name in {"spec", "status"} & resource.keys():
        walk((f"f:{name}",), resource[name])
    return fields


def _owns(fields_v1: Json, path: _FieldPath) -> bool:
    for step in path:
        if step not in fields_v1:
            return step == "." and not fields_v1  # An empty map is owned by {}, not by {".": {}}.
        fields_v1 = fields_v1[step]
    return True


def _fields_v1(paths: set[_FieldPath]) -> Json:
    tree: Json = {}
    for path in paths:
        under = tree
        for step in path:
            under = under.setdefault(step, {})

    def without_lone_dots(tree: Json) -> Json:
        return {} if tree.keys() == {"."} else {step: without_lone_dots(tree[step]) for step in tree}

    return without_lone_dots(tree)
