"""Credential plugins: programs that a kubeconfig names, and that print a token or a certificate."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from reconciler.core.text import one_line
from reconciler.errors import SnapshotError
from reconciler.sources.kubeconfig import Malformed, text

LASTS: Final = 60
"""Seconds that a plugin may take where it can ask nobody."""


def ask(plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status in the ExecCredential that it prints. Raises Malformed, and SnapshotError."""
    command, version = text(plugin, "command"), text(plugin, "apiVersion")
    if not command or not version:
        raise Malformed("exec needs a command and an apiVersion")
    arguments, environment = plugin.get("args") or [], plugin.get("env") or []
    try:
        added = {str(one["name"]): str(one["value"]) for one in environment}
    except (LookupError, TypeError):
        raise Malformed(f"env of {named(plugin)} must be a list of names with values") from None
    is_interactive = (
        plugin.get("interactiveMode") != "Never" and sys.stdin is not None and sys.stdin.isatty()
    )
    request: dict[str, Any] = {
        "apiVersion": version,
        "kind": "ExecCredential",
        "spec": {"interactive": is_interactive},
    }
    if plugin.get("provideClusterInfo") is True:
        request["spec"]["cluster"] = cluster
    try:
        done = subprocess.run(  # noqa: S603 - what the kubeconfig asks for, as kubectl does
            [command, *map(str, arguments)],
            stdin=None if is_interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Whoever can be asked reads what it asks.
            stderr=None if is_interactive else subprocess.PIPE,
            env={**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(request)},
            timeout=None if is_interactive else LASTS,
            check=False,
        )
    except OSError as error:
        hint = text(plugin, "installHint")
        problem = f"{error.strerror}; {one_line(hint)}" if hint else f"{error.strerror}"
        raise Malformed(f"{named(plugin)} cannot be started: {problem}") from None
    except subprocess.TimeoutExpired:
        raise SnapshotError(f"{named(plugin)} gave no answer within {LASTS} s") from None
    if done.returncode != 0:
        said = one_line((done.stderr or b"").decode(errors="replace")) or "it says nothing"
        raise SnapshotError(f"{named(plugin)} failed with status {done.returncode}: {said}")
    return _status(done.stdout, version, named(plugin))


def _status(printed: bytes, version: str, plugin: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(printed)
        kind, answered, status = answer["kind"], answer["apiVersion"], answer["status"]
    except (ValueError, LookupError, TypeError):
        raise SnapshotError(f"{plugin} did not print an ExecCredential") from None
    if kind != "ExecCredential" or answered != version or not isinstance(status, dict):
        raise SnapshotError(f"{plugin} did not print an ExecCredential of {version}")
    return status


def named(plugin: Mapping[str, Any]) -> str:
    """The plugin, for messages."""
    return f"the credential plugin {text(plugin, 'command')}"
