"""Passes over several snapshots that were kept, oldest first: how archives become history."""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from reconciler.core.text import stamp
from reconciler.errors import OutdatedSnapshot
from reconciler.passes import Pass, Source

log = logging.getLogger(__name__)


class Kept(Source, Protocol):
    """A snapshot that was kept, with the instant it was taken."""

    name: str
    observed_at: datetime


def replay(
    sources: Sequence[Kept],
    last_instant: Callable[[], datetime | None],
    one_pass: Callable[[Source], Pass],
) -> Iterator[Pass]:
    """A pass over each snapshot; those not newer than the last pass are skipped, and named.

    So an archive may be replayed again after it was interrupted, and while others write.
    """
    last = last_instant()
    for source in sources:
        if last is None or source.observed_at > last:
            try:
                done = one_pass(source)
            except OutdatedSnapshot:
                last = last_instant()
                if last is None or source.observed_at > last:
                    raise
            else:
                last = done.plan.snapshot.observed_at
                yield done
                continue
        when = stamp(last) if last else "none"
        log.info("skipped %s: not newer than the last pass (%s)", source.name, when)
