"""Every fault of the suite, by where it is: what it does to the parts while passes are made."""

from dataclasses import replace
from typing import Final

from tests.proofs.faults.faults import (
    api_server,
    at_once,
    clock,
    kubectl,
    other_people,
    postgres,
    process,
    stream,
)
from tests.proofs.faults.faults.fault import EITHER, Fault

__all__ = ["ALL", "CATCHING_UP", "Fault"]

ALL: Final[tuple[Fault, ...]] = (
    *api_server.faults(),
    *kubectl.faults(),
    *postgres.faults(),
    *at_once.faults(),
    *process.faults(),
    *clock.faults(),
    *other_people.faults(),
)

_ANOTHER_HISTORY: Final = ("kubectl", "API server: writes between pages", "API server: etcd restored")
"""Where the changes that a watch tells are not those of the undisturbed life, or there is no watch."""

CATCHING_UP: Final[tuple[Fault, ...]] = (
    *(
        # Each pass goes on where the one before was ended: the last ones may be done too soon for it.
        replace(fault, ends=EITHER) if fault.name == "Postgres: dropped pass after pass" else fault
        for fault in ALL
        if not fault.name.startswith(_ANOTHER_HISTORY)
    ),
    *stream.faults(),
)
"""The faults of passes that catch up on the watch."""
