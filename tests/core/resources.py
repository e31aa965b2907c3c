"""Resources and lists as an API server would send them, and what is read from them."""

import json
from datetime import UTC, datetime
from typing import Any

from reconciler.core.reading import Dialect, read_page, read_tenant, read_tenants
from reconciler.core.tenant import Tenant, Unreadable
from tests.conftest import RECORDINGS

TENANTS = Dialect()
S = datetime(2026, 11, 22, 16, tzinfo=UTC)
ORG = TENANTS.org_label


def resource(**changes: Any) -> dict[str, Any]:
    """A tenant with that metadata, spec or status; `...` leaves a key out."""
    parts: dict[str, Any] = {
        "metadata": {
            "name": "aare",
            "uid": "A",
            "creationTimestamp": "2026-11-22T15:00:00Z",
            "labels": {ORG: "org-1"},
            "managedFields": [
                {
                    "manager": "portal",
                    "time": "2026-11-22T15:00:00Z",
                    "fieldsV1": {"f:spec": {"f:packages": {}}},
                }
            ],
        },
        "spec": {"packages": ["mail"]},
        "status": {},
    }
    for part, change in changes.items():
        merged = {**parts[part], **change} if isinstance(change, dict) else change
        parts[part] = (
            {key: value for key, value in merged.items() if value is not ...}
            if isinstance(merged, dict)
            else merged
        )
    return {"apiVersion": "pieced.ch/v1alpha1", "kind": "PiecedTenant", **parts}


def read(**changes: Any) -> Tenant | Unreadable:
    return read_tenant(json.dumps(resource(**changes)).encode(), S, TENANTS)


def listed(*items: dict[str, Any] | bytes, kind: str = "PiecedTenantList") -> bytes:
    """A page with these items, of which some are written by hand."""
    api = "v1" if kind == "List" else "pieced.ch/v1alpha1"
    texts = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    head = json.dumps({"apiVersion": api, "kind": kind, "metadata": {"resourceVersion": "7"}})
    return head.encode()[:-1] + b', "items": [' + b", ".join(texts) + b"]}"


def read_list(body: bytes, *, kubectl: bool = False) -> tuple[list[Tenant], list[Unreadable]]:
    return read_tenants(read_page(body, TENANTS, kubectl=kubectl).items, S, TENANTS)


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def recorded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_bytes())
    return content


def recorded_list(name: str) -> bytes:
    return json.dumps(recorded(name)["response"]["body"], ensure_ascii=False).encode()
