"""Reads what the API server or kubectl sent: a page of a list, and each `PiecedTenant` in it.

A resource with an unusable field is quarantined on its own. A page of anything but the tenants' list
is rejected as a whole. Only the fields that are needed are decoded.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import repeat
from typing import Any, Final, cast

import msgspec
from msgspec import Raw, Struct

from reconciler.core.evidence import NOTHING, read_evidence
from reconciler.core.fingerprint import Printer, printer
from reconciler.core.nesting import deeply, elements, members
from reconciler.core.rfc3339 import instant
from reconciler.core.tenant import Tenant, Unreadable
from reconciler.core.text import quoted, stamp
from reconciler.core.times import CLOCK_TOLERANCE

# The limits of Kubernetes: a longer value was not sent by an API server.
LONGEST_NAME: Final = 253
LONGEST_NAMESPACE: Final = 63
LONGEST_UID: Final = 128
LONGEST_LABEL: Final = 63

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNREADABLE = (*UNDECODABLE, ValueError, TypeError, AttributeError)


class NotTheList(Exception):
    """The input is not a page of the tenants' list; str() says what is wrong."""


class _Malformed(Exception):
    """A field cannot be used; str() is `field: what is wrong`."""


class Page(Struct, frozen=True):
    """One page of a list: its items, not decoded yet, and the token of the next page."""

    items: Sequence[Raw]
    """Those that have to be read."""
    resource_version: str
    continue_token: str
    fingerprints: Sequence[bytes | None] = ()
    """Of the items; empty where nobody asked for them."""
    unchanged: Sequence[bytes] = ()
    """The fingerprints of the other items, which were known."""
    newest: bytes = b""
    """The latest creationTimestamp of the page, as JSON; empty where the items were not looked at."""
    remaining: int | None = None
    """How many items come after it; None: the server does not tell."""

    @property
    def size(self) -> int:
        return len(self.items) + len(self.unchanged)


class _ListMeta(Struct):
    resource_version: str | None = msgspec.field(name="resourceVersion", default=None)
    continue_token: str | None = msgspec.field(name="continue", default=None)
    remaining: int | None = msgspec.field(name="remainingItemCount", default=None)


class _List(Struct):
    kind: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")
    metadata: _ListMeta | None = None
    items: list[Raw] | None = None


# What a field may hold instead of an object. Naming the types saves decoding it twice.
_Other = str | int | float | bool | list[Any] | None


class _Metadata(Struct):
    name: Any = None
    namespace: Any = None
    uid: Any = None
    creation: Any = msgspec.field(name="creationTimestamp", default=None)
    deletion: Any = msgspec.field(name="deletionTimestamp", default=None)
    labels: Any = None
    managed_fields: Raw = msgspec.field(name="managedFields", default_factory=Raw)


class _Spec(Struct):
    packages: Any = None
    suspend: Any = None


class _Status(Struct):
    suspended_at: Any = msgspec.field(name="suspendedAt", default=None)


class _Resource(Struct):
    kind: Any = None
    api_version: Any = msgspec.field(name="apiVersion", default=None)
    metadata: _Metadata | _Other = None
    spec: _Spec | _Other = None
    status: _Status | _Other = None


_decode_list = msgspec.json.Decoder(_List).decode
_decode_resource = msgspec.json.Decoder(_Resource).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


class Dialect(Struct, frozen=True, kw_only=True):
    """The names of the resource and its label in the clusters of this ledger."""

    group: str = "pieced.ch"
    kind: str = "PiecedTenant"
    org_label: str = "pieced.ch/zitadel-org-id"
    managed_fields: bool = True
    """Whether the times in `managedFields` are used; since Kubernetes 1.25 they are upper bounds."""

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def printer(self) -> Printer:
        """What computes the fingerprints of these resources."""
        return printer(self.group, self.kind, self.org_label)


