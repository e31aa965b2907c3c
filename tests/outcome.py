"""What a pass leaves behind, for tests that have no ledger."""

from msgspec.structs import replace

from reconciler.core.plan import Plan
from reconciler.core.state_cache import StateCache
from reconciler.core.tenant import KnownState


def outcome(plan: Plan, known: KnownState) -> KnownState:
    """What the ledger knows once the plan is written."""
    kept = StateCache(known)
    ended = kept.forward(plan)
    return kept.known(replace(plan.snapshot, scope=None), {**known.gone, **ended})
