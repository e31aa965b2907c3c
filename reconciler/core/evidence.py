"""What `metadata.managedFields` tells of when a field was changed; an upper bound, and no more.

Kubernetes notes for each manager which fields it owns, and when it last changed any of them. Whoever
changes a value owns it from then on, with that time or, after touching something else, a later one. So
of all who own a field now, the latest time is not before its last change. The earliest may be: a
server-side apply of what is there already takes a share in the field and leaves the entry's old time.

No evidence, by this reasoning or by none:
- taking a field away, or an item of a set, leaves no trace; and a set that was emptied looks like a
  list that is owned whole, so that an empty list tells nothing;
- the entry of a subresource (`status`) says nothing of `spec`;
- an entry may have no time, and anyone may have forged it: what does not lie between two snapshots
  says nothing (that is judged in `times`), and what cannot be read is no evidence at all.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

import msgspec
from msgspec import Raw, Struct

from reconciler.core.rfc3339 import instant


class Evidence(Struct, frozen=True, gc=False):
    """The latest times of the managers that own a field, or an item of a set, now."""

    packages: datetime | None = None
    """Of `spec.packages`, where it is owned whole."""
    items: Mapping[str, datetime] | None = None
    """Of each skill, where `spec.packages` is a `list-type: set`."""
    suspend: datetime | None = None
    """Of `spec.suspend`."""

    def enabled(self, skill: str) -> datetime | None:
        """Not before the skill was added."""
        return self.packages if self.items is None else self.items.get(skill)

    def disabled(self) -> datetime | None:
        """Not before a skill was taken out; what is taken out of a set leaves no trace."""
        return self.packages


NOTHING = Evidence()


class _SpecFields(Struct):
    packages: dict[str, Any] | None = msgspec.field(name="f:packages", default=None)
    suspend: dict[str, Any] | None = msgspec.field(name="f:suspend", default=None)


class _Fields(Struct):
    spec: _SpecFields | None = msgspec.field(name="f:spec", default=None)


class _Entry(Struct):
    time: str | None = None
    subresource: str | None = None
    fields: _Fields | None = msgspec.field(name="fieldsV1", default=None)


_decode = msgspec.json.Decoder(list[_Entry] | None).decode


def read_evidence(managed_fields: Raw, skills: object, suspend: object) -> Evidence:
    """The evidence for the values that `spec.packages` and `spec.suspend` have now; never an error."""
    try:
        entries = _decode(managed_fields) or []
        owners = [
            (entry.fields.spec, instant(entry.time))
            for entry in entries
            if entry.time and not entry.subresource and entry.fields and _owns(entry.fields.spec)
        ]
        items = _items(owners)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, TypeError):
        return NOTHING
    whole = [time for spec, time in owners if spec.packages == {}] if skills and not items else []
    switch = [time for spec, time in owners if spec.suspend == {}] if suspend is not None else []
    return Evidence(
        packages=max(whole, default=None),
        items=items or None,
        suspend=max(switch, default=None),
    )


def _owns(spec: _SpecFields | None) -> TypeGuard[_SpecFields]:
    return spec is not None and (spec.packages is not None or spec.suspend is not None)


def _items(owners: list[tuple[_SpecFields, datetime]]) -> dict[str, datetime]:
    """The skills that are owned one by one, which is so in a set: `v:` and the name as JSON."""
    latest: dict[str, datetime] = {}
    for spec, time in owners:
        for key in spec.packages or ():
            if key.startswith("v:"):
                skill = msgspec.json.decode(key[2:], type=str)
                latest[skill] = max(time, latest.get(skill, time))
    return latest
