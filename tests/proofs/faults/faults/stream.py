"""Faults of the watch on which a pass catches up: not opened, cut, or slow."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from tests import apiserver
from tests.apiserver import FAULTS, Answer, ApiServer, Request
from tests.apiserver.watch import line
from tests.apiserver.wire import Connection, Send, chunk
from tests.proofs.faults.faults.fault import WRITTEN, Fault, Strike
from tests.proofs.faults.world import Ending, World

_NOT_OPENED: Final = ("429 as text", "500", "503", "504 as text", "reset", "closed without an answer")
_LATE: Final = 0.3
"""Seconds."""


def _at_the_watch(fault: Callable[[Random], apiserver.Fault]) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.fail(fault(random), on=world.server.is_watch)
        return [world.make_pass()]

    return strike


def _not_opened(name: str) -> Strike:
    return _at_the_watch(lambda _: FAULTS[name])


def _cut(end: Callable[[Connection], None], *, mid_line: bool = False) -> Strike:
    """Some of the changes arrive, perhaps half of another one, and then nothing more."""

    def fault(random: Random) -> apiserver.Fault:
        def answer(server: ApiServer, request: Request) -> Answer:
            events = server.tenants.since(int(request.query["resourceVersion"]))
            lines = [line(event.kind, event.resource) for event in events]
            arrive = random.randint(0, len(lines) - 1) if lines else 0
            rest = lines[arrive][: random.randint(1, len(lines[arrive]) - 1)] if lines else b""
            return Answer(chunked=True, body=b"", send=_sent([*lines[:arrive], *[rest] * mid_line], end))

        return answer

    return _at_the_watch(fault)


def _sent(parts: Sequence[bytes], end: Callable[[Connection], None]) -> Send:
    def send(connection: Connection, head: bytes, _end: bytes) -> None:
        connection.write(head + b"".join(map(chunk, filter(None, parts))))
        end(connection)

    return send


def _ends_early(connection: Connection) -> None:
    """In the ordinary way, as at the end of its time."""
    connection.write(chunk(b""))


def _late(world: World, random: Random) -> Sequence[Ending]:
    """The changes arrive after the list."""
    world.server.watches.delay = random.uniform(0, _LATE)
    return [world.make_pass()]


def faults() -> Iterator[Fault]:
    for name in _NOT_OPENED:
        yield Fault(f"watch: {name}", _not_opened(name), WRITTEN, 3)
    yield from (
        Fault("watch: cut", _cut(Connection.hang_up), WRITTEN, 6),
        Fault("watch: cut in a line", _cut(Connection.hang_up, mid_line=True), WRITTEN, 6),
        Fault("watch: reset", _cut(Connection.reset), WRITTEN, 4),
        Fault("watch: reset in a line", _cut(Connection.reset, mid_line=True), WRITTEN, 4),
        Fault("watch: ended early", _cut(_ends_early), WRITTEN, 4),
        Fault("watch: late", _late, WRITTEN, 4),
    )
