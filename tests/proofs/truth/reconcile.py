"""The reconciler over a simulated cluster: passes at an interval, from a snapshot's bytes to its rows.

Requests take their time, clocks differ, passes fail, tenants are quarantined. No database: what a pass
leaves behind is `outcome`, and from the gone what the snapshot no longer shows is forgotten, as there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import sin, tau
from random import Random
from typing import Final, NamedTuple

from msgspec.structs import replace

from reconciler.core.kinds import Kind
from reconciler.core.plan import Plan, plan
from reconciler.core.reading import Dialect, read_page, read_tenants
from reconciler.core.tenant import KnownState, Snapshot
from reconciler.core.watch_events import read_event
from reconciler.sources import server_clock
from tests.outcome import outcome
from tests.proofs.truth.evidence import API_VERSION, EPOCH, HOUR, KIND, MINUTE, SECOND, Write, micros

INTERVALS: Final = (1, 4, 10, 60)
"""Minutes between two passes."""
EVIDENCE: Final = Dialect()
NO_EVIDENCE: Final = Dialect(managed_fields=False)

_HEAD: Final = f'{{"apiVersion":"{API_VERSION}","kind":"{KIND}List","metadata":{{"resourceVersion":"'


@dataclass(frozen=True, slots=True)
class Clock:
    """How far our clock is ahead of the API server's, in microseconds: a constant, and it wanders."""

    ahead: int
    wanders: int
    until: int
    """From then on somebody has set it right."""

    @classmethod
    def some(cls, rng: Random, begin: int) -> "Clock":
        forever = begin + 10_000 * HOUR
        ahead = rng.choice((-1, 1)) * rng.randrange(5 * SECOND, 2 * HOUR)
        match rng.choices(("in step", "near", "off", "set right"), (5, 2, 3, 1))[0]:
            case "in step":
                return cls(0, 20_000, forever)
            case "near":
                # About as far as it is not corrected: a difference of two seconds stands.
                return cls(0, rng.randrange(100_000, 3_500_000), forever)
            case "off":
                return cls(ahead, 300_000, forever)
            case _:
                return cls(ahead, 20_000, begin + 48 * HOUR)

    def __call__(self, at: int) -> int:
        return (
            at
            + round(self.wanders * sin(at / (7 * HOUR) * tau))
            + (self.ahead if at < self.until else 0)
        )


class Row(NamedTuple):
    """One row of the ledger; times in microseconds."""

    kind: str
    uid: str
    skill: str | None
    occurred_at: int
    not_before: int
    observed_at: int
    source: str
    first_sight: bool

    def shown(self) -> str:
        what = " ".join(filter(None, (self.kind, self.skill, "of", self.uid)))
        return f"{what} [{time(self.not_before)}, {time(self.occurred_at)}] by {self.source}"


class Pass(NamedTuple):
    """What one pass wrote, beside what it truly looked at."""

    looked_at: int
    """The true instant of its snapshot."""
    state: Mapping[str, Write]
    """By name: the cluster at that instant."""
    readable: Sequence[str]
    """The uids that it could read."""
    unreadable: Sequence[str | None]
    """The names that the snapshot quarantines by itself."""
    rows: Sequence[Row]
    evidence: bool
    """Whether it believes managedFields."""


@dataclass
class Reconciler:
    """One that passes at an interval, and believes managedFields or not, by its dialect."""

    dialect: Dialect
    known: KnownState = field(default_factory=KnownState)

    def reconcile(self, body: bytes, asked_at: datetime, observed_at: datetime) -> Plan:
        page = read_page(body, self.dialect)
        tenants, unreadable = read_tenants(page.items, observed_at, self.dialect)
        snapshot = Snapshot(
            tenants=tenants,
            unreadable=unreadable,
            asked_at=asked_at,
            observed_at=observed_at,
            resource_version=page.resource_version,
            source="simulation",
        )
        planned = self._written(snapshot)
        shown = {one.uid for one in tenants} | {one.uid for one in unreadable}
        gone = {uid: lifecycle for uid, lifecycle in self.known.gone.items() if uid in shown}
        self.known = replace(self.known, gone=gone)
        return planned

    def catch_up(self, write: Write, before: Write | None, observed_at: datetime) -> Plan:
        """One change that the watch tells of; a deletion shows the resource as it was last."""
        shown = write if write.body is not None else before
        kind = "MODIFIED" if write.body is not None else "DELETED"
        line = b'{"type":"%s","object":%s}' % (kind.encode(), (shown and shown.body) or b"{}")
        return self._written(read_event(line, observed_at, self.dialect))

    def _written(self, snapshot: Snapshot) -> Plan:
        planned = plan(snapshot, self.known)
        self.known = outcome(planned, self.known)
        return planned