def read_page(
    body: bytes, dialect: Dialect, *, kubectl: bool = False, known: frozenset[bytes] | None = None
) -> Page:
    """Decodes one page, as the API server sends it or (`kubectl`) as `kubectl get -o json` prints it.

    Items with one of the `known` fingerprints are left out. None: no fingerprints are computed. Raises
    NotTheList for a Table, a Status, a list of metadata, another resource, or invalid JSON.
    """
    printed = None if known is None else dialect.printer.page(body)
    if printed is not None and known is not None and known.issuperset(printed.fingerprints):
        _check_list(printed.kind, printed.api_version, dialect, kubectl=kubectl)
        return Page(
            items=(),
            resource_version=printed.resource_version,
            continue_token=printed.continue_token,
            unchanged=printed.fingerprints,
            newest=printed.newest,
            remaining=printed.remaining,
        )
    try:
        page = deeply(_decode_list, body)
    except UNDECODABLE as error:
        # msgspec's message quotes positions and types, never content.
        page = _decode_lenient_list(body, f"not a Kubernetes list: {error}")
    _check_list(page.kind, page.api_version, dialect, kubectl=kubectl)
    if page.items is None:
        raise NotTheList(f"a {page.kind} without items")
    meta, items = page.metadata or _ListMeta(), page.items
    fingerprints: Sequence[bytes | None] = ()
    unchanged: Sequence[bytes] = ()
    if known is not None:
        all_of_them: Iterable[bytes | None] = (
            map(dialect.printer.item, items) if printed is None else printed.fingerprints
        )
        pairs = [*zip(items, all_of_them, strict=True)]
        items = [item for item, fingerprint in pairs if fingerprint not in known]
        fingerprints = [fingerprint for _, fingerprint in pairs if fingerprint not in known]
        unchanged = [one for _, one in pairs if one is not None and one in known]
    return Page(
        items=items,
        resource_version=meta.resource_version or "",
        continue_token=meta.continue_token or "",
        fingerprints=fingerprints,
        unchanged=unchanged,
        newest=b"" if printed is None else printed.newest,
        remaining=meta.remaining,
    )


def _check_list(kind: str, api_version: str, dialect: Dialect, *, kubectl: bool) -> None:
    """Raises NotTheList for anything but the tenants' list."""
    is_tenants = kind == dialect.list_kind and api_version.startswith(f"{dialect.group}/")
    is_kubectl = kubectl and kind == "List" and api_version == "v1"
    if not (is_tenants or is_kubectl):
        what = f"kind {quoted(kind)}, apiVersion {quoted(api_version)}"
        raise NotTheList(f"{what} is not {dialect.list_kind} of {dialect.group}")


def read_tenants(
    items: Iterable[Raw],
    observed_at: datetime,
    dialect: Dialect,
    fingerprints: Sequence[bytes | None] = (),
) -> tuple[list[Tenant], list[Unreadable]]:
    """Reads the items of a page: the tenants, and the unreadable resources. Raises NotTheList."""
    tenants: list[Tenant] = []
    unreadable: list[Unreadable] = []
    for item, fingerprint in zip(items, fingerprints or repeat(None), strict=False):
        one = read_tenant(item, observed_at, dialect, fingerprint)
        if isinstance(one, Tenant):
            tenants.append(one)
        else:
            unreadable.append(one)
    return tenants, unreadable


def read_tenant(
    item: Raw | bytes, observed_at: datetime, dialect: Dialect, fingerprint: bytes | None = None
) -> Tenant | Unreadable:
    """Reads one resource, which has that fingerprint: the tenant, or why it is quarantined.

    Raises NotTheList if the item is a resource of another kind.
    """
    try:
        resource = deeply(_decode_resource, item)
    except UNDECODABLE as error:
        try:
            resource = msgspec.convert(deeply(_lenient, item), _Resource)
        except _UNREADABLE:
            return Unreadable(**_who_apart(bytes(item)), reason=f"cannot be decoded: {error}")
    _check_kind(resource, dialect)
    try:
        return _tenant(resource, observed_at, dialect, fingerprint)
    except _Malformed as problem:
        return Unreadable(**_who(resource.metadata), reason=str(problem))


