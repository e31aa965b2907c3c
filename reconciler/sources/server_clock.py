"""The API server's clock: what is observed is dated by it, for ours may be wrong."""

import logging
from datetime import datetime, timedelta
from typing import Final

CLOCK_DIFFERENCE: Final = timedelta(seconds=2)
"""How far our clock may be off the API server's before it is corrected."""

log = logging.getLogger(__name__)


def on_server_clock(
    asked_at: datetime, arrived_at: datetime, date: datetime | None
) -> tuple[datetime, datetime]:
    """P and S on the API server's clock, which is ours where the two agree to 2 s."""
    if date is None or asked_at - CLOCK_DIFFERENCE <= date <= arrived_at + CLOCK_DIFFERENCE:
        return asked_at, arrived_at
    log.warning(
        "this clock is %+.0f s off the API server's, which is used instead",
        (arrived_at - date).total_seconds(),
    )
    # The header is cut to the second, and was written before it arrived here.
    return date - (arrived_at - asked_at), date + timedelta(seconds=1)
