"""Reads what a watch delivers: each event as a snapshot of the one tenant that it is about."""

from datetime import datetime

import msgspec
from msgspec import Raw, Struct

from reconciler.core.nesting import deeply, members
from reconciler.core.reading import UNDECODABLE, Dialect, NotTheList, read_tenant
from reconciler.core.tenant import Snapshot, Tenant, Unreadable
from reconciler.core.text import quoted


class WatchFailed(Exception):
    """The API server ended a watch by an ERROR within a 200; str() says why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _VersionOf(Struct):
    resource_version: str = msgspec.field(name="resourceVersion", default="")


class _Versioned(Struct):
    metadata: _VersionOf = msgspec.field(default_factory=_VersionOf)


class _Event(Struct):
    type: str
    object: Raw


class _Failure(Struct):
    code: int = 0
    message: str = ""


_decode_versioned = msgspec.json.Decoder(_Versioned).decode
_decode_version = msgspec.json.Decoder(_VersionOf).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_decode_failure = msgspec.json.Decoder(_Failure).decode


def _decoded(line: bytes) -> tuple[_Event, str]:
    """The event, and the resourceVersion of its object. Raises as the decoders do."""
    try:
        event = deeply(_decode_event, line)
        return event, deeply(_decode_versioned, event.object).metadata.resource_version
    except RecursionError:
        # Of an object that is too deep, its metadata can be read all the same.
        found = members(line)
        if "object" not in found:
            raise
        start, end = found["object"]
        event = _decode_event(line[:start] + b"null" + line[end:])
        event.object = Raw(line[start:end])
        start, end = members(line[start:end])["metadata"]
        return event, _decode_version(bytes(event.object)[start:end]).resource_version


def read_event(line: bytes, observed_at: datetime, dialect: Dialect) -> Snapshot:
    """Reads one line of a watch: a snapshot whose scope is the one tenant that it is about.

    A bookmark is a snapshot of nobody: it tells a resourceVersion, and nothing else. Raises WatchFailed
    for an ERROR, and NotTheList for anything that is no event.
    """
    try:
        event, version = _decoded(line)
        failure = deeply(_decode_failure, event.object) if event.type == "ERROR" else None
    except (KeyError, *UNDECODABLE) as error:
        raise NotTheList(f"no event of a watch: {error}") from None
    if failure is not None:
        raise WatchFailed(failure.message or "an error without a message", failure.code)
    if event.type not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
        raise NotTheList(f"an event of type {quoted(event.type)}")
    if not version:
        raise NotTheList("an event without a resourceVersion")
    shows: list[Tenant | Unreadable] = []
    if event.type != "BOOKMARK":
        fingerprint = dialect.printer.item(event.object)
        shows = [read_tenant(event.object, observed_at, dialect, fingerprint)]
    uid = shows[0].uid if shows else None
    if event.type == "DELETED" and not (isinstance(shows[0], Tenant) and shows[0].deleted_at):
        # Without a deletionTimestamp only its absence tells.
        shows = []
    return Snapshot(
        tenants=[one for one in shows if isinstance(one, Tenant)],
        unreadable=[one for one in shows if isinstance(one, Unreadable)],
        asked_at=observed_at,
        observed_at=observed_at,
        resource_version=version,
        source="watch",
        scope=frozenset() if uid is None else frozenset({uid}),
    )
