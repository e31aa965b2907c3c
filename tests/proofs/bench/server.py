"""Serves made pages over HTTP: `python -m tests.proofs.bench.server FOLDER` prints its port.

Each folder in FOLDER is a cluster of its own, below a path of that name. A list is of the instant at
which its first page is asked for; a continue token says which that was. Besides the tenants there is
what the program and kubectl ask for on their way to them.
"""

import base64
import json
import mmap
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from tests.proofs.bench.pages import PAGE_SIZE, Page, ending
from tests.proofs.bench.tenants import API_VERSION

CLUSTER_UID: Final = "f7154b89-b485-4b36-8e44-59ebeaae853b"

_GROUP, _VERSION = API_VERSION.split("/")
_LIST: Final = f"/apis/{API_VERSION}/piecedtenants"
_GROUP_VERSION: Final = {"groupVersion": API_VERSION, "version": _VERSION}
_API_GROUP: Final = {
    "name": _GROUP,
    "versions": [_GROUP_VERSION],
    "preferredVersion": _GROUP_VERSION,
}
_RESOURCE: Final = {
    "name": "piecedtenants",
    "singularName": "piecedtenant",
    "namespaced": False,
    "kind": "PiecedTenant",
    "verbs": ["get", "list", "watch"],
}
DOCUMENTS: Final = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/api/v1/namespaces/kube-system": {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {"name": "kube-system", "uid": CLUSTER_UID},
    },
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_API_GROUP]},
    f"/apis/{_GROUP}": {"kind": "APIGroup", "apiVersion": "v1", **_API_GROUP},
    f"/apis/{API_VERSION}": {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": [_RESOURCE],
    },
}
"""What there is besides the tenants, by path."""


class Tenants:
    """The list of one cluster."""

    def __init__(self, folder: Path, revision: Callable[[], int]) -> None:
        pages = msgspec.json.decode((folder / "index").read_bytes(), type=list[Page])
        self._after = dict(zip([None, *(f"/{page.last}\0" for page in pages)], pages, strict=False))
        self._revision = revision
        with (folder / "pages").open("rb") as file:
            self._made = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def answer(self, query: dict[str, str]) -> list[bytes | memoryview]:
        """The pieces of one page. Raises KeyError or ValueError where there is no such page."""
        if query.get("limit") != str(PAGE_SIZE):
            raise ValueError(f"the pages were made for limit={PAGE_SIZE}")
        start, revision = None, 0
        if token := query.get("continue"):
            asked = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            start, revision = asked["start"], asked["rv"]
        page = self._after[start]
        revision = revision or self._revision()
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if page.remaining:
            following = continue_token(page.last, revision)
            metadata = {"continue": following, "remainingItemCount": page.remaining, **metadata}
        made = self._made[page.offset : page.offset + page.length]
        return [_head("Content-Encoding: gzip"), made, ending(page, msgspec.json.encode(metadata))]


def continue_token(last: str, revision: int) -> str:
    """The token of the page after that tenant, as the API server writes it."""
    token = {"v": "meta.k8s.io/v1", "rv": revision, "start": f"/{last}\0"}
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _head(*more: str, status: str = "200 OK") -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        *("Cache-Control: no-cache, private", "Content-Type: application/json"),
        f"Date: {formatdate(usegmt=True)}",
        *(more or ()),
        *(
            ()
            if any(line.startswith("Content-Length") for line in more)
            else ["Transfer-Encoding: chunked"]
        ),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _whole(document: object, status: str = "200 OK") -> list[bytes | memoryview]:
    body = msgspec.json.encode(document)
    return [_head(f"Content-Length: {len(body)}", status=status), body]


def _answer(clusters: dict[str, Tenants], target: str) -> list[bytes | memoryview]:
    path, _, query = target.partition("?")
    _, cluster, path = path.split("/", 2)
    path = f"/{path}"
    try:
        if path == _LIST:
            return clusters[cluster].answer(dict(parse_qsl(query)))
        return _whole(DOCUMENTS[path])
    except (LookupError, ValueError) as problem:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(problem)}
        return _whole({**status, "code": 404, "reason": "NotFound"}, "404 Not Found")


def _serve(clusters: dict[str, Tenants], link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with link, suppress(OSError):
        while True:
            while b"\r\n\r\n" not in received:
                piece = link.recv(1 << 16)
                if not piece:
                    return
                received += piece
            head, _, received = received.partition(b"\r\n\r\n")
            for part in _answer(clusters, head.split(b" ", 2)[1].decode()):
                link.sendall(part)


def main() -> None:
    revision = count(1_000_000).__next__
    folders = [folder for folder in Path(sys.argv[1]).iterdir() if (folder / "index").exists()]
    clusters = {folder.name: Tenants(folder, revision) for folder in folders}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            link, _ = listener.accept()
            threading.Thread(target=_serve, args=(clusters, link), daemon=True).start()


if __name__ == "__main__":
    main()
