"""A storm of changes on the tests' API server, and the truth about it.

`Storm` writes to the store as portals, operators and GitOps tools do; `Truth` has every change that can
be billed, in its order, to be held against a ledger. Neither knows anything of the reconciler.
"""

from tests.proofs.storm.truth import Change, Kind, State, Subject, Truth
from tests.proofs.storm.writer import Storm

__all__ = ["Change", "Kind", "State", "Storm", "Subject", "Truth"]
