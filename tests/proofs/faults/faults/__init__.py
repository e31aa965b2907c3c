"""Every fault of the suite, by where it is: what it does to the parts while passes are made."""

from typing import Final

from tests.proofs.faults.faults import (
    api_server,
    at_once,
    clock,
    kubectl,
    other_people,
    postgres,
    process,
)
from tests.proofs.faults.faults.fault import Fault

__all__ = ["ALL", "Fault"]

ALL: Final[tuple[Fault, ...]] = (
    *api_server.faults(),
    *kubectl.faults(),
    *postgres.faults(),
    *at_once.faults(),
    *process.faults(),
    *clock.faults(),
    *other_people.faults(),
)
