"""Compares a ledger with its own events, and both with a snapshot of the cluster."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from reconciler.core.guard import Limits, guard
from reconciler.core.plan import Plan, plan
from reconciler.core.tenant import Snapshot
from reconciler.core.verify import Finding, compare_creation, compare_fingerprint, compare_state
from reconciler.ledger import checks, state_reader
from reconciler.ledger.postgres import Transaction

TOLD_EVERY: Final = 1_000
"""Tenants between two lines of progress."""


class Comparison:
    """A ledger and a snapshot of the cluster that is not older."""

    def __init__(self, transaction: Transaction, snapshot: Snapshot | None, allowed: Limits) -> None:
        self.transaction = transaction
        self._shown = {tenant.uid: tenant for tenant in snapshot.tenants} if snapshot else {}
        checks.prepare(transaction)
        self._last = state_reader.last_pass(transaction)
        self.planned = self._plan(snapshot, allowed) if snapshot else None

    def findings(self, *, deep: bool, progress: Callable[[str], object]) -> Iterator[Finding]:
        """All of them, as they are found. `progress` is told how far that is."""
        yield from checks.contradictions(self.transaction, progress)
        last = self._last.last_pass
        for number, rebuilt in enumerate(checks.rebuilt(self.transaction)):
            if number % TOLD_EVERY == 0:
                progress(f"comparing tenants with their events: {number:,}")
            yield from compare_state(rebuilt, last.observed_at if last else None)
            tenant = self._shown.get(rebuilt.lifecycle.uid or "")
            if tenant is not None:
                yield from compare_creation(rebuilt, tenant)
                yield from compare_fingerprint(rebuilt, tenant)
        if deep:
            progress("comparing digests")
            yield from checks.altered(self.transaction)

    def _plan(self, snapshot: Snapshot, allowed: Limits) -> Plan:
        """What a pass would write, from the state that the events alone tell."""
        lifecycles = [one.lifecycle for one in checks.rebuilt(self.transaction)]
        state = replace(
            self._last,
            live={one.uid: one for one in lifecycles if one.uid is not None},
            adopted={one.name: one for one in lifecycles if one.uid is None},
        )
        state = replace(
            state,
            gone=state_reader.gone(self.transaction, snapshot, state),
            newer=state_reader.newer(self.transaction, snapshot, state),
        )
        return guard(plan(snapshot, state), state, allowed)
