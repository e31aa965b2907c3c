"""What `metadata.managedFields` says about when a field was changed: an upper bound.

Kubernetes records for each manager which fields it owns, and when it last changed any of them. A
manager that changes a value owns it from then on, with that time or, after changing another field, a
later one. So of all managers that own a field now, the latest time is not before the field's last
change. The earliest may be: a server-side apply of a value that is already there makes its manager a
co-owner and leaves the time of its entry as it was.

The following is not evidence:
- Removing a field, or an item of a set, leaves no trace. An emptied set looks like a list that is
  owned as a whole, so an empty list says nothing.
- The entry of a subresource (`status`) says nothing about `spec`.
- An entry may have no time, and anyone can forge one. `times` ignores a time that does not lie
  between two snapshots, and an entry that cannot be read is ignored here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

import msgspec
from msgspec import Raw, Struct

from reconciler.core.nesting import deeply
from reconciler.core.rfc3339 import instant


class Evidence(Struct, frozen=True, gc=False):
    """The latest times of the managers that own a field, or an item of a set, now."""

    packages: datetime | None = None
    """Of `spec.packages`, if it is owned as a whole."""
    items: Mapping[str, datetime] | None = None
    """Of each skill, if `spec.packages` is a `list-type: set`."""
    suspend: datetime | None = None
    """Of `spec.suspend`."""

    def enabled(self, skill: str) -> datetime | None:
        """A time not before the skill was added."""
        return self.packages if self.items is None else self.items.get(skill)

    def disabled(self) -> datetime | None:
        """A time not before a skill was removed; None in a set, where a removal leaves no trace."""
        return self.packages


NOTHING = Evidence()


class _SpecFields(Struct):
    packages: dict[str, Any] | None = msgspec.field(name="f:packages", default=None)
    suspend: dict[str, Any] | None = msgspec.field(name="f:suspend", default=None)


class _MetadataFields(Struct):
    labels: dict[str, Any] | None = msgspec.field(name="f:labels", default=None)


class _Fields(Struct):
    metadata: _MetadataFields | None = msgspec.field(name="f:metadata", default=None)
    spec: _SpecFields | None = msgspec.field(name="f:spec", default=None)


class _Entry(Struct):
    time: str | None = None
    subresource: str | None = None
    fields: _Fields | None = msgspec.field(name="fieldsV1", default=None)


_decode = msgspec.json.Decoder(list[_Entry] | None).decode


def read_evidence(
    managed_fields: Raw, skills: object, suspend: object, org_label: str
) -> tuple[Evidence, datetime | None]:
    """The evidence for the current values of `spec.packages` and `spec.suspend`; the org label's time.

    Never raises.
    """
    label = f"f:{org_label}"
    owners: list[tuple[_SpecFields, datetime]] = []
    labelled: list[datetime] = []
    try:
        for entry in deeply(_decode, managed_fields) or ():
            if not entry.time or entry.subresource or not entry.fields:
                continue
            spec, metadata = entry.fields.spec, entry.fields.metadata
            is_label = metadata is not None and metadata.labels is not None and label in metadata.labels
            if not (is_label or _owns(spec)):
                continue
            time = instant(entry.time)
            if _owns(spec):
                owners.append((spec, time))
            if is_label:
                labelled.append(time)
        items = _items(owners)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, TypeError):
        return NOTHING, None
    whole = [time for spec, time in owners if spec.packages == {}] if skills and not items else []
    switch = [time for spec, time in owners if spec.suspend == {}] if suspend is not None else []
    evidence = Evidence(
        packages=max(whole, default=None),
        items=items or None,
        suspend=max(switch, default=None),
    )
    return evidence, max(labelled, default=None)


def _owns(spec: _SpecFields | None) -> TypeGuard[_SpecFields]:
    return spec is not None and (spec.packages is not None or spec.suspend is not None)


def _items(owners: list[tuple[_SpecFields, datetime]]) -> dict[str, datetime]:
    """The skills that are owned one by one, as in a set. A key is `v:` and the name as JSON."""
    latest: dict[str, datetime] = {}
    for spec, time in owners:
        for key in spec.packages or ():
            if key.startswith("v:"):
                skill = msgspec.json.decode(key[2:], type=str)
                latest[skill] = max(time, latest.get(skill, time))
    return latest