def _tenant(
    resource: _Resource, observed_at: datetime, dialect: Dialect, fingerprint: bytes | None
) -> Tenant:
    metadata = resource.metadata
    if not isinstance(metadata, _Metadata):
        raise _Malformed(f"metadata: expected an object, found {_found(metadata)}")
    spec = _Spec() if resource.spec is None else resource.spec
    if not isinstance(spec, _Spec):
        raise _Malformed(f"spec: expected an object, found {_found(spec)}")
    status = _Status() if resource.status is None else resource.status
    if not isinstance(status, _Status):
        raise _Malformed(f"status: expected an object, found {_found(status)}")

    uid = _text(metadata.uid, "metadata.uid", LONGEST_UID)
    name = _name(metadata)
    created_at = _time(metadata.creation, "metadata.creationTimestamp")
    if created_at > observed_at + CLOCK_TOLERANCE:
        raise _Malformed(f"metadata.creationTimestamp: {stamp(created_at)} is later than the snapshot")
    suspended_at = (
        None if status.suspended_at is None else _time(status.suspended_at, "status.suspendedAt")
    )
    if spec.suspend is not None and not isinstance(spec.suspend, bool):
        raise _Malformed(f"spec.suspend: expected true or false, found {_found(spec.suspend)}")
    skills = _skills(spec.packages)
    evidence, org_changed_at = NOTHING, None
    if metadata.managed_fields and dialect.managed_fields:
        evidence, org_changed_at = read_evidence(
            metadata.managed_fields, skills, spec.suspend, dialect.org_label
        )
    return Tenant(
        uid=uid,
        name=name,
        org=_org(metadata.labels, dialect.org_label),
        created_at=created_at,
        skills=skills,
        suspended=suspended_at is not None if spec.suspend is None else spec.suspend,
        suspended_at=suspended_at,
        deleted_at=(
            None if metadata.deletion is None else _time(metadata.deletion, "metadata.deletionTimestamp")
        ),
        evidence=evidence,
        org_changed_at=org_changed_at,
        fingerprint=fingerprint,
    )


def _name(metadata: _Metadata) -> str:
    name = _text(metadata.name, "metadata.name", LONGEST_NAME)
    if metadata.namespace is None:
        return name
    return f"{_text(metadata.namespace, 'metadata.namespace', LONGEST_NAMESPACE)}/{name}"


def _org(labels: Any, label: str) -> str:
    field = f"metadata.labels[{label}]"
    if labels is None:
        raise _Malformed(f"{field}: missing")
    if not isinstance(labels, dict):
        raise _Malformed(f"metadata.labels: expected an object, found {_found(labels)}")
    if label not in labels:
        raise _Malformed(f"{field}: missing")
    return sys.intern(_text(labels[label], field, LONGEST_LABEL))


def _skills(packages: Any) -> tuple[str, ...]:
    if packages is None:
        return ()
    if not isinstance(packages, list):
        raise _Malformed(f"spec.packages: expected a list of strings, found {_found(packages)}")
    try:
        # Check them all at once, because nearly always all are valid.
        joined = "".join(packages)
        are_text = all(packages) and "\0" not in joined and _is_text(joined)
    except TypeError:
        are_text = False
    if not are_text:
        for position, package in enumerate(packages):
            _text(package, f"spec.packages[{position}]", required=False)
    return tuple(sorted(set(map(sys.intern, packages))))


def _text(value: Any, field: str, longest: int | None = None, *, required: bool = True) -> str:
    """A string that is not empty and that Postgres can store: valid Unicode without NUL."""
    if value is None and required:
        raise _Malformed(f"{field}: missing")
    if not isinstance(value, str):
        raise _Malformed(f"{field}: expected a string, found {_found(value)}")
    if not value:
        raise _Malformed(f"{field}: empty")
    if "\0" in value:
        raise _Malformed(f"{field}: {quoted(value)} contains a NUL character")
    if longest is not None and len(value.encode(errors="replace")) > longest:
        raise _Malformed(
            f"{field}: {quoted(value)} is longer than the {longest} bytes that Kubernetes allows"
        )
    if not _is_text(value):
        raise _Malformed(f"{field}: {quoted(value)} is not valid Unicode")
    return value


