"""When it happened: the best known time of a row, the interval it must lie in, and how we know.

S is the snapshot's instant, P that of the previous pass that could read the tenant: what differs
between the two happened between the two. Evidence is believed where it says the same.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How far two clocks may be apart before one of them is not believed."""


class TimeSource(StrEnum):
    """Where `occurred_at` comes from."""

    CREATION = "creation"
    STATUS = "status"
    MANAGED_FIELDS = "managed-fields"
    DELETION = "deletion"
    SUCCESSOR = "successor"
    OBSERVED = "observed"


class Moment(Struct, frozen=True, gc=False):
    """`not_before` <= the true time <= `occurred_at`, to the second that Kubernetes keeps."""

    occurred_at: datetime
    not_before: datetime
    source: TimeSource

    @classmethod
    def observed(cls, since: datetime, until: datetime) -> "Moment":
        """Nothing tells more than the two snapshots do."""
        return cls(until, min(since, until), TimeSource.OBSERVED)

    @classmethod
    def best(
        cls,
        evidence: Iterable[tuple[datetime | None, TimeSource]],
        since: datetime,
        until: datetime,
    ) -> "Moment":
        """The first piece of evidence that lies inside [P, S], moved into it; else S.

        Kubernetes cuts its times to seconds, so that a change right after P may carry P's second.
        """
        for time, source in evidence:
            if time is not None and since.replace(microsecond=0) <= time <= until:
                return cls(max(time, since), since, source)
        return cls.observed(since, until)

    def not_earlier(self, floor: datetime) -> "Moment":
        """No row lies before the rows that its lifecycle already has."""
        return self if self.occurred_at >= floor else Moment(floor, self.not_before, self.source)

    def not_after(self, end: datetime) -> "Moment":
        """No row lies after its lifecycle's end."""
        if self.occurred_at <= end:
            return self
        return Moment(end, min(self.not_before, end), self.source)


def moment(
    time: datetime, source: TimeSource, *, since: datetime | None = None, until: datetime
) -> Moment:
    """A time that the cluster states, not one that is inferred: exact, but moved into [P, S]."""
    exact = min(max(time, since) if since else time, until)
    return Moment(exact, exact, source)
