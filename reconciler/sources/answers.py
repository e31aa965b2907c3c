"""What an API server's answers mean: their status, what it says of a failure, their body."""

import importlib
import json
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from reconciler.core.text import one_line
from reconciler.errors import Expired, Rejected, SnapshotError

LARGEST_PAGE: Final = 1 << 26
"""The most memory that is taken for a page before its size is seen."""


def check(status: int, body: bytes, asked: str, rule: str, *, expires: bool) -> None:
    """Raises SnapshotError for a status that is no success, and Expired for 410 where that can be."""
    if status == 410 and expires:
        raise Expired(f"{asked} failed with 410{_message(body)}; its history is gone")
    if not 200 <= status <= 299:
        advice = _advice(status, rule)
        kind = Rejected if status in (400, 401, 403, 404, 406, 422) else SnapshotError
        raise kind(f"{asked} failed with {status}{_message(body)}; {advice}")


def _advice(status: int, rule: str) -> str:
    match status:
        case 401:
            return "the credentials are refused: renew the token or the kubeconfig"
        case 403:
            return f"allow this account: {rule} (a server that has just started may say so for a moment)"
        case 404 if "namespaces" in rule:
            return "every Kubernetes has it: check the kubeconfig's server, and the path in its URL"
        case 404:
            return "the CRD is not installed, or this version of it is not served"
        case 407:
            return "the proxy asks for a user and a password: give them in its URL"
        case 429:
            return "the server is overloaded, or not ready yet: try again later"
        case 400 | 406 | 422:
            return "this server does not understand the request; check its version and --api-version"
        case _:
            return "try again when the server is well"


def _message(body: bytes) -> str:
    """What the server said, be it a Status or text."""
    text = body.decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    return f" ({one_line(text)})" if text.strip() else ""


def _inflater() -> Any:
    """ISA-L where it is installed (extra `fast`), which is two to three times as fast; else zlib."""
    with suppress(ImportError):
        return importlib.import_module("isal.isal_zlib")
    return zlib


_ZLIB: Final = _inflater()


def inflated(body: bytes) -> bytes:
    """A gzip, inflated at once: chunk by chunk takes longer. Its size is told at its end.

    Raises zlib.error where it is cut, damaged, or more than one.
    """
    size = int.from_bytes(body[-4:], "little")
    try:
        content: bytes = _ZLIB.decompress(body, zlib.MAX_WBITS | 16, min(max(size, 1), LARGEST_PAGE))
    except _ZLIB.error as error:
        raise zlib.error(str(error)) from None
    if len(content) % (1 << 32) != size:
        raise zlib.error("there is more than one gzip")
    return content


def server_date(header: str | None) -> datetime | None:
    """The time of a Date header."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None


def json_object(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object that a body is. Raises SnapshotError."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SnapshotError(f"the server answered 200, but not with {what}")
    return document
