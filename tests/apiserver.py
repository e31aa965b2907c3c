"""A Kubernetes API server with one custom resource, for tests that talk to it over real HTTP.

It answers as the recorded servers did (`recordings/`), keeps its tenants as etcd does, allows what the
reconciler's role allows and nothing else, and misbehaves on demand: `FAULTS`. It knows nothing of the
reconciler. It has no watch yet, and answers one with 501; all that it would tell is in `Tenants.log`.
"""

import base64
import gzip
import itertools
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

Json: TypeAlias = dict[str, Any]
"""A JSON object; its leaves have no type, since a malformed one is often the point."""

RECORDINGS: Final = Path(__file__).parent / "recordings"

LATEST: Final = -1
"""The revision in an inconsistent continue token: the latest, whenever it is used."""
GZIP_ABOVE: Final = 128 * 1024
"""Bytes of a body; a larger one is compressed for who asks (list/large-accept-encoding-gzip)."""
CHUNKED_ABOVE: Final = 2048
"""Bytes of a body; a larger one is sent in chunks, as Go's server does."""


# --- The tenants ---


@dataclass(frozen=True, slots=True)
class Event:
    """One write, as a watch tells of it."""

    revision: int
    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    key: str
    """`name`, or `namespace/name`."""
    resource: Json
    """As it is after the write; of a deletion as it last was, under the deletion's resourceVersion."""


