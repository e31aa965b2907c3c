"""Tenants as an API server prints them: what we read, and the many times as much that we do not."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

API_VERSION: Final = "pieced.ch/v1alpha1"
SKILLS_EACH: Final = 10
CHANGED_EVERY: Final = 100
"""In the changed state, every one of so many tenants has one more skill."""

_SKILLS: Final = tuple(
    f"{area}-{what}"
    for area in ("mail", "wiki", "crm", "forms", "chat", "vault", "shop", "threema")
    for what in ("basic", "plus", "archive", "search", "sync")
)
_PLACES: Final = ("aare", "basel", "chur", "davos", "emme", "flims", "genf", "horw", "jura", "kriens")
_encode: Final = msgspec.json.Encoder().encode
_LATEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_YEARS: Final = timedelta(days=1000).total_seconds()


def name(number: int) -> str:
    """The tenant's name; names sort as their numbers do, which is the order of a list."""
    return f"tenant-{number:06d}-{_PLACES[number % len(_PLACES)]}"


class State(StrEnum):
    """What has happened to the tenants since the backfill."""

    AS_BEFORE = "as-before"
    CHANGED = "changed"
    """Every hundredth has one more skill."""
    HEARTBEAT = "heartbeat"
    """The status of every one tells another time."""
    LABELLED = "labelled"
    """Every one has one more label, which does not count."""


def tenants(count: int, *, large: bool, state: State) -> Iterator[bytes]:
    """The JSON of each, of about 3 KB or, `large`, 12 KB; to the ledger they are the same."""
    rng, filling = random.Random(count), random.Random(-1)  # noqa: S311 - the same at every call
    for number in range(count):
        is_changed = state is State.CHANGED and number % CHANGED_EVERY == 0
        tenant = _tenant(number, rng, filling if large else None, changed=is_changed)
        if state is State.HEARTBEAT:
            tenant["status"]["heartbeat"] = _time(_LATEST + timedelta(days=1))
        if state is State.LABELLED:
            tenant["metadata"]["labels"]["pieced.ch/wave"] = "2"
        if state in (State.HEARTBEAT, State.LABELLED):
            tenant["metadata"]["resourceVersion"] = str(500_000 + number)
        yield _encode(tenant)


def _tenant(
    number: int, rng: random.Random, filling: random.Random | None, *, changed: bool
) -> dict[str, Any]:
    created = _LATEST - timedelta(seconds=int(rng.random() * _YEARS))
    spec_changed = created + timedelta(seconds=int(rng.random() * (_LATEST - created).total_seconds()))
    status_changed = spec_changed + timedelta(seconds=3)
    skills = rng.sample(_SKILLS, SKILLS_EACH)
    suspended = rng.random() < 0.02
    uid = f"{rng.getrandbits(128):032x}"
    spec: dict[str, Any] = {
        "contact": {"email": f"admin@{name(number)}.example.ch", "language": "de-CH"},
        "displayName": f"{name(number).title()} Genossenschaft",
        "domains": [f"{name(number)}.pieced.example", f"{name(number)}.example.ch"],
        "packages": skills,
        "region": "ch-zh-1",
        "suspend": suspended,
    }
    if filling:
        spec["settings"] = {skill: _settings(filling) for skill in skills}
    applied = {"apiVersion": API_VERSION, "kind": "PiecedTenant", "spec": spec}
    if changed:
        spec = {**spec, "packages": [*skills, "one-more"]}
        spec_changed = _LATEST + timedelta(days=1)
    own: dict[str, Any] = {
        "f:contact": {".": {}, "f:email": {}, "f:language": {}},
        "f:displayName": {},
        "f:domains": {},
    }
    if filling:
        own["f:settings"] = {f"f:{skill}": {".": {}, "f:limits": {}, "f:notes": {}} for skill in skills}
    return {
        "apiVersion": API_VERSION,
        "kind": "PiecedTenant",
        "metadata": {
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": _encode(applied).decode() + "\n",
                "pieced.ch/requested-by": f"user-{rng.getrandbits(48):012x}",
                "pieced.ch/trace": f"{rng.getrandbits(256):064x}",
            },
            "creationTimestamp": _time(created),
            "finalizers": ["pieced.ch/tenant-cleanup"],
            "generation": 4 + changed,
            "labels": {
                "app.kubernetes.io/managed-by": "portal",
                "pieced.ch/tier": "standard",
                "pieced.ch/zitadel-org-id": f"{320815470900000000 + number // 3}",
            },
            "managedFields": [
                _owner("kubectl-client-side-apply", created, {"f:metadata": _METADATA, "f:spec": own}),
                _owner("portal", spec_changed, {"f:spec": {"f:packages": {}, "f:suspend": {}}}),
                {**_owner("operator", status_changed, _STATUS), "subresource": "status"},
            ],
            "name": name(number),
            "resourceVersion": str(100_000 + number + changed),
            "uid": f"{uid[:8]}-{uid[8:12]}-4{uid[13:16]}-a{uid[17:20]}-{uid[20:]}",
        },
        "spec": spec,
        "status": {
            "conditions": [
                _condition("Ready", status_changed),
                _condition("Provisioned", created),
                _condition("CertificateIssued", status_changed),
            ],
            "observedGeneration": 4 + changed,
            **({"suspendedAt": _time(status_changed)} if suspended else {}),
        },
    }


_METADATA: Final[dict[str, Any]] = {
    "f:annotations": {
        ".": {},
        "f:kubectl.kubernetes.io/last-applied-configuration": {},
        "f:pieced.ch/requested-by": {},
    },
    "f:finalizers": {".": {}, 'v:"pieced.ch/tenant-cleanup"': {}},
    "f:labels": {".": {}, "f:pieced.ch/tier": {}, "f:pieced.ch/zitadel-org-id": {}},
}
_STATUS: Final[dict[str, Any]] = {"f:status": {".": {}, "f:conditions": {}, "f:observedGeneration": {}}}


def _settings(filling: random.Random) -> dict[str, Any]:
    return {"limits": {"seats": 50, "storageGiB": 200}, "notes": filling.randbytes(176).hex(" ", 4)}


def _owner(manager: str, at: datetime, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        "manager": manager,
        "operation": "Update",
        "time": _time(at),
    }


def _condition(kind: str, at: datetime) -> dict[str, Any]:
    return {
        "lastTransitionTime": _time(at),
        "message": f"{kind} as of the last reconciliation",
        "reason": "AsExpected",
        "status": "True",
        "type": kind,
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
