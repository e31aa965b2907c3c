"""Faults of the process: interrupted, told to end, killed."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from random import Random
from types import FrameType

from tests.apiserver import Answer, ApiServer, Request
from tests.proofs.faults.faults.fault import Fault, Strike, any_statement
from tests.proofs.faults.proxy import Then
from tests.proofs.faults.world import Ending, World


class _Interrupted(KeyboardInterrupt):
    pass


def _interrupted(world: World, random: Random) -> Sequence[Ending]:
    """As by a signal, in this process: at a statement."""
    chosen, armed = any_statement(world, random), True

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise _Interrupted

    def on_statement(number: int, _message: bytes) -> Then:
        if number == chosen:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(random.choice([0, 0.01]))
        return Then.PASS

    before = signal.signal(signal.SIGUSR1, interrupt)
    world.proxy.on_statement = on_statement
    try:
        ending = world.make_pass()
    except _Interrupted:
        ending = Ending(None)
    finally:
        armed = False
        signal.signal(signal.SIGUSR1, before)
    return [ending]


def _process(number: signal.Signals, moment: str) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        started: list[subprocess.Popen[str]] = []
        ready = threading.Event()

        def send() -> None:
            ready.wait()
            started[0].send_signal(number)
            if number == signal.SIGKILL:
                started[0].wait()

        chosen = any_statement(world, random)

        def on_statement(this: int, _message: bytes) -> Then:
            if this == chosen:
                send()
            return Then.PASS

        if moment == "a statement":
            world.proxy.on_statement = on_statement
        elif moment == "an executed statement":
            world.proxy.after_execution = lambda this: send() if this == chosen else None
        elif moment == "a page":

            def page(server: ApiServer, request: Request) -> Answer:
                send()
                return server.answer(request)

            world.server.fail(page, on=random.randint(1, world.pages))
        started.append(process := world.start())
        ready.set()
        if moment == "any time":
            time.sleep(random.uniform(0, 1.6))
            process.send_signal(number)
        return [world.ended(process)]

    return strike


def _processes_at_once(world: World, random: Random) -> Sequence[Ending]:
    started = [world.start() for _ in range(random.randint(2, 4))]
    victim = random.choice(started)
    time.sleep(random.uniform(0.3, 2.0))
    victim.send_signal(random.choice([signal.SIGKILL, signal.SIGTERM]))
    return [world.ended(process) for process in started]


def faults() -> Iterator[Fault]:
    yield Fault("process: interrupted at a statement", _interrupted, frozenset({None, 0}), 4)
    for number in (signal.SIGKILL, signal.SIGTERM):
        for moment in ("any time", "a page", "a statement", "an executed statement"):
            name = f"process: {number.name} at {moment}"
            yield Fault(name, _process(number, moment), frozenset({None, 0}), 0.35)
    yield Fault("process: several at once, one ended", _processes_at_once, frozenset({None, 0}), 0.2)
