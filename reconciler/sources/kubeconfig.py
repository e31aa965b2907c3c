"""Which cluster, and as whom: the files of a kubeconfig, merged as kubectl merges them.

Of KUBECONFIG's list the first file that names a thing wins, whole; files that are missing or empty count
for nothing; paths in a file are relative to it. https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from reconciler.sources.documents import document

DEFAULT: Final = "~/.kube/config"

_KINDS: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}
_PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class Account(Struct, frozen=True):
    """What a kubeconfig says of one context; its paths are absolute."""

    context: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]
    user_name: str


class Malformed(Exception):
    """Says what is wrong with a kubeconfig, and quotes no secret."""


def account(explicit: str | None, context: str | None) -> Account:
    """The context that is asked for, or the current one. Raises Malformed."""
    merged: dict[str, dict[str, Mapping[str, Any]]] = {kind: {} for kind in _KINDS}
    current = ""
    for file in _files(explicit):
        config = _read(file, required=explicit is not None)
        for kind in _KINDS:
            for name, one in _named(config, kind, file).items():
                merged[kind].setdefault(name, one)
        current = current or text(config, "current-context")
    return _chosen(merged, context or current)


def place(explicit: str | None) -> str:
    """Where the files are, for messages."""
    return explicit or os.environ.get("KUBECONFIG") or DEFAULT


def text(fields: Mapping[str, Any], name: str) -> str:
    """A field that is a string, or empty where it is missing. Raises Malformed for anything else."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{name} must be a string")
    return value


def content(fields: Mapping[str, Any], name: str) -> bytes:
    """A certificate or a key: what NAME-data holds, or else the file NAME. Raises Malformed."""
    if data := text(fields, f"{name}-data"):
        try:
            return base64.b64decode(data, validate=False)
        except binascii.Error:
            raise Malformed(f"{name}-data is not base64") from None
    file = text(fields, name)
    try:
        return Path(file).read_bytes() if file else b""
    except OSError as error:
        raise Malformed(f"{name} {file} cannot be read: {error.strerror}") from None


def _files(explicit: str | None) -> Sequence[Path]:
    if explicit is None and (listed := os.environ.get("KUBECONFIG")):
        return [Path(one) for one in dict.fromkeys(listed.split(os.pathsep)) if one]
    return [Path(explicit or DEFAULT).expanduser()]


def _read(file: Path, *, required: bool) -> Mapping[str, Any]:
    try:
        found = document(file.read_bytes())
    except FileNotFoundError:
        if required:
            raise Malformed(f"{file} does not exist") from None
        return {}
    except OSError as error:
        raise Malformed(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as problem:
        raise Malformed(f"{file} is not a kubeconfig: {problem}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Malformed(f"{file} is not a kubeconfig")
    if text(found, "kind") not in ("", "Config"):
        raise Malformed(f"{file} is not a kubeconfig, but a {found['kind']}")
    return found


def _named(config: Mapping[str, Any], kind: str, file: Path) -> Mapping[str, Mapping[str, Any]]:
    entries = config.get(kind) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Malformed(f"{kind} of {file} must be a list of objects")
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        name, value = text(entry, "name"), entry.get(_KINDS[kind]) or {}
        if not isinstance(value, dict):
            raise Malformed(f"{_KINDS[kind]} {name} of {file} must be an object")
        if name in found:
            raise Malformed(f"{file} has two {kind} called {name}")
        found[name] = _resolved(value, file.absolute().parent)
    return found


def _resolved(value: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Paths relative to the file; of a plugin, only one that is no plain name to be found in PATH."""
    resolved = {
        name: str(folder / one) if name in _PATHS and isinstance(one, str) and one else one
        for name, one in value.items()
    }
    plugin = value.get("exec")
    if isinstance(plugin, dict) and "/" in text(plugin, "command"):
        resolved["exec"] = {**plugin, "command": str(folder / plugin["command"])}
    return resolved


def _chosen(merged: Mapping[str, Mapping[str, Mapping[str, Any]]], context: str) -> Account:
    if not context:
        raise Malformed("it has no current-context")
    if context not in merged["contexts"]:
        raise Malformed(f"contexts has no {context}")
    named = merged["contexts"][context]
    cluster, user = text(named, "cluster"), text(named, "user")
    if cluster not in merged["clusters"]:
        raise Malformed(f"clusters has no {cluster or '(none)'}, which context {context} names")
    if user and user not in merged["users"]:
        raise Malformed(f"users has no {user}, which context {context} names")
    if not text(merged["clusters"][cluster], "server"):
        raise Malformed(f"cluster {cluster} names no server")
    return Account(
        context=context,
        cluster=merged["clusters"][cluster],
        user=merged["users"].get(user, {}),
        user_name=user,
    )
