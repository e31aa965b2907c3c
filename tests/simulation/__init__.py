"""A cluster's life, by chance but from a seed, and the truth about it.

`Life` writes to the tenants of an API server as portals, operators and GitOps tools do. `Truth` reads
from the server's log what happened that can be billed. Neither knows anything of the reconciler.
"""

from tests.simulation.life import Clock, Habits, Life
from tests.simulation.truth import Change, Kind, State, Subject, Truth

__all__ = ["Change", "Clock", "Habits", "Kind", "Life", "State", "Subject", "Truth"]
