"""When a row happened: the best known time, the interval, and the evidence.

S is the instant of the snapshot, and P that of the previous pass that could read the tenant. What
differs between the two happened between the two. The table says which evidence counts for which rows.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from reconciler.core.kinds import Kind

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""How far a snapshot may be ahead of all other clocks. Later snapshots wait until that time has come."""

BEHIND_TOLERANCE: Final = timedelta(hours=1)
"""How far an API server's clock may be behind two others that agree."""

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How much two clocks may differ."""


class TimeSource(StrEnum):
    """The evidence for `occurred_at`."""

    OPERATOR = "operator"
    CREATION = "creation"
    STATUS = "status"
    MANAGED_FIELDS = "managed-fields"
    DELETION = "deletion"
    SUCCESSOR = "successor"
    OBSERVED = "observed"

    __hash__ = str.__hash__


class Rule(Struct, frozen=True, kw_only=True):
    """One line of the table of times."""

    source: TimeSource
    kinds: tuple[Kind, ...]
    rows: str
    """The same kinds as text, with the condition."""
    occurred_at: str
    is_exact: bool = False
    """The cluster states this exact time. It is moved into [P, S], and the interval has no length."""
    is_decided: bool = False
    """An operator decided this exact time. It is not moved, even if it lies outside of the interval."""
    unless_later: TimeSource | None = None
    """This other source is used instead if its time is later and lies between P and S."""


RULES: Final = (
    Rule(
        source=TimeSource.OPERATOR,
        kinds=tuple(Kind),
        rows="all rows of a move to another org, with `--effective`",
        occurred_at="that time. If it lies between P and S, `not_before` is P",
        is_decided=True,
    ),
    Rule(
        source=TimeSource.CREATION,
        kinds=(Kind.CREATED, Kind.ENABLED),
        rows="`created`; `enabled` at first sight",
        occurred_at="`creationTimestamp`",
        is_exact=True,
    ),
    Rule(
        source=TimeSource.STATUS,
        kinds=(Kind.SUSPENDED,),
        rows="`suspended`",
        occurred_at="`status.suspendedAt`, if it lies between P and S and no `managedFields` time of "
        "`spec.suspend` that does is later",
        unless_later=TimeSource.MANAGED_FIELDS,
    ),
    Rule(
        source=TimeSource.MANAGED_FIELDS,
        kinds=(Kind.ENABLED, Kind.DISABLED, Kind.SUSPENDED, Kind.RESUMED, Kind.DELETED),
        rows="`enabled` later on; `disabled`; `suspended`; `resumed`; all rows of a move to another org",
        occurred_at="the field's time in `managedFields`, if it lies between P and S",
    ),
    Rule(
        source=TimeSource.DELETION,
        kinds=(Kind.DELETED,),
        rows="`deleted`",
        occurred_at="`deletionTimestamp`, moved into the interval from P to S",
        is_exact=True,
    ),
    Rule(
        source=TimeSource.SUCCESSOR,
        kinds=(Kind.DELETED,),
        rows="`deleted`, if no deletion was seen",
        occurred_at="the `creationTimestamp` of a tenant of the same name, if it lies between P and S",
    ),
    Rule(
        source=TimeSource.OBSERVED,
        kinds=tuple(Kind),
        rows="any row without evidence",
        occurred_at="S",
    ),
)
"""In the order in which they are tried. A test compares them with schema/README.md."""


class Moment(Struct, frozen=True, gc=False):
    """`not_before` <= the true time <= `occurred_at`, to the second that Kubernetes keeps."""

    occurred_at: datetime
    not_before: datetime
    source: TimeSource

    def not_earlier(self, floor: datetime) -> "Moment":
        """Moved, if needed, to the last row of its lifecycle: no row is earlier than that."""
        return self if self.occurred_at >= floor else Moment(floor, self.not_before, self.source)

    def not_after(self, end: datetime) -> "Moment":
        """Moved, if needed, to the end of its lifecycle: no row is later than that."""
        if self.occurred_at <= end:
            return self
        return Moment(end, min(self.not_before, end), self.source)


def when(
    kind: Kind, evidence: Mapping[TimeSource, datetime | None], since: datetime, until: datetime
) -> Moment:
    """The moment of a row between P (`since`) and S (`until`), by the first rule that applies.

    `evidence` has the time of each source; None if it has none.
    """
    # Kubernetes truncates times to seconds, so a change just after P may have the second of P.
    first = since.replace(microsecond=0)
    for rule in RULES:
        time = evidence.get(rule.source)
        if time is None or kind not in rule.kinds:
            continue
        if rule.is_decided:
            return Moment(time, since if since < time <= until else time, rule.source)
        if rule.is_exact:
            exact = min(max(time, since), until)
            return Moment(exact, exact, rule.source)
        other = evidence.get(rule.unless_later) if rule.unless_later else None
        is_overruled = other is not None and time < other <= until and first <= other
        if first <= time <= until and not is_overruled:
            return Moment(max(time, since), since, rule.source)
    return Moment(until, min(since, until), TimeSource.OBSERVED)
