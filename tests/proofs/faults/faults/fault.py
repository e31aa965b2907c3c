"""What a fault is, and how the passes that it strikes may end.

A fault strikes one world once. What it leaves behind, the suite takes away: `World.heal`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from tests.proofs.faults.world import Ending, World

Strike: TypeAlias = Callable[[World, Random], Sequence[Ending]]

WRITTEN: Final = frozenset({0})
FAILED: Final = frozenset({1})
EITHER: Final = frozenset({0, 1})
REFUSED: Final = frozenset({3})


@dataclass(frozen=True)
class Fault:
    """One way in which something goes wrong."""

    name: str
    strike: Strike
    ends: frozenset[int | None] = FAILED
    """The exit statuses that a pass may have then; None is no status, but a killed process."""
    weight: float = 1
    """How often it comes, compared with the others."""
    moves_time: bool = False
    """Whether the ledger's times differ from those of an undisturbed pass afterwards, as they may."""
    moves_server_time: bool = False
    """Whether the API server's clock is wrong with ours, so that no time can be told from it."""


def any_statement(world: World, random: Random) -> int:
    return random.randint(1, world.statements)
