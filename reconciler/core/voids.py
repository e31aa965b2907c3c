"""What an operator voided: passes that should never have been, and what they had written."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class Voided(Struct, frozen=True, rename="camel"):
    """Passes that were voided, with what left the ledger."""

    id: int
    """Number of the void. It is a position, like the number of a pass."""
    first_pass: int
    last_pass: int
    because: str
    decided_by: str
    decided_at: datetime
    passes: int
    begun: int
    """Lifecycles that these passes began."""
    ended: int
    """Lifecycles that they ended."""
    skill_events: int
    suspension_events: int
    at_pass: int | None
    """The pass that the ledger is at again; None: there was none before."""
    observed_at: datetime | None
    """The instant that that pass looked at."""
    closes: Sequence[str]
    """The months that were closed while these passes counted."""
    invoices: Sequence[str]
    """The numbers of invoices that were issued while these passes counted."""
