"""A proxy between the program and Postgres that breaks the connection at a chosen statement.

It understands just enough of the wire protocol to tell one statement from the next: it counts what the
server answers, which is each query, each Sync, and the end of each COPY. No TLS, no passwords.
"""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self, TypeAlias

_ANSWERED: Final = frozenset(b"QSc")
"""Frontend messages that the server answers: Query, Sync, CopyDone."""
_ASKS_FOR_ENCRYPTION: Final = frozenset({80877103, 80877104})


class Then(Enum):
    """What becomes of a statement that has arrived at the proxy."""

    PASS = auto()
    DROP_BEFORE = auto()
    """The connection ends before the server gets it."""
    DROP_AFTER = auto()
    """The server executes it, and the connection ends before its answer gets back."""


OnStatement: TypeAlias = Callable[[int, bytes], Then]
"""Is told the number of a statement, from 1, and its message; may take its time."""


def forward(_number: int, _message: bytes) -> Then:
    return Then.PASS


def at(number: int, then: Then) -> OnStatement:
    """`then` for the statement of that number, and for it only."""
    return lambda this, _: then if this == number else Then.PASS


class Proxy:
    """Listens on a Unix socket of its own, in front of the one of a server."""

    def __init__(self, server: Path) -> None:
        """`server` is the folder with the server's socket."""
        self._server = server / ".s.PGSQL.5432"
        self._folder = TemporaryDirectory(prefix="reconciler-proxy-")
        self._counting = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._links: set[_Link] = set()
        self.folder = Path(self._folder.name)
        self.statements = 0
        """How many arrived since the last `heal`."""
        self.on_statement: OnStatement = forward
        self.refusing = False
        """Whether connections are ended as soon as they are made."""
        self.silent = False
        """Whether connections are made and then never answered."""
        self.after_execution: Callable[[int], None] | None = None
        """Called when the server has executed a statement, before its answer goes on."""

    def __enter__(self) -> Self:
        self.folder.chmod(0o755)
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        (self.folder / ".s.PGSQL.5432").chmod(0o777)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        self._folder.cleanup()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}&gssencmode=disable"

    def heal(self) -> None:
        """Be well again, and count from 1."""
        self.on_statement, self.after_execution = forward, None
        self.refusing = self.silent = False
        self.statements = 0

    def drop_all(self) -> None:
        """End every connection that there is."""
        for link in tuple(self._links):
            link.end()

    def number(self) -> int:
        with self._counting:
            self.statements += 1
            return self.statements

    def forget(self, link: "_Link") -> None:
        self._links.discard(link)

    def _serve(self) -> None:
        with suppress(OSError):  # the end of the proxy
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                try:
                    if not self.silent:
                        server.connect(str(self._server))
                except OSError:
                    client.close()
                    server.close()
                    continue
                self._links.add(link := _Link(self, client, server))
                link.start()


class _Link:
    """One connection through the proxy: a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._ending = threading.Lock()
        self._ended = False
        # The statement under way: its number, whether its answer is lost, what ends its answer.
        self._under_way = (0, False, b"")

    def start(self) -> None:
        if self._proxy.silent:
            return
        for direction in (self._frontend, self._backend):
            threading.Thread(target=self._run, args=(direction,), daemon=True).start()

    def end(self) -> None:
        with self._ending:
            if self._ended:
                return
            self._ended = True
        for side in (self._client, self._server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
        self._proxy.forget(self)

    def _run(self, direction: Callable[[], None]) -> None:
        with suppress(OSError, EOFError):
            direction()
        self.end()

    def _frontend(self) -> None:
        while True:  # the start-up message has no type
            head = _read(self._client, 4)
            body = _read(self._client, struct.unpack("!i", head)[0] - 4)
            if struct.unpack("!i", body[:4])[0] not in _ASKS_FOR_ENCRYPTION:
                break
            self._client.sendall(b"N")
        self._server.sendall(head + body)
        while True:
            kind, message = _message(self._client)
            if kind[0] not in _ANSWERED:
                self._server.sendall(message)
                continue
            number = self._proxy.number()
            then = self._proxy.on_statement(number, message)
            if then is Then.DROP_BEFORE:
                return
            self._under_way = (number, then is Then.DROP_AFTER, b"C" if kind == b"c" else b"ZG")
            self._server.sendall(message)

    def _backend(self) -> None:
        while True:
            kind, message = _message(self._server)
            number, is_lost, last = self._under_way
            if kind in last and number and (called := self._proxy.after_execution):
                called(number)
            if not is_lost:
                self._client.sendall(message)
            elif kind in last:
                return


def _read(source: socket.socket, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = source.recv(size - len(pieces))
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    """A message's type, and all of it."""
    head = _read(source, 5)
    return head[:1], head + _read(source, struct.unpack("!i", head[1:])[0] - 4)
