"""One pass of `reconciler run`, phase by phase: `python -m tests.proofs.bench.phases`.

Prints them as JSON. A phase does not count what another one within it takes. The clocks themselves take
about a hundredth of the pass.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

PHASES: Final = {
    "reconciler.commands.execute": "everything else",
    "reconciler.sources.connection.Connection.__init__": "import kubernetes, read kubeconfig",
    "reconciler.sources.api.Api._get": "receive the answers",
    "reconciler.sources.connection.Connection.get": "send the requests, receive the heads",
    "reconciler.sources.api.inflated": "inflate the pages",
    "reconciler.sources.api.read_page": "find the tenants in the pages",
    "reconciler.sources.cluster.read_tenants": "read the tenants",
    "reconciler.ledger.postgres.Database._connected": "connect to Postgres",
    "reconciler.ledger.postgres_ledger.printed": "read the fingerprints",
    "reconciler.ledger.postgres_ledger.known_state": "read the known state",
    "reconciler.ledger.postgres_ledger.changed_state": "read the known state",
    "reconciler.ledger.postgres_ledger.PostgresLedger.prepare": "check the schema",
    "reconciler.ledger.postgres_ledger.gone": "ask for the known that are gone",
    "reconciler.passes.plan": "plan",
    "reconciler.passes.guard": "guard",
    "reconciler.ledger.postgres_ledger.write": "write",
}


class Clocks:
    """Wall and CPU time of each phase."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}
        self._within = [0.0, 0.0]

    def timed(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, which counts to that phase from now on."""

        @wraps(call)
        def counted(*arguments: Any, **named: Any) -> Any:
            outer, self._within = self._within, [0.0, 0.0]
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return call(*arguments, **named)
            finally:
                took = time.perf_counter() - wall, time.process_time() - cpu
                taken = self.taken.setdefault(phase, [0.0, 0.0])
                for which in (0, 1):
                    taken[which] += took[which] - self._within[which]
                    outer[which] += took[which]
                self._within = outer

        return counted


def main() -> int:
    clocks = Clocks()
    clocks.timed("import reconciler, psycopg, settings", importlib.import_module)(
        "reconciler.commands.run"
    )
    for path, phase in PHASES.items():
        where, _, name = path.rpartition(".")
        owner = _found(where)
        setattr(owner, name, clocks.timed(phase, getattr(owner, name)))
    from reconciler.cli import main as run

    status = run(["run", *sys.argv[1:]])
    print(json.dumps([[phase, *taken] for phase, taken in clocks.taken.items()]))
    return status


def _found(path: str) -> Any:
    """A module, or a class in one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    sys.exit(main())
