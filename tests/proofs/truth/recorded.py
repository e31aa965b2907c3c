"""The recorded writes, done again to the simulated cluster at the seconds of the recorded server."""

import json
from datetime import datetime
from itertools import count
from typing import NamedTuple

from msgspec.json import decode, encode

from tests.apiserver import RECORDINGS, Json
from tests.proofs.truth.cluster import EPOCH, SECOND, Change, Cluster, Stored

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


def micros(time: datetime) -> int:
    return (time - EPOCH) // datetime.resolution


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
    uids = (line["uid"] for line in lines(f"{life}/truth.jsonl") if line["action"] == "create")
    cluster = Cluster(uids.__next__, set_list=life == "life-set")
    results, truth = [], []
    for line in lines(f"{life}/truth.jsonl"):
        version = line.get("deletedResourceVersion") or line["resourceVersion"]
        event = seen[line["tenant"], version]
        server = None if event["type"] == "DELETED" else event["object"]
        logged = len(cluster.truth)
        write(cluster, line["request"], line["tenant"], _instant(line, server))
        title = f"{line['step']} {line['action']} {line['tenant']} by {line['manager']}"
        one = cluster.live.get(line["tenant"])
        results.append(Recorded(title, server, cluster.shown(one) if one else None))
        before, after = (datetime.fromisoformat(line[side]) for side in ("before", "after"))
        truth += [Known(before, after, change) for change in cluster.truth[logged:]]
    return results, truth


def write(cluster: Cluster, request: Json, name: str, at: int) -> None:
    """One recorded request."""
    manager, body = request["query"].get("fieldManager", ""), request["body"]
    match request["method"], request["contentType"]:
        case "POST", _:
            cluster.create(at, manager, body)
        case "DELETE", _:
            cluster.delete(at, name)
        case "PATCH", content_type if content_type == _APPLY:
            cluster.apply(at, manager, name, body, force=request["query"].get("force") == "true")
        case "PATCH", _ if request["path"].endswith("/status"):
            cluster.patch_status(at, manager, name, body)
        case _:
            cluster.patch(at, manager, name, body)


def _instant(line: Json, server: Json | None) -> int:
    """Just after the request, but not before the second that the server wrote: some took seconds."""
    before, after = (micros(datetime.fromisoformat(line[side])) for side in ("before", "after"))
    entries = server["metadata"].get("managedFields", []) if server else []
    told = [micros(datetime.fromisoformat(entry["time"])) for entry in entries if "time" in entry]
    return max([before, *(time for time in told if time <= after)])


class Replica:
    """One tenant, written to at the seconds that a recording of it tells."""

    def __init__(self, name: str, *, set_list: bool = False) -> None:
        self.name = name
        self.cluster = Cluster((f"uid-{number}" for number in count()).__next__, set_list=set_list)

    @property
    def stored(self) -> Stored:
        return self.cluster.live[self.name]

    @staticmethod
    def at(time: str, day: str = "2026-11-22") -> int:
        """The middle of that second."""
        return micros(datetime.fromisoformat(f"{day}T{time}Z")) + SECOND // 2

    def body(self, *, org: str | None = None, **spec: object) -> Json:
        label = {"pieced.ch/zitadel-org-id": org}
        return {"metadata": {"name": self.name, **({"labels": label} if org else {})}, "spec": spec}

    def create(self, time: str, manager: str, **spec: object) -> None:
        self.cluster.create(self.at(time), manager, self.body(org="1", **spec))

    def patch(self, time: str, manager: str, **patch: Json) -> None:
        self.cluster.patch(self.at(time), manager, self.name, patch)

    def status(self, time: str, manager: str, **status: str | None) -> None:
        self.cluster.patch_status(self.at(time), manager, self.name, {"status": status})

    def apply(
        self, time: str, manager: str, *, force: bool = False, org: str | None = None, **spec: object
    ) -> None:
        self.cluster.apply(self.at(time), manager, self.name, self.body(org=org, **spec), force=force)

    def shown(self) -> Json:
        return self.cluster.shown(self.stored)


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
