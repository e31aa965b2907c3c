"""Faults of the clock: ours, the API server's, and the zone they are read in."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random

from tests.proofs.faults.faults.fault import REFUSED, WRITTEN, Fault, Strike
from tests.proofs.faults.world import Ending, World, environment


def _zone(world: World, random: Random) -> Sequence[Ending]:
    zones = ("Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "XXX+13:37")
    with environment({"TZ": random.choice(zones)}):
        return [world.make_pass()]


def _clock_off(least: float, most: float) -> Strike:
    """Our clock is off by so many seconds, back or forth."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        off = timedelta(seconds=random.uniform(least, most) * random.choice([-1, 1]))
        return [world.make_pass(world.source(now=lambda: world.clock.now + off))]

    return strike


def _clock_steps(world: World, random: Random) -> Sequence[Ending]:
    """Our clock steps while the list is under way."""
    jumps = [random.choice([-7200, -3600, -60, -3, 3, 60, 3600, 7200]) for _ in range(8)]

    def now() -> datetime:
        return world.clock.now + timedelta(seconds=jumps.pop() if jumps else 0)

    return [world.make_pass(world.source(now=now))]


def _both_clocks_off(least: float, most: float) -> Strike:
    """The API server's clock is off, and ours with it."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.clock_skew = random.uniform(least, most)
        off = timedelta(seconds=world.server.clock_skew)
        try:
            return [world.make_pass(world.source(now=lambda: world.clock.now + off))]
        finally:
            world.server.clock_skew = 0

    return strike


def faults() -> Iterator[Fault]:
    yield from (
        Fault("clock: another zone in TZ", _zone, WRITTEN, 2),
        Fault("clock: ours off by up to 2 s", _clock_off(0.1, 1.9), WRITTEN, 1, moves_time=True),
        Fault("clock: ours off by hours", _clock_off(3, 40_000), WRITTEN, 2, moves_time=True),
        Fault("clock: ours steps under way", _clock_steps, WRITTEN, 2, moves_time=True),
        Fault("clock: both back by hours", _both_clocks_off(-90_000, -2_400), REFUSED),
        Fault(
            *("clock: both ahead by minutes", _both_clocks_off(6, 900), WRITTEN, 2),
            moves_time=True,
            moves_server_time=True,
        ),
    )
