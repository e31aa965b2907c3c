"""The recorded writes, done again to the simulated cluster at the seconds of the recorded server."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from msgspec.json import decode, encode

from tests.apiserver import RECORDINGS, Json, Tenants
from tests.proofs.truth.evidence import API_VERSION, KIND, Change, Evidence
from tests.simulation.truth import ORG_LABEL

_APPLY = "application/apply-patch+yaml"


class Recorded(NamedTuple):
    """One write of a recorded life, and what the server then had and what the simulation has."""

    title: str
    server: Json | None
    simulated: Json | None


class Known(NamedTuple):
    """When a change was made: between the two, by the clock of who made it and who recorded it."""

    before: datetime
    after: datetime
    change: Change


def lines(name: str) -> list[Json]:
    return [json.loads(line) for line in (RECORDINGS / name).read_text(encoding="utf-8").splitlines()]


def exchange(name: str) -> Json:
    one: Json = json.loads((RECORDINGS / name).read_text(encoding="utf-8"))
    return one


def lived_again(life: str) -> tuple[list[Recorded], list[Known]]:
    """Replays `truth.jsonl`; what the server had after each write is in `watch.jsonl`."""
    seen = {
        (event["object"]["metadata"]["name"], event["object"]["metadata"]["resourceVersion"]): event
        for event in (line["event"] for line in lines(f"{life}/watch.jsonl"))
        if event["type"] != "BOOKMARK"
    }
    tenants = tenants_of(set_list=life == "life-set")
    evidence = Evidence(tenants)
    results, truth = [], []
    for line in lines(f"{life}/truth.jsonl"):
        version = line.get("deletedResourceVersion") or line["resourceVersion"]
        event = seen[line["tenant"], version]
        server = None if event["type"] == "DELETED" else event["object"]
        logged = len(evidence.truth)
        write(tenants, line, _instant(line, server))
        title = f"{line['step']} {line['action']} {line['tenant']} by {line['manager']}"
        results.append(Recorded(title, server, tenants.current.get(line["tenant"])))
        before, after = (datetime.fromisoformat(line[side]) for side in ("before", "after"))
        truth += [Known(before, after, change) for change in evidence.read().truth[logged:]]
    return results, truth


def tenants_of(*, set_list: bool) -> Tenants:
    """None yet; each write tells its time."""
    return Tenants(
        api_version=API_VERSION,
        kind=KIND,
        org_label=ORG_LABEL,
        now=lambda: datetime.now(UTC),
        set_list=set_list,
    )


def write(tenants: Tenants, line: Json, at: datetime) -> None:
    """One recorded request."""
    name, request = line["tenant"], line["request"]
    manager, body = request["query"].get("fieldManager", ""), request["body"]
    force = request["query"].get("force") == "true"
    match request["method"], request["contentType"]:
        case "POST", _:
            tenants.create(name, None, org=None, uid=line["uid"], created=at, manager=manager, **body)
        case "DELETE", _:
            tenants.delete(name, at=at)
        case "PATCH", content_type if content_type == _APPLY:
            tenants.apply(name, manager=manager, at=at, uid=line["uid"], force=force, **body)
        case _:
            tenants.patch(name, manager=manager, at=at, **body)


def _instant(line: Json, server: Json | None) -> datetime:
    """Just after the request, but not before the second that the server wrote: some took seconds."""
    before, after = (datetime.fromisoformat(line[side]) for side in ("before", "after"))
    entries = server["metadata"].get("managedFields", []) if server else []
    told = [datetime.fromisoformat(entry["time"]) for entry in entries if "time" in entry]
    return max([before, *(time for time in told if time <= after)])


class Replica:
    """One tenant, written to at the seconds that a recording of it tells."""

    def __init__(self, name: str, *, set_list: bool = False) -> None:
        self.name = name
        self.tenants = tenants_of(set_list=set_list)

    @staticmethod
    def at(time: str, day: str = "2026-11-22") -> datetime:
        """The middle of that second."""
        return datetime.fromisoformat(f"{day}T{time}.5Z")

    def create(self, time: str, manager: str, **spec: Any) -> None:
        packages = spec.pop("packages")
        at = self.at(time)
        self.tenants.create(self.name, packages, org="1", created=at, manager=manager, spec=spec)

    def patch(self, time: str, manager: str, **patch: Any) -> None:
        self.tenants.patch(self.name, manager=manager, at=self.at(time), **patch)

    def apply(
        self, time: str, manager: str, *, force: bool = False, org: str | None = None, **spec: object
    ) -> None:
        labels: Json = {"labels": {ORG_LABEL: org}} if org else {}
        at = self.at(time)
        self.tenants.apply(
            self.name, manager=manager, at=at, force=force, metadata=labels, spec=dict(spec)
        )

    def shown(self) -> Json:
        return self.tenants.current[self.name]


def told(resource: Json) -> Json:
    """What a resource says, with all of managedFields; a set's order is nobody's."""
    spec = dict(resource.get("spec", {}))
    if "packages" in spec:
        spec["packages"] = sorted(spec["packages"])
    return {
        "spec": spec,
        "status": resource.get("status"),
        "labels": resource["metadata"].get("labels", {}).keys(),
        "managedFields": decode(encode(resource["metadata"].get("managedFields", []))),
    }
