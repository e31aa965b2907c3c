"""A void: for a person and as JSON."""

from collections.abc import Iterator

from msgspec import Struct

from reconciler.core.text import clean, counted, stamp
from reconciler.core.voids import Voided
from reconciler.output.plan_json import to_json


class _Void(Struct, rename="camel"):
    dry_run: bool
    void: Voided


def void_json(voided: Voided, *, dry_run: bool) -> bytes:
    """One object: whether it was only tried, and the void."""
    return to_json(_Void(dry_run, voided))


def void_text(voided: Voided, *, dry_run: bool) -> Iterator[str]:
    """What left the ledger, where the ledger is now, and what has to be done again."""
    which = f"Passes {voided.first_pass} to {voided.last_pass}"
    if voided.first_pass == voided.last_pass:
        which = f"Pass {voided.first_pass}"
    yield f"{which}: {'would be voided' if dry_run else f'voided, on record as void {voided.id}'}"
    yield (
        f"  withdrawn: {voided.begun} created, {voided.ended} deleted, "
        f"{counted(voided.skill_events, 'skill event')}, "
        f"{counted(voided.suspension_events, 'suspension event')}"
    )
    if voided.at_pass is None or voided.observed_at is None:
        yield "  the ledger has no pass before it"
    else:
        yield f"  the last pass is {voided.at_pass} again, of {stamp(voided.observed_at)}"
    yield from (f"  closed at a voided pass, close it again: {month}" for month in voided.closes)
    yield from (
        f"  drawn at a voided pass, check it: invoice {clean(number)}" for number in voided.invoices
    )
