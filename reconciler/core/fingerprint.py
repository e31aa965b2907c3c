"""A fingerprint of what counts of a tenant. While it is the same, the tenant need not be read again.

It covers the fields that `reading` turns into facts, as the API server sent them, and the settings that
give them a meaning. `managedFields`, the resourceVersion and the rest of the status are not in it: two
resources with the same fingerprint are the same tenant with the same facts.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from reconciler.core.nesting import deeply
from reconciler.core.tenant import KnownState, Lifecycle, Snapshot, Tenant, Unreadable
from reconciler.core.times import CLOCK_TOLERANCE
from reconciler.errors import ReadAgain

LENGTH: Final = 24
"""Bytes of a SHA-256 that are kept: nobody finds two tenants that share them."""
READER: Final = 1
"""What the facts of a tenant are read from, and how. With another number, every tenant is read once."""

_ABSENT: Final = Raw()
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Spec(Struct):
    packages: Raw = _ABSENT
    suspend: Raw = _ABSENT


class _Status(Struct):
    suspended_at: Raw = field(name="suspendedAt", default=_ABSENT)


class _ListMeta(Struct):
    resource_version: str = field(name="resourceVersion", default="")
    continue_token: str = field(name="continue", default="")
    remaining: int | None = field(name="remainingItemCount", default=None)


class PrintedPage(Struct, frozen=True, kw_only=True):
    """One page of a list, of which only the fingerprints were read."""

    kind: str
    api_version: str
    resource_version: str
    continue_token: str
    remaining: int | None
    fingerprints: Sequence[bytes]
    """Of the items, in their order."""
    newest: bytes
    """The latest creationTimestamp of the items, as JSON; empty where there is none."""


class Printer:
    """Computes fingerprints of the resources of one dialect."""

    def __init__(self, group: str, kind: str, org_label: str) -> None:
        labels = msgspec.defstruct("_Labels", [("org", Raw, field(name=org_label, default=_ABSENT))])
        metadata = msgspec.defstruct(
            "_Metadata",
            [
                *((name, Raw, _ABSENT) for name in ("name", "namespace", "uid")),
                ("creation", Raw, field(name="creationTimestamp", default=_ABSENT)),
                ("deletion", Raw, field(name="deletionTimestamp", default=_ABSENT)),
                ("labels", labels | None, None),
            ],
        )
        item = msgspec.defstruct(
            "_Item",
            [
                ("metadata", metadata),
                ("spec", _Spec | None, None),
                ("status", _Status | None, None),
                ("kind", Raw, _ABSENT),
                ("api_version", Raw, field(name="apiVersion", default=_ABSENT)),
            ],
        )
        page = msgspec.defstruct(
            "_Page",
            [
                *(("items", list[item]), ("metadata", _ListMeta), ("kind", str, "")),  # type: ignore[valid-type]
                ("api_version", str, field(name="apiVersion", default="")),
            ],
        )
        self.item_type = item
        """What is decoded of one resource: the fields that the fingerprint covers."""
        self._decode_item: Callable[[Raw | bytes], Any] = msgspec.json.Decoder(item).decode
        self._decode_page: Callable[[bytes], Any] = msgspec.json.Decoder(page).decode
        self._meaning = repr((READER, group, kind, org_label)).encode()
        self._no_labels: Any = labels()

    def page(self, body: bytes) -> PrintedPage | None:
        """The fingerprints of a page; None if one of its items, or the page, is not as expected."""
        try:
            page = deeply(self._decode_page, body)
        except _UNDECODABLE:
            return None
        return PrintedPage(
            kind=page.kind,
            api_version=page.api_version,
            resource_version=page.metadata.resource_version,
            continue_token=page.metadata.continue_token,
            remaining=page.metadata.remaining,
            fingerprints=[*map(self._of, page.items)],
            newest=max((bytes(item.metadata.creation) for item in page.items), default=b""),
        )

    def item(self, resource: Raw | bytes) -> bytes | None:
        """The fingerprint of one resource; None if a field has an unexpected type."""
        try:
            return self._of(deeply(self._decode_item, resource))
        except _UNDECODABLE:
            return None

    def _of(self, item: Any) -> bytes:
        metadata, spec, status = item.metadata, item.spec or _NO_SPEC, item.status or _NO_STATUS
        # No JSON value has a NUL in it, so that no two lists of values give the same bytes.
        content = b"\0".join(
            (
                *(self._meaning, metadata.uid, metadata.name, metadata.namespace),
                *(metadata.creation, metadata.deletion, (metadata.labels or self._no_labels).org),
                *(spec.packages, spec.suspend, status.suspended_at, item.kind, item.api_version),
            )
        )
        return hashlib.sha256(content).digest()[:LENGTH]


_NO_SPEC: Final = _Spec()
_NO_STATUS: Final = _Status()


def is_ahead(created: bytes, observed_at: datetime) -> bool:
    """Whether a `newest` of a page may be later than its snapshot."""
    latest = (observed_at + CLOCK_TOLERANCE).strftime('"%Y-%m-%dT%H:%M:%SZ"')
    return created > latest.encode()


@lru_cache
def printer(group: str, kind: str, org_label: str) -> Printer:
    """The printer of a dialect. Its decoders are compiled once."""
    return Printer(group, kind, org_label)


class Shown(Struct, frozen=True):
    """The uids and names of the resources of a snapshot that were read."""

    uids: AbstractSet[str]
    names: AbstractSet[str]

    def __contains__(self, lifecycle: Lifecycle) -> bool:
        return lifecycle.uid in self.uids or lifecycle.name in self.names


def shown(snapshot: Snapshot) -> Shown:
    """What of the snapshot was read."""
    read: list[Tenant | Unreadable] = [*snapshot.tenants, *snapshot.unreadable]
    return Shown(
        frozenset(one.uid for one in read if one.uid is not None),
        frozenset(one.name for one in read if one.name is not None),
    )


def without_unchanged(lifecycles: Iterable[Lifecycle], snapshot: Snapshot) -> Sequence[Lifecycle]:
    """The lifecycles that a plan needs: all but those of the tenants that were not read."""
    read, unchanged = shown(snapshot), snapshot.unchanged
    return [one for one in lifecycles if one.fingerprint not in unchanged or one in read]


def check_unchanged(snapshot: Snapshot, known: KnownState, current: frozenset[bytes]) -> None:
    """Raises ReadAgain if another pass was written meanwhile, and a tenant should have been read.

    `current` are the fingerprints of the ledger now. If one of the unchanged is not among them, its
    lifecycle is one of those that seem to be missing, unless a newer change of it was written.
    """
    if snapshot.unchanged <= current:
        return
    read, newer = shown(snapshot), known.newer
    if newer is None or any(one not in read and one not in newer for one in known.lifecycles):
        raise ReadAgain(
            f"another pass was written while {snapshot.source} was read; nothing was written; try again"
        )
