"""What a pass is made of, and what it leaves behind, where a test has no cluster or no ledger."""

from msgspec.structs import replace

from reconciler.core.plan import Plan
from reconciler.core.state_cache import StateCache
from reconciler.core.tenant import KnownState, Snapshot


def outcome(plan: Plan, known: KnownState) -> KnownState:
    """What the ledger knows once the plan is written."""
    kept = StateCache(known)
    ended = kept.forward(plan)
    return replace(kept.known(replace(plan.snapshot, scope=None)), gone={**known.gone, **ended})


class Given:
    """A snapshot that is there already."""

    is_live = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot
