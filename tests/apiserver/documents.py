"""JSON documents: their type, how they are merged and spelled, and the recorded ones.

Knows no tenant and no server.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A JSON object; its leaves have no type, since a malformed one is often the point."""

RECORDINGS: Final = Path(__file__).parents[1] / "recordings"


def merged(target: Json, patch: Json) -> Json:
    """The target under a JSON merge patch (RFC 7386); neither is changed, and both share their lists."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            under = result.get(name)
            result[name] = merged(under if isinstance(under, dict) else {}, value)
        else:
            result[name] = value
    return result


def rfc3339(moment: datetime) -> str:
    """As Kubernetes spells times: in UTC, cut to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(name: str | Path) -> Json:
    """The exchange recorded in that file, which is relative to `recordings/`."""
    exchange: Json = json.loads((RECORDINGS / name).read_bytes())
    return exchange


def encoded(body: Json | str) -> bytes:
    """A body as the API server sends it: compact JSON and a newline, or the text itself."""
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