@dataclass(kw_only=True)
class Tenants:
    """The tenants of one cluster: a log of writes, and every state is what the log adds up to.

    One thread writes, any number read. A write is done by a `manager`, who then owns what it changed in
    `managedFields`, at a time `at`: now by default, cut to the second. KeyError: no such tenant, or one
    of that name already.
    """

    api_version: str
    kind: str
    org_label: str
    now: Callable[[], datetime]
    log: list[Event] = field(default_factory=list)
    current: dict[str, Json] = field(default_factory=dict)
    """The latest state, by key: for reading."""
    revision: int = 1
    """The resourceVersion of a list made now. It may be raised: something else was written."""
    compacted: int = 1
    """The oldest revision that can still be read."""

    def at(self, revision: int) -> dict[str, Json]:
        """The state as of that revision, by key, in the keys' order."""
        state: dict[str, Json] = {}
        for event in tuple(self.log):
            if event.revision > revision:
                break
            if event.kind == "DELETED":
                del state[event.key]
            else:
                state[event.key] = event.resource
        return dict(sorted(state.items()))

    def create(
        self,
        name: str,
        packages: Sequence[object] | None,
        *,
        suspend: bool | None = None,
        org: str | None = "320815470900000001",
        uid: str | None = None,
        created: datetime | None = None,
        namespace: str | None = None,
        manager: str | None = "portal",
        **more: Json,
    ) -> Json:
        """A new tenant, without what is None, with `more` merged in: `metadata={"finalizers": [..]}`.

        Without a manager it has no managedFields, and later patches do not start them either.
        """
        key = _key(name, namespace)
        if key in self.current:
            raise KeyError(key)
        created = created or self.now()
        metadata: Json = {
            "name": name,
            "namespace": namespace,
            "uid": uid or str(uuid4()),
            "creationTimestamp": _rfc3339(created),
            "generation": 1,
            "labels": None if org is None else {self.org_label: org},
        }
        spec = {"packages": None if packages is None else list(packages), "suspend": suspend}
        resource: Json = {"apiVersion": self.api_version, "kind": self.kind}
        resource = merged(merged(resource, {"metadata": metadata, "spec": spec}), more)
        if manager is not None:
            resource["metadata"]["managedFields"] = _managed_fields({}, resource, manager, created)
        return self._write("ADDED", key, resource)

    def patch(
        self,
        name: str,
        *,
        namespace: str | None = None,
        manager: str = "portal",
        at: datetime | None = None,
        **patch: Json,
    ) -> Json:
        """A JSON merge patch: `spec={"suspend": True}`, `metadata={"finalizers": None}`, `status={...}`.

        What changes nothing is no write; what takes a deleted tenant's last finalizer away removes it.
        """
        key = _key(name, namespace)
        before = self.current[key]
        after = merged(before, patch)
        if after == before:
            return deepcopy(before)
        metadata = after["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            return self._write("DELETED", key, before)
        kept: Json = {}
        if after.get("spec") != before.get("spec"):
            kept["generation"] = metadata.get("generation", 1) + 1
        if "managedFields" in metadata:
            kept["managedFields"] = _managed_fields(before, after, manager, at or self.now())
        return self._write("MODIFIED", key, merged(after, {"metadata": kept}))

    def delete(self, name: str, *, namespace: str | None = None, at: datetime | None = None) -> None:
        """Remove a tenant; one with finalizers stays, with a deletionTimestamp that never moves."""
        key = _key(name, namespace)
        resource = self.current[key]
        metadata = resource["metadata"]
        if not metadata.get("finalizers"):
            self._write("DELETED", key, resource)
        elif "deletionTimestamp" not in metadata:
            deletion = {
                "deletionTimestamp": _rfc3339(at or self.now()),
                "deletionGracePeriodSeconds": 0,
                "generation": metadata.get("generation", 1) + 1,
            }
            self._write("MODIFIED", key, merged(resource, {"metadata": deletion}))

    def put_object(self, resource: Json) -> Json:
        """Store as it is what has a `metadata.name` of any type; only its resourceVersion is set."""
        metadata = resource["metadata"]
        key = _key(metadata["name"], metadata.get("namespace"))
        return self._write("MODIFIED" if key in self.current else "ADDED", key, deepcopy(resource))

    def expire_tokens(self) -> None:
        """Compact the log: every continue token given out so far is too old from now on."""
        self.revision += 1
        self.compacted = self.revision

    def restore(self, revision: int) -> None:
        """Put etcd back to a backup of that revision: what was written since has never been."""
        self.log = [event for event in self.log if event.revision <= revision]
        self.current = self.at(revision)
        self.revision = revision

    def _write(self, kind: Literal["ADDED", "MODIFIED", "DELETED"], key: str, resource: Json) -> Json:
        revision = self.revision + 1
        resource = merged(resource, {"metadata": {"resourceVersion": str(revision)}})
        self.log.append(Event(revision, kind, key, resource))
        if kind == "DELETED":
            del self.current[key]
        else:
            self.current[key] = resource
        self.revision = revision  # Last: who reads it finds the log complete up to there.
        return deepcopy(resource)


def merged(target: Json, patch: Json) -> Json:
    """The target under a JSON merge patch (RFC 7386); neither of the two is changed."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            under = result.get(name)
            result[name] = merged(under if isinstance(under, dict) else {}, value)
        else:
            result[name] = deepcopy(value)
    return result


def _key(name: object, namespace: object) -> str:
    return f"{namespace}/{name}" if namespace else f"{name}"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Who owns which field, and since when ---

_FieldPath: TypeAlias = tuple[str, ...]
"""As in FieldsV1: `("f:spec", "f:packages")`; of a map itself, `("f:spec", ".")`."""


def _managed_fields(before: Json, after: Json, manager: str, moment: datetime) -> list[Json]:
    """`managedFields` after an update by that manager, as v1.36 has it (list/seven).

    What is new or changed is the manager's alone, and its time moves; what is gone leaves no time.
    """
    old, new = _fields(before), _fields(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    stayed = new.keys() - changed
    entries = {
        (entry["manager"], entry.get("subresource")): (
            entry,
            {path for path in stayed if _owns(entry["fieldsV1"], path)},
        )
        for entry in before.get("metadata", {}).get("managedFields", [])
    }
    if changed:
        subresource = "status" if before.get("status") != after.get("status") else None
        entry = {
            "apiVersion": after["apiVersion"],
            "fieldsType": "FieldsV1",
            "manager": manager,
            "operation": "Update",
            **({"subresource": subresource} if subresource else {}),
            "time": _rfc3339(moment),
        }
        _, owned = entries.get((manager, subresource), ({}, set()))
        entries[manager, subresource] = entry, owned | changed
    managed = [entry | {"fieldsV1": _fields_v1(owned)} for entry, owned in entries.values() if owned]
    return sorted(
        managed, key=lambda entry: (entry["operation"], entry.get("time", ""), entry["manager"])
    )


def _fields(resource: Json) -> dict[_FieldPath, object]:
    """Everything in a resource that can be owned, and its value."""
    fields: dict[_FieldPath, object] = {}

    def walk(path: _FieldPath, value: object) -> None:
        if isinstance(value, dict):
            fields[*path, "."] = None
            for name, under in value.items():
                walk((*path, f"f:{name}"), under)
        elif path[-1] == "f:finalizers" and isinstance(value, list):
            fields.update(
                {(*path, step): None for step in (".", *(f"v:{json.dumps(item)}" for item in value))}
            )
        else:
            fields[path] = value

    metadata = resource.get("metadata", {})
    for name in {"annotations", "finalizers", "labels"} & metadata.keys():
        walk(("f:metadata", f"f:{name}"), metadata[name])
    for name in {"spec", "status"} & resource.keys():
        walk((f"f:{name}",), resource[name])
    return fields


def _owns(fields_v1: Json, path: _FieldPath) -> bool:
    for step in path:
        if step not in fields_v1:
            return step == "." and not fields_v1  # An empty map is owned by {}, not by {".": {}}.
        fields_v1 = fields_v1[step]
    return True


def _fields_v1(paths: set[_FieldPath]) -> Json:
    tree: Json = {}
    for path in paths:
        under = tree
        for step in path:
            under = under.setdefault(step, {})

    def without_lone_dots(tree: Json) -> Json:
        return {} if tree.keys() == {"."} else {step: without_lone_dots(tree[step]) for step in tree}

    return without_lone_dots(tree)


# --- The server ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By name in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered, and how it goes on the wire."""

    status: int = 200
    headers: Mapping[str, str] = field(
        default_factory=lambda: {
            "Cache-Control": "no-cache, private",
            "Content-Type": "application/json",
        }
    )
    body: bytes
    chunked: bool | None = None
    """None: by the body's size."""
    send: "Send" = lambda connection, head, payload: connection.write(head + payload)


Send: TypeAlias = Callable[["Connection", bytes, bytes], None]
"""Puts the head of an answer and its payload (the body, in chunks or not) on the wire, well or badly."""
Fault: TypeAlias = Callable[["ApiServer", Request], Answer]
"""Answers in the place of `ApiServer.answer`."""


@dataclass(kw_only=True)
class ApiServer:
    """The server, at a free port of 127.0.0.1, for as long as its context lasts.

    `versions` are those served, the preferred one first. `token` is the bearer token to be let in by;
    None lets everybody in. `cluster_uid`, `clock_skew` and `installed` may be set at any time.
    """

    group: str = "pieced.ch"
    versions: Sequence[str] = ("v1alpha1",)
    plural: str = "piecedtenants"
    kind: str = "PiecedTenant"
    namespaced: bool = False
    org_label: str = "pieced.ch/zitadel-org-id"
    token: str | None = None
    cluster_uid: str = "f7154b89-b485-4b36-8e44-59ebeaae853b"
    clock_skew: float = 0.0
    """Seconds by which the server's clock is ahead of ours."""
    installed: bool = True
    """Whether the CRD is."""

    def __post_init__(self) -> None:
        self.requests: list[Request] = []
        """Every request so far, in the order of arrival."""
        self.tenants = Tenants(
            api_version=f"{self.group}/{self.versions[0]}",
            kind=self.kind,
            org_label=self.org_label,
            now=self.now,
        )
        self.closing = threading.Event()
        self._scripted: list[_Scripted] = []
        self._replayed: dict[tuple[str, str], Answer] = {}
        self._arrival = threading.Lock()
        self._listener = _Listener(self)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    @property
    def list_path(self) -> str:
        """The path of the tenants' list, at the preferred version and over all namespaces."""
        return f"/apis/{self.group}/{self.versions[0]}/{self.plural}"

    def now(self) -> datetime:
        """The time on the server's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_skew)

    def kubeconfig(self, path: Path, context: str = "test", *, token: str | None = None) -> Path:
        """Write the kubeconfig of a client, with the server's own token unless another one is given."""
        token = token or self.token
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": {"server": self.url}}],
            "users": [{"name": context, "user": {"token": token} if token else {}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        }
        path.write_text(json.dumps(config, indent=1))
        return path

    def replay(self, exchange: Json | str | Path) -> None:
        """From now on, answer an exchange's path and continue token as was answered then, Date included.

        The exchange is named by its file, which is relative to `recordings/`, or given as it is.
        """
        if not isinstance(exchange, dict):
            exchange = _load(exchange)
        asked = exchange["request"]
        self._replayed[asked["path"], asked["query"].get("continue", "")] = _as_recorded(
            exchange["response"]
        )

    def serve_list(self, body: Json | bytes) -> None:
        """From now on, answer the list with this body; bytes are sent as they are."""
        body = body if isinstance(body, bytes) else _encoded(body)
        self._replayed[self.list_path, ""] = Answer(body=body)

    def fail(
        self, fault: Fault, on: int | Callable[[Request], bool] = 1, *, forever: bool = False
    ) -> None:
        """Answer one request by a fault: the k-th list from now, or the first that `on` is true of.

        `forever`: and every such one after it. Of several due, the fault scripted first has its turn.
        """
        is_due = self._from_list(on) if isinstance(on, int) else on
        self._scripted.append(_Scripted(fault, is_due, forever))

    def heal(self) -> None:
        """Be well again: forget all faults, and what was to be replayed."""
        self._scripted.clear()
        self._replayed.clear()

    def is_list(self, request: Request) -> bool:
        """Whether this asks for a page of the tenants' list."""
        return (
            request.method == "GET"
            and request.path.endswith(f"/{self.plural}")
            and "watch" not in request.query
        )

    def _from_list(self, k: int) -> Callable[[Request], bool]:
        lists = itertools.count(1)
        return lambda request: self.is_list(request) and next(lists) >= k

    def respond(self, request: Request) -> Answer:
        """The answer to a request that has just arrived: a fault's, if one is due."""
        with self._arrival:
            self.requests.append(request)
            due = [scripted for scripted in self._scripted if scripted.is_due(request)]
            if due and not due[0].forever:
                self._scripted.remove(due[0])
        return due[0].fault(self, request) if due else self.answer(request)

    def answer(self, request: Request) -> Answer:
        """The answer of a server that is well: who asks, may they, and then what they ask for."""
        authorization = request.headers.get("authorization")
        if self.token is not None and authorization != f"Bearer {self.token}":
            return _recorded(
                "errors/bad-token-401.json" if authorization else "errors/no-token-403.json"
            )
        if request.method != "GET":
            return _recorded("errors/method-forbidden-403.json")
        if replayed := self._replayed.get((request.path, request.query.get("continue", ""))):
            return replayed
        match request.path.split("/")[1:]:
            case ["version"]:
                return _recorded("discovery/version.json")
            case ["api", "v1", "namespaces", "kube-system"]:
                return _recorded(
                    "discovery/kube-system-namespace.json", metadata={"uid": self.cluster_uid}
                )
            case ["api", "v1", *_]:
                return _recorded("errors/namespace-forbidden-403.json")
            case ["apis", self.group] if self.installed:
                return self._group()
            case ["apis", self.group, version] if self._serves(version):
                return self._resources(version)
            case ["apis", _, _, plural] if plural != self.plural:
                return _recorded("errors/wrong-plural-403.json")
            case ["apis", _, _, self.plural, _]:
                return _recorded("errors/get-forbidden-403.json")
            case ["apis", self.group, version, self.plural] if self._serves(version):
                return self._list(request.query, version)
            case ["apis", self.group, version, "namespaces", namespace, self.plural] if (
                self.namespaced and self._serves(version)
            ):
                return self._list(request.query, version, f"{namespace}/")
        return _recorded("errors/crd-missing-404.json")

    def _serves(self, version: str) -> bool:
        return self.installed and version in self.versions

    def _group(self) -> Answer:
        versions = [
            {"groupVersion": f"{self.group}/{served}", "version": served} for served in self.versions
        ]
        body = {"name": self.group, "versions": versions, "preferredVersion": versions[0]}
        return Answer(body=_encoded({"kind": "APIGroup", "apiVersion": "v1", **body}))

    def _resources(self, version: str) -> Answer:
        body = _load("discovery/resources.json")["response"]["body"]
        for resource in body["resources"]:
            resource["name"] = resource["name"].replace("piecedtenants", self.plural)
            resource["singularName"] = resource["singularName"] and self.kind.lower()
            resource |= {"kind": self.kind, "namespaced": self.namespaced}
        return Answer(body=_encoded(body | {"groupVersion": f"{self.group}/{version}"}))

    def _list(self, query: Mapping[str, str], version: str, within: str = "") -> Answer:
        known = query.keys() <= {"limit", "continue", "resourceVersion"}
        if not known or query.get("resourceVersion", "0") != "0":
            return Answer(status=501, body=f"this server cannot do {query}".encode())
        try:
            limit = int(query.get("limit", "0"))
        except ValueError:
            return _recorded("errors/limit-not-a-number-400.json")
        try:
            revision, start = read_token(query["continue"]) if query.get("continue") else (LATEST, "")
        except ValueError:
            return _recorded("errors/continue-garbage-400.json")
        latest = self.tenants.revision
        if revision == LATEST:
            revision = latest
        elif revision > latest:
            message = f"Timeout: Too large resource version: {revision}, current: {latest}"
            return _recorded("restored-from-backup/3-continue-504.json", message=message)
        elif revision < self.tenants.compacted:
            onwards = {"continue": token_of(LATEST, start)}
            return _recorded("errors/continue-expired-410.json", metadata=onwards)
        if limit <= 0 or "resourceVersion" in query:  # resourceVersion=0 is answered whole, from memory.
            limit = sys.maxsize
        state = self.tenants.at(revision)
        keys = [key for key in state if key >= start and key.startswith(within)]
        metadata: Json = {"continue": "", "resourceVersion": str(revision)}
        if len(keys) > limit:
            metadata["continue"] = token_of(revision, f"{keys[limit - 1]}\0")
            metadata["remainingItemCount"] = len(keys) - limit
        body = {
            "apiVersion": f"{self.group}/{version}",
            "items": [self._at_version(version, state[key]) for key in keys[:limit]],
            "kind": f"{self.kind}List",
            "metadata": metadata,
        }
        return Answer(body=_encoded(body))

    def _at_version(self, version: str, resource: Json) -> Json:
        if resource.get("apiVersion") not in {f"{self.group}/{served}" for served in self.versions}:
            return resource
        return resource | {"apiVersion": f"{self.group}/{version}"}


def token_of(revision: int, start: str) -> str:
    """The continue token of the rest from the key `start` on, spelled as the recorded ones are."""
    content = {
        "v": "meta.k8s.io/v1",
        "rv": revision,
        "start": start if revision == LATEST else f"/{start}",
    }
    spelled = json.dumps(content, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(spelled).decode().rstrip("=")


def read_token(token: str) -> tuple[int, str]:
    """The revision and the key of a continue token. ValueError: it is none."""
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return content["rv"], content["start"].removeprefix("/")


def _load(name: str | Path) -> Json:
    exchange: Json = json.loads((RECORDINGS / name).read_bytes())
    return exchange


def _encoded(body: Json | str) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _as_recorded(response: Json) -> Answer:
    framing = {"Content-Length", "Transfer-Encoding", "Content-Encoding"}
    headers = {name: value for name, value in response["headers"].items() if name not in framing}
    return Answer(status=response["status"], headers=headers, body=_encoded(response["body"]))


def _recorded(name: str, **patch: object) -> Answer:
    """The answer recorded in that file, but as of now (without its Date) and with its body patched."""
    response = _load(name)["response"]
    del response["headers"]["Date"]
    if patch:
        response["body"] = merged(response["body"], patch)
    return _as_recorded(response)


# --- The wire ---


@dataclass(frozen=True, slots=True)
class _Scripted:
    fault: Fault
    is_due: Callable[[Request], bool]
    forever: bool


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # So that server_close() waits for them.
    request_queue_size = 128

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # Wakes the thread that waits for a next request.
        super().server_close()


class Connection(BaseHTTPRequestHandler):
    """One client's connection: requests come in one after the other, until either side hangs up."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def write(self, data: bytes) -> None:
        self.wfile.write(data)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait that long, or until the server closes: True then."""
        return self.server.api.closing.wait(seconds)

    def hang_up(self) -> None:
        self.close_connection = True

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
        self.hang_up()

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        api = self.server.api
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=unquote(path),
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        answer = api.respond(request)
        headers = {"Date": format_datetime(api.now(), usegmt=True), **answer.headers}
        body = answer.body
        accepted = {coding.strip() for coding in request.headers.get("accept-encoding", "").split(",")}
        if "gzip" in accepted and len(body) > GZIP_ABOVE:
            body = gzip.compress(body, compresslevel=1)
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        if answer.chunked or (answer.chunked is None and len(body) > CHUNKED_ABOVE):
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            headers["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        answer.send(self, "\r\n".join([*lines, "", ""]).encode("latin-1"), body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: `ApiServer.requests` has them all."""


# --- The faults ---


def recorded(name: str, *, status: int | None = None) -> Fault:
    """Answer as in that recording, under another status where one is given."""

    def fault(_server: ApiServer, _request: Request) -> Answer:
        answer = _recorded(name)
        return answer if status is None else replace(answer, status=status)

    return fault


def instead(body: bytes, *, status: int = 200) -> Fault:
    """Answer these bytes, as if they were JSON."""
    return lambda _server, _request: Answer(status=status, body=body)


def edited(edit: Callable[[Json], Json]) -> Fault:
    """Answer what `edit` makes of the right body."""

    def fault(server: ApiServer, request: Request) -> Answer:
        answer = server.answer(request)
        return replace(answer, body=_encoded(edit(json.loads(answer.body))))

    return fault


def sent(send: Send, *, chunked: bool | None = None) -> Fault:
    """Answer what is right, and put it on the wire like that."""
    return lambda server, request: replace(server.answer(request), send=send, chunked=chunked)


def cut(missing: int | None = None, *, silent: bool = False) -> Send:
    """Leave out the payload's last bytes (None: its second half); then hang up, or go silent."""

    def send(connection: Connection, head: bytes, payload: bytes) -> None:
        connection.write(head + payload[: len(payload) - (missing or len(payload) // 2)])
        if silent:
            connection.wait()
        connection.hang_up()

    return send


def drip(seconds: float) -> Send:
    """Send the payload a byte every so many seconds."""

    def send(connection: Connection, head: bytes, payload: bytes) -> None:
        connection.write(head)
        for byte in payload:
            if connection.wait(seconds):
                break
            connection.write(bytes([byte]))
        connection.hang_up()

    return send


def _silence(connection: Connection, _head: bytes, _payload: bytes) -> None:
    connection.wait()
    connection.hang_up()


def _page_1_again(server: ApiServer, request: Request) -> Answer:
    if token := request.query.get("continue"):
        revision, _ = read_token(token)
        request = replace(request, query={**request.query, "continue": token_of(revision, "")})
    return server.answer(request)


def _metadata_only(body: Json) -> Json:
    api_version = "meta.k8s.io/v1"
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": api_version,
        "metadata": {name: value for name, value in body["metadata"].items() if value != ""},
        "items": [
            {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": item["metadata"]}
            for item in body["items"]
        ],
    }


def _table(body: Json) -> Json:
    partial = _metadata_only(body)
    rows = [{"cells": [item["metadata"]["name"], "9s"], "object": item} for item in partial["items"]]
    table: Json = _load("list/seven-as-table.json")["response"]["body"]
    return table | {"metadata": partial["metadata"], "rows": rows}


def _another_resource_version(body: Json) -> Json:
    revision = int(body["metadata"]["resourceVersion"])
    return merged(body, {"metadata": {"resourceVersion": str(revision + 1)}})


def _uid_twice(body: Json) -> Json:
    twin = merged(body["items"][-1], {"metadata": {"name": "zz-twin"}})
    return body | {"items": [*body["items"], twin]}


FAULTS: Final[Mapping[str, Fault]] = {
    "401": recorded("errors/bad-token-401.json"),
    "403": recorded("errors/list-forbidden-403.json"),
    "404 as text": recorded("errors/crd-missing-404.json"),
    "406": recorded("errors/accept-html-406.json"),
    "410": recorded("errors/continue-expired-410.json"),
    "429 as text": recorded("errors/overload-429.json"),
    "429 while storage initializes": recorded("errors/storage-initializing-429.json"),
    "500": recorded("watch/resource-version-not-a-number-500.json"),
    "503": recorded("errors/starting-list-admin-503.json"),
    "504 as text": recorded("errors/etcd-stands-still-list-504.json"),
    "reset": sent(lambda connection, _head, _payload: connection.reset()),
    "closed without an answer": sent(lambda connection, _head, _payload: connection.hang_up()),
    "cut": sent(cut(), chunked=False),
    "cut by its last byte": sent(cut(1), chunked=False),
    "cut in a chunk": sent(cut(), chunked=True),
    "cut by its last chunk": sent(cut(len(b"0\r\n\r\n")), chunked=True),
    "silence": sent(_silence),
    "silence in the middle": sent(cut(silent=True)),
    "drip": sent(drip(0.1)),
    "no JSON": instead(b'{"apiVersion":"pieced.ch/v1alpha1","items":[},"kind":"PiecedTenantList"}\n'),
    "no body": instead(b""),
    "a Table": edited(_table),
    "metadata only": edited(_metadata_only),
    "a Status under 200": recorded("errors/starting-list-admin-503.json", status=200),
    "page 1 again": _page_1_again,
    "another resourceVersion": edited(_another_resource_version),
    "a uid twice": edited(_uid_twice),
}
"""What can go wrong with one page of a list, by name: each has one flaw and no other.

Page 1 is as it should be under "page 1 again" and "another resourceVersion": those are for page 2.
"a uid twice" is for a page with a tenant on it.
"""
