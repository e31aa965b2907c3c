"""Whether a period is ready to be billed, and what is in doubt in it, for a person."""

from collections.abc import Iterator, Sequence

from reconciler.core.text import counted
from reconciler.core.usage import Doubt, not_ready


def doubts_text(doubts: Sequence[Doubt]) -> Iterator[str]:
    """A line for each thing to wait for or decide about, and one for each other kind of doubt."""
    reasons = [not_ready(doubt) for doubt in doubts if not doubt.is_ready]
    yield "Not ready to be billed:" if reasons else "Ready to be billed"
    yield from (f"  {reason}" for reason in reasons)
    gaps = [
        doubt.until - doubt.since
        for doubt in doubts
        if doubt.kind == "gap"
        if doubt.since and doubt.until
    ]
    if gaps:
        hours = f"{max(gaps).total_seconds() / 3600:.1f} hours"
        yield (
            f"In doubt: {counted(len(gaps), 'gap')} in which changes may be missing, "
            f"the longest {hours}; `reconciler coverage` lists them"
        )
    if uncertain := [doubt for doubt in doubts if doubt.kind == "days"]:
        yield (
            f"In doubt: the days of {counted(len(uncertain), 'line')}, "
            "within the intervals of the rows; --bounds shows the least and the most"
        )
