"""Watches of the fake API server by the real client, and as they were recorded."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.apiserver import RECORDINGS, ApiServer, Json, Tenants
from tests.waiting import PATIENCE, until

DAY = datetime(2026, 11, 22, 15, 37, tzinfo=UTC)
LABEL = "pieced.ch/zitadel-org-id"
ORG = "32081547092000000"
GONE: Json = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is gone"}


def recording(name: str) -> Json:
    exchange: Json = json.loads((RECORDINGS / name).read_bytes())
    return exchange


def recorded_events(name: str) -> list[Json]:
    return [json.loads(text) for text in recording(name)["response"]["stream"]]


@dataclass
class Stream:
    """A watch by the real client, read in a thread of its own."""

    query: Json
    lines: list[bytes] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    headers: Json = field(default_factory=dict)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.configuration = client.Configuration()
        self.configuration.retries = False
        self.thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        try:
            with client.ApiClient(self.configuration) as kubernetes:
                api = client.CustomObjectsApi(kubernetes)
                names = ("pieced.ch", "v1alpha1", "piecedtenants")
                answer = cast(
                    "urllib3.HTTPResponse",
                    api.list_cluster_custom_object(
                        *names, watch=True, _preload_content=False, **self.query
                    ),
                )
                self.headers = dict(answer.headers)
                rest = b""
                for part in answer.stream(1 << 16):
                    *lines, rest = (rest + part).split(b"\n")
                    self.lines += lines
                    self.received += [time.monotonic()] * len(lines)
                assert not rest
        except (HTTPError, ApiException) as error:
            self.error = error

    def end(self, seconds: float = PATIENCE) -> "Stream":
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the stream does not end"
        return self

    @property
    def events(self) -> list[Json]:
        return [json.loads(text) for text in self.lines]

    def until(self, count: int) -> list[Json]:
        until(lambda: len(self.lines) >= count or not self.thread.is_alive())
        return self.events


Open = Callable[..., Stream]


def ask(server: ApiServer, query: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """A watch by hand, read to its end."""
    with closing(
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    ) as connection:
        connection.request("GET", f"{server.list_path}?{query}", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def kinds(stream: Stream) -> list[str]:
    return [event["type"] for event in stream.events]


def names(events: list[Json]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def at(seconds: int) -> datetime:
    return DAY + timedelta(seconds=seconds)


def write_the_three(tenants: Tenants) -> None:
    """What there is when the recorded watches begin."""
    for event in recorded_events("watch/without-resource-version.json")[:3]:
        tenants.revision = int(event["object"]["metadata"]["resourceVersion"]) - 1
        tenants.put_object(event["object"])


def write_what_was_watched(tenants: Tenants) -> None:
    """The writes that the recorded watches tell of, at the same times and resourceVersions."""
    uids = [
        event["object"]["metadata"]["uid"]
        for event in recorded_events("watch/basic.json")
        if event["type"] == "ADDED"
    ]
    tenants.write_elsewhere()
    tenants.create("dora", ["wiki"], suspend=False, org=f"{ORG}9", uid=uids[0], created=at(46))
    tenants.patch("anna", spec={"packages": ["mail", "wiki"]}, manager="gitops", at=at(47))
    tenants.patch("bert", spec={"suspend": True}, at=at(48))
    tenants.set_status("bert", {"suspendedAt": "2026-11-22T15:37:48Z"}, at=at(48))
    tenants.patch("bert", metadata={"labels": {LABEL: "320815470920000077"}}, at=at(49))
    tenants.patch("bert", metadata={"labels": None}, at=at(49))
    tenants.patch("bert", metadata={"labels": {LABEL: f"{ORG}1"}}, at=at(50))
    tenants.patch("cleo", metadata={"finalizers": ["pieced.ch/cleanup"]}, at=at(51))
    tenants.delete("cleo", at=at(51))
    tenants.patch("cleo", metadata={"finalizers": None}, at=at(52))
    tenants.write_elsewhere()
    tenants.delete("dora", at=at(53))
    tenants.create("dora", ["wiki"], suspend=False, org=f"{ORG}9", uid=uids[1], created=at(53))
    for packages in (["mail"], ["mail", "wiki"], ["mail"], ["mail", "wiki"]):
        tenants.patch("anna", spec={"packages": packages}, at=at(54))
