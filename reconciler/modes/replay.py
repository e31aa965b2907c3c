"""Passes over several archived snapshots, oldest first."""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, Protocol

from reconciler.core.text import stamp
from reconciler.errors import OutdatedSnapshot, Refused
from reconciler.passes import Pass, Source

MOST_NAMED: Final = 20
"""Files that a message names."""

log = logging.getLogger(__name__)


class Archived(Source, Protocol):
    """An archived snapshot, with the instant at which it was taken."""

    name: str
    observed_at: datetime

    def digest(self) -> str:
        """Tells its content. Raises SnapshotError."""


def replay(
    sources: Sequence[Archived],
    last_instant: Callable[[], datetime | None],
    was_read: Callable[[str, str, datetime], bool],
    one_pass: Callable[[Source], Pass],
) -> Iterator[Pass]:
    """Makes a pass over each snapshot. Those not newer than the last pass are skipped and logged.

    So an interrupted replay can be started again, also while other passes are written. Raises Refused at
    the end where one that was skipped is not in the ledger.
    """
    last = last_instant()
    unread: list[str] = []
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
        if was_read(source.digest(), source.name.rpartition("/")[2], source.observed_at):
            log.info("skipped %s: not newer than the last pass (%s)", source.name, when)
        else:
            unread.append(source.name)
    if unread:
        more = f" and {len(unread) - MOST_NAMED} more" if len(unread) > MOST_NAMED else ""
        raise Refused(
            f"never read, and older than the last pass ({when}): "
            f"{', '.join(unread[:MOST_NAMED])}{more}. "
            "They cannot be added after it; replay the whole archive into an empty ledger"
        )
