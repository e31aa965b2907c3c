"""Passes over several archived snapshots, oldest first."""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from reconciler.core.text import stamp
from reconciler.errors import OutdatedSnapshot
from reconciler.passes import Pass, Source

log = logging.getLogger(__name__)


class Archived(Source, Protocol):
    """An archived snapshot, with the instant at which it was taken."""

    name: str
    observed_at: datetime


def replay(
    sources: Sequence[Archived],
    last_instant: Callable[[], datetime | None],
    one_pass: Callable[[Source], Pass],
) -> Iterator[Pass]:
    """Makes a pass over each snapshot. Those not newer than the last pass are skipped and logged.

    So an interrupted replay can be started again, also while other passes are written.
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
