"""A wire between the program and Postgres that counts what goes over it. No TLS, no passwords."""

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

_STATEMENTS: Final = frozenset(b"QE")
"""Frontend messages that are a statement: Query and Execute."""
_WAITED_FOR: Final = frozenset(b"QSHc")
"""Frontend messages after which the program waits: Query, Sync, Flush, CopyDone."""
_ASKS_FOR_ENCRYPTION: Final = frozenset({80877103, 80877104})
_PIECE: Final = 1 << 18


@dataclass
class Traffic:
    """What went over a wire."""

    connections: int = 0
    statements: int = 0
    round_trips: int = 0
    """Without those that make a connection."""
    bytes_read: int = 0
    """By the program."""


class Wire:
    """Listens on a Unix socket of its own, in front of the one of a server."""

    def __init__(self, server: Path) -> None:
        """`server` is the folder with the server's socket."""
        self._server = server / ".s.PGSQL.5432"
        self._folder = TemporaryDirectory(prefix="reconciler-wire-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._counting = threading.Lock()
        self._traffic = Traffic()

    def __enter__(self) -> Self:
        self._listener.bind(str(Path(self._folder.name) / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._folder.cleanup()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._folder.name}&gssencmode=disable"

    def taken(self) -> Traffic:
        """What was counted since the last call."""
        with self._counting:
            taken, self._traffic = self._traffic, Traffic()
        return taken

    def _accept(self) -> None:
        with suppress(OSError):  # the end of the wire
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                with self._counting:
                    self._traffic.connections += 1
                for direction in (self._forth, self._back):
                    threading.Thread(target=direction, args=(client, server), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        # What of the message under way is still to come, and what of a head has come already.
        started, body, head = False, 0, b""
        with suppress(OSError):
            while piece := client.recv(_PIECE):
                position = 0
                while position < len(piece):
                    if body:
                        passed = min(body, len(piece) - position)
                        body, position = body - passed, position + passed
                        continue
                    needed = (5 if started else 8) - len(head)
                    head += piece[position : position + needed]
                    position += needed
                    if len(head) == 5 and started:
                        self._count(head[0])
                        body, head = struct.unpack("!i", head[1:])[0] - 4, b""
                    elif len(head) == 8 and not started:  # the start-up message has no type
                        length, code = struct.unpack("!ii", head)
                        started = code not in _ASKS_FOR_ENCRYPTION
                        body, head = length - 8, b""
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    def _count(self, kind: int) -> None:
        with self._counting:
            self._traffic.statements += kind in _STATEMENTS
            self._traffic.round_trips += kind in _WAITED_FOR

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while piece := server.recv(_PIECE):
                with self._counting:
                    self._traffic.bytes_read += len(piece)
                client.sendall(piece)
