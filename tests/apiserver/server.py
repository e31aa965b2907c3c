"""The API server: who may ask for what, and what is answered, as the recorded servers did.

The tenants are in the `store`; what is answered goes out over the `wire`.
"""

import base64
import itertools
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeAlias

from tests.apiserver.documents import Json, encoded, load
from tests.apiserver.store import Tenants
from tests.apiserver.watch import Watch, Watches, line, too_old
from tests.apiserver.wire import Answer, Listener, Request

LATEST: Final = -1
"""The revision in an inconsistent continue token: the latest, whenever it is used."""
LONGEST_WATCH: Final = 1800
"""Seconds that a watch lasts without timeoutSeconds; of a real server up to twice that, by chance."""
OF_A_WATCH: Final = frozenset(
    {
        "watch",
        "resourceVersion",
        "allowWatchBookmarks",
        "timeoutSeconds",
        "limit",
        "sendInitialEvents",
        "resourceVersionMatch",
    }
)
"""What a watch can be asked with."""

Fault: TypeAlias = Callable[["ApiServer", Request], Answer]
"""Answers in the place of `ApiServer.answer`."""


@dataclass(frozen=True, slots=True)
class _Scripted:
    fault: Fault
    is_due: Callable[[Request], bool]
    forever: bool


@dataclass(kw_only=True)
class ApiServer:
    """The server, at a free port of 127.0.0.1, for as long as its context lasts.

    `versions` are those served, the preferred one first. `token` is the bearer token to be let in by;
    None lets everybody in. `cluster_uid`, `clock_skew`, `installed` and `terminating` may be set at any
    time.
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
    terminating: bool = False
    """Whether the CRD is being deleted: its tenants are deleted first, and none can be created."""

    def __post_init__(self) -> None:
        self.requests: list[Request] = []
        """Every request so far, in the order of arrival."""
        self.tenants = Tenants(
            api_version=f"{self.group}/{self.versions[0]}",
            kind=self.kind,
            org_label=self.org_label,
            now=self.now,
        )
        self._scripted: list[_Scripted] = []
        self._replayed: dict[tuple[str, str], Answer] = {}
        self._arrival = threading.Lock()
        self.watches = Watches(self.tenants)
        """Those that are open, and what may happen to them."""
        self._initializing = 0
        self._listener = Listener(self.respond, self.now)
        self._port = self._listener.server_port
        self._thread: threading.Thread | None = None
        self._kept: socket.socket | None = None

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._let_the_port_go()

    def stop(self) -> None:
        """Stop in an orderly way: every stream breaks (watch/server-stops), nobody is let in any more.

        The port is kept, and so are the tenants; `tenants.restore` may roll them back meanwhile.
        """
        if self._thread is None:
            return
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._kept.bind(("127.0.0.1", self._port))
        self._close()

    def start(self, *, writes: int = 11, initializing: int = 0) -> None:
        """Start again, at the same port. The watch cache starts anew.

        `writes` is what the server writes for itself as it starts, so that a resourceVersion from before
        is too old at once; eleven as in watch/resource-version-from-before-restart. So many first
        requests for the tenants are answered while the cache is `initializing`: by 429.
        """
        self.tenants.write_elsewhere(writes)
        self.watches.cache.restart()
        self._initializing = initializing
        self._listener = Listener(self.respond, self.now, self._port)
        self._let_the_port_go()
        self._serve()

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,))
        self._thread.start()

    def _close(self) -> None:
        if self._thread is not None:
            self._listener.closing.set()
            self.watches.wake()
            self._listener.shutdown()
            self._thread.join()
            self._thread = None
            self._listener.server_close()

    def _let_the_port_go(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

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
            exchange = load(exchange)
        asked = exchange["request"]
        self._replayed[asked["path"], asked["query"].get("continue", "")] = Answer.as_in(
            exchange["response"]
        )

    def serve_list(self, body: Json | bytes) -> None:
        """From now on, answer the list with this body; bytes are sent as they are."""
        body = body if isinstance(body, bytes) else encoded(body)
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
        """Be well again: forget all faults, also those of watches, and what was to be replayed."""
        self._scripted.clear()
        self._replayed.clear()
        self.watches.heal()

    def is_list(self, request: Request) -> bool:
        """Whether this asks for a page of the tenants' list."""
        return self._is_of_the_tenants(request) and not is_true(request.query.get("watch"))

    def is_watch(self, request: Request) -> bool:
        """Whether this asks for a watch of the tenants: `fail(fault, on=server.is_watch)`."""
        return self._is_of_the_tenants(request) and is_true(request.query.get("watch"))

    def _is_of_the_tenants(self, request: Request) -> bool:
        return request.method == "GET" and request.path.endswith(f"/{self.plural}")

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
            return Answer.recorded(
                "errors/bad-token-401.json" if authorization else "errors/no-token-403.json"
            )
        if request.method != "GET":
            return Answer.recorded("errors/method-forbidden-403.json")
        replayed = self._replayed.get((request.path, request.query.get("continue", "")))
        if replayed and not self.is_watch(request):
            return replayed
        match request.path.split("/")[1:]:
            case ["version"]:
                return Answer.recorded("discovery/version.json")
            case ["api", "v1", "namespaces", "kube-system"]:
                return Answer.recorded(
                    "discovery/kube-system-namespace.json", metadata={"uid": self.cluster_uid}
                )
            case ["api", "v1", *_]:
                return Answer.recorded("errors/namespace-forbidden-403.json")
            case ["apis", self.group] if self.installed:
                return self._group()
            case ["apis", self.group, version] if self._serves(version):
                return self._resources(version)
            case ["apis", _, _, plural] if plural != self.plural:
                return Answer.recorded("errors/wrong-plural-403.json")
            case ["apis", _, _, self.plural, _]:
                return Answer.recorded("errors/get-forbidden-403.json")
            case ["apis", self.group, version, self.plural] if self._serves(version):
                return self._tenants(request, version)
            case ["apis", self.group, version, "namespaces", namespace, self.plural] if (
                self.namespaced and self._serves(version)
            ):
                return self._tenants(request, version, f"{namespace}/")
        return Answer.recorded("errors/crd-missing-404.json")

    def _serves(self, version: str) -> bool:
        return self.installed and version in self.versions

    def _group(self) -> Answer:
        versions = [
            {"groupVersion": f"{self.group}/{served}", "version": served} for served in self.versions
        ]
        body = {"name": self.group, "versions": versions, "preferredVersion": versions[0]}
        return Answer(body=encoded({"kind": "APIGroup", "apiVersion": "v1", **body}))

    def _resources(self, version: str) -> Answer:
        body = load("discovery/resources.json")["response"]["body"]
        for resource in body["resources"]:
            resource["name"] = resource["name"].replace("piecedtenants", self.plural)
            resource["singularName"] = resource["singularName"] and self.kind.lower()
            resource |= {"kind": self.kind, "namespaced": self.namespaced}
            if self.terminating:
                forbidden = {"create", "patch", "update"}
                resource["verbs"] = [verb for verb in resource["verbs"] if verb not in forbidden]
        return Answer(body=encoded(body | {"groupVersion": f"{self.group}/{version}"}))

    def _tenants(self, request: Request, version: str, within: str = "") -> Answer:
        if self._initializing > 0:
            self._initializing -= 1
            return Answer.recorded("errors/storage-initializing-429.json")
        answer = self._watch if self.is_watch(request) else self._list
        return answer(request.query, version, within)

    def _watch(self, query: Mapping[str, str], version: str, within: str) -> Answer:
        """A stream; a selector is none of what this server can do, and 501. The limit is ignored."""
        seconds = query.get("timeoutSeconds", "0")
        if not (query.keys() <= OF_A_WATCH and seconds.isdecimal()):
            return Answer(status=501, body=f"this server cannot do {query}".encode())
        asked = query.get("resourceVersion", "")
        if asked and not (asked.isascii() and asked.isdecimal()):
            name = "watch/resource-version-not-a-number-500.json"
            message = load(name)["response"]["body"]["message"].replace("newest", asked)
            return Answer.recorded(name, message=message)
        as_list = is_true(query.get("sendInitialEvents"))
        if as_list and query.get("resourceVersionMatch") != "NotOlderThan":
            return Answer.recorded("watch/watch-list-match-missing-422.json")

        revision, latest = int(asked or "0"), self.tenants.revision
        oldest = self.watches.cache.oldest
        initial: Sequence[Json] | None = None
        if revision == 0 or (as_list and revision <= latest):
            state = self.tenants.at(latest)
            initial = [resource for key, resource in state.items() if key.startswith(within)]
            revision = latest
        elif revision < oldest:
            return Answer(chunked=True, body=line("ERROR", too_old(revision, oldest)))
        watch = Watch(
            api_version=f"{self.group}/{version}",
            kind=self.kind,
            within=within,
            at_version=lambda resource: self._at_version(version, resource),
            position=revision,
            initial=initial,
            bookmarks=is_true(query.get("allowWatchBookmarks")),
            seconds=int(seconds) or LONGEST_WATCH,
        )
        return Answer(chunked=True, body=b"", send=self.watches.sender(watch))

    def _list(self, query: Mapping[str, str], version: str, within: str) -> Answer:
        known = query.keys() <= {"limit", "continue", "resourceVersion", "watch"}
        if not known or query.get("resourceVersion", "0") != "0":
            return Answer(status=501, body=f"this server cannot do {query}".encode())
        try:
            limit = int(query.get("limit", "0"))
        except ValueError:
            return Answer.recorded("errors/limit-not-a-number-400.json")
        try:
            revision, start = read_token(query["continue"]) if query.get("continue") else (LATEST, "")
        except ValueError:
            return Answer.recorded("errors/continue-garbage-400.json")
        latest = self.tenants.revision
        if revision == LATEST:
            revision = latest
            self.watches.cache.progress()
        elif revision > latest:
            message = f"Timeout: Too large resource version: {revision}, current: {latest}"
            return Answer.recorded("restored-from-backup/3-continue-504.json", message=message)
        elif revision < self.tenants.compacted:
            onwards = {"continue": token_of(LATEST, start)}
            return Answer.recorded("errors/continue-expired-410.json", metadata=onwards)
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
        return Answer(body=encoded(body))

    def _at_version(self, version: str, resource: Json) -> Json:
        if resource.get("apiVersion") not in {f"{self.group}/{served}" for served in self.versions}:
            return resource
        return resource | {"apiVersion": f"{self.group}/{version}"}


def is_true(parameter: str | None) -> bool:
    """A boolean of a query, as Kubernetes reads one: all but false and 0 is true, also what is empty."""
    return parameter is not None and parameter.lower() not in {"false", "0"}


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