class Look(NamedTuple):
    """One list: the true instants, and what our own clock and the Date header make of them."""

    at: int
    asked_at: datetime
    observed_at: datetime
    too_late: int
    """How far `asked_at` lies after the true instant of the request; up to 2 s are not corrected."""
    too_early: int
    """How far `observed_at` lies before the snapshot's true instant."""


def looks(rng: Random, begin: int, end: int, minutes: int) -> Iterator[Look]:
    """The lists of the passes that do not fail, the last one after the end."""
    clock = Clock.some(rng, begin)
    due = begin + rng.choice((0, 0, 0, rng.randrange(HOUR)))
    failing = 0
    server_clock.log.disabled = True
    try:
        while due <= end:
            due += minutes * MINUTE
            failing = max(failing - 1, 0) or (rng.random() < 0.002) * rng.randrange(2, 8)
            if due > end or not (failing or rng.random() < 0.02):
                yield _look(rng, clock, due + rng.randrange(SECOND))
    finally:
        server_clock.log.disabled = False


def _look(rng: Random, clock: Clock, asked: int) -> Look:
    slowness = rng.choice((10_000, 10_000, 50_000, 400_000, 5_000_000))
    looked, dated, arrived = (asked + part for part in sorted(rng.randrange(1, slowness) for _ in "123"))
    asked_at, observed_at = server_clock.on_server_clock(
        time(clock(asked)), time(clock(arrived)), time(dated - dated % SECOND)
    )
    return Look(
        looked,
        asked_at,
        observed_at,
        max(micros(asked_at) - asked, 0),
        max(looked - micros(observed_at), 0),
    )


def passes(
    writes: Sequence[Write], looked: Sequence[Look], dialect: Dialect, *, catch_up: bool = False
) -> Iterator[Pass]:
    """Passes over the history of one cluster, with `catch_up` each after all changes before its list."""
    reconciler = Reconciler(dialect)
    state: dict[str, Write] = {}
    done = 0
    for number, look in enumerate(looked):
        caught_up: list[Row] = []
        while done < len(writes) and writes[done].at <= look.at:
            write = writes[done]
            if catch_up and number:
                change = reconciler.catch_up(write, state.get(write.name), look.observed_at)
                caught_up += rows(change)
            if write.body is None:
                del state[write.name]
            else:
                state[write.name] = write
            done += 1
        items = b",".join(write.body or b"" for write in state.values())
        body = f'{_HEAD}{done}"}},"items":['.encode() + items + b"]}"
        planned = reconciler.reconcile(body, look.asked_at, look.observed_at)
        set_aside = {one.uid for one in planned.quarantined}
        yield Pass(
            look.at,
            state,
            [one.uid for one in planned.snapshot.tenants if one.uid not in set_aside],
            [one.name for one in planned.snapshot.unreadable],
            [*caught_up, *rows(planned)],
            dialect.managed_fields,
        )


def rows(planned: Plan) -> list[Row]:
    return [
        Row(
            row.kind.value,
            change.lifecycle.uid or "",
            row.value,
            micros(row.at.occurred_at),
            micros(row.at.not_before),
            micros(planned.snapshot.observed_at),
            row.at.source.value,
            first_sight=change.case.begins and row.kind == Kind.ENABLED,
        )
        for change, row in planned.rows()
    ]


def time(at: int) -> datetime:
    return EPOCH + at * datetime.resolution