def _is_text(value: str) -> bool:
    """Whether it can be encoded as UTF-8: it has no unpaired surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(value: Any, field: str) -> datetime:
    if not isinstance(value, str):
        raise _Malformed(f"{field}: expected an RFC 3339 time, found {_found(value)}")
    try:
        return instant(value)
    except ValueError:
        raise _Malformed(f"{field}: {quoted(value)} is not an RFC 3339 time") from None


def _decode_lenient_list(body: bytes, problem: str) -> _List:
    """Decodes a list that msgspec rejects because of one item: an unpaired surrogate, invalid UTF-8.

    That item is rejected later, on its own. Raises NotTheList with `problem` if the standard library
    cannot decode the list either.
    """
    if not body.strip():
        raise NotTheList("empty")
    try:
        return deeply(_lenient_list, body)
    except RecursionError:
        return _list_apart(body, problem)
    except _UNREADABLE:
        raise NotTheList(problem) from None


def _list_apart(body: bytes, problem: str) -> _List:
    """Decodes a list in which an item is too deep: without the items, which are read one by one."""
    try:
        start, end = members(body)["items"]
        page = _decode_list(body[:start] + b"[]" + body[end:])
    except (KeyError, *UNDECODABLE):
        raise NotTheList(problem) from None
    page.items = [*map(Raw, elements(body[start:end]))]
    return page


def _lenient_list(body: bytes) -> _List:
    document = _lenient(body)
    items = [Raw(json.dumps(item).encode()) for item in document.pop("items", ())]
    return msgspec.convert({**document, "items": items}, _List)


def _lenient(text: Raw | bytes) -> dict[str, Any]:
    """Decodes JSON. Bytes that are not UTF-8 become unpaired surrogates, which `_text` rejects."""
    # Integers as floats: Python limits the length of an integer, and no integer is used here.
    document = json.loads(bytes(text).decode(errors="surrogateescape"), parse_int=float)
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        # The evidence is optional, and would have to be encoded again.
        metadata.pop("managedFields", None)
    if not isinstance(document.get("items", []), list):
        raise TypeError("items")
    return cast(dict[str, Any], document)


def _check_kind(resource: _Resource, dialect: Dialect) -> None:
    """Raises NotTheList for a resource of another kind, or of another group."""
    if resource.kind not in (None, dialect.kind):
        raise NotTheList(
            f"it contains a resource of kind {_found(resource.kind)}; expected only {dialect.kind}"
        )
    group = resource.api_version
    if group is not None and not (isinstance(group, str) and group.startswith(f"{dialect.group}/")):
        raise NotTheList(
            f"it contains a resource of apiVersion {_found(group)}; expected the group {dialect.group}"
        )


def _who(metadata: object) -> dict[str, str | None]:
    """The uid and the name, as far as they can be read: whose known state is kept."""
    who: dict[str, str | None] = {"uid": None, "name": None}
    if isinstance(metadata, _Metadata):
        with suppress(_Malformed):
            who["uid"] = _text(metadata.uid, "metadata.uid", LONGEST_UID)
        with suppress(_Malformed):
            who["name"] = _name(metadata)
    return who


def _who_apart(item: bytes) -> dict[str, str | None]:
    """The same of a resource that cannot be decoded as a whole."""
    metadata = None
    with suppress(KeyError, *UNDECODABLE):
        start, end = members(item)["metadata"]
        metadata = _decode_metadata(item[start:end])
    return _who(metadata)


def _found(value: object) -> str:
    match value:
        case _Metadata() | _Spec() | _Status() | dict():
            return "an object"
        case str():
            return f"the string {quoted(value)}"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value!r}"
        case None:
            return "null"
        case _:
            return "a list"
