"""Requests, answers, and the connections between them: HTTP as Go's server speaks it.

Knows nothing of Kubernetes: what is answered is the `respond` that a listener is given. How an answer
goes out, well or badly, is the answer's own `send`.
"""

import gzip
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl, unquote

from tests.apiserver.documents import Json, encoded, load, merged

GZIP_ABOVE: Final = 128 * 1024
"""Bytes of a body; a larger one is compressed for who asks (list/large-accept-encoding-gzip)."""
CHUNKED_ABOVE: Final = 2048
"""Bytes of a body; a larger one is sent in chunks, as Go's server does."""


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

    @classmethod
    def as_in(cls, response: Json) -> Self:
        """The answer of a recorded exchange, as it was then."""
        framing = {"Content-Length", "Transfer-Encoding", "Content-Encoding"}
        headers = {name: value for name, value in response["headers"].items() if name not in framing}
        return cls(status=response["status"], headers=headers, body=encoded(response["body"]))

    @classmethod
    def recorded(cls, name: str, **patch: object) -> Self:
        """The answer recorded in that file, but as of now (without its Date), its body patched."""
        response = load(name)["response"]
        del response["headers"]["Date"]
        if patch:
            response["body"] = merged(response["body"], patch)
        return cls.as_in(response)


Send: TypeAlias = Callable[["Connection", bytes, bytes], None]
"""Puts the head of an answer and its payload (the body, in chunks or not) on the wire, well or badly."""


def chunk(data: bytes) -> bytes:
    """A piece of a body of unknown length; an empty one is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Listener(ThreadingHTTPServer):
    """A port of 127.0.0.1, a free one unless it is named. Every connection has its thread."""

    daemon_threads = False  # So that server_close() waits for them.
    request_queue_size = 128

    allow_reuse_port = True  # So that a stopped server can keep its port to itself.

    def __init__(
        self, respond: Callable[[Request], Answer], now: Callable[[], datetime], port: int = 0
    ) -> None:
        """`now` is what the Date of an answer says."""
        self.respond = respond
        self.now = now
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Connection)

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
    server: Listener

    def write(self, data: bytes) -> None:
        self.wfile.write(data)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait that long, or until the server closes: True then."""
        return self.server.closing.wait(seconds)

    @property
    def is_abandoned(self) -> bool:
        """Whether the server closes, or the client has hung up."""
        if self.server.closing.is_set():
            return True
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

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
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=unquote(path),
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        answer = self.server.respond(request)
        headers = {"Date": format_datetime(self.server.now(), usegmt=True), **answer.headers}
        body = answer.body
        accepted = {coding.strip() for coding in request.headers.get("accept-encoding", "").split(",")}
        if "gzip" in accepted and len(body) > GZIP_ABOVE:
            body = gzip.compress(body, compresslevel=1)
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        if answer.chunked or (answer.chunked is None and len(body) > CHUNKED_ABOVE):
            headers["Transfer-Encoding"] = "chunked"
            body = (chunk(body) if body else b"") + chunk(b"")
        else:
            headers["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        answer.send(self, "\r\n".join([*lines, "", ""]).encode("latin-1"), body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: `ApiServer.requests` has them all."""
