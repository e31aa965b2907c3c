"""A pass asks Postgres a fixed number of times, whatever the number of tenants and of changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.guard import Limits
from reconciler.core.tenant import Snapshot, Tenant
from reconciler.ledger.postgres import Database
from reconciler.ledger.postgres_ledger import DryRunLedger, PostgresLedger
from reconciler.passes import run_pass
from tests.conftest import TEMPLATE, fresh_database
from tests.proofs.bench.figures import MOST_ROUND_TRIPS
from tests.proofs.bench.wire import Traffic, Wire

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(brake_percent=100)


class Given:
    """A snapshot that was made by hand."""

    is_live = False

    def __init__(self, tenants: Sequence[Tenant], hour: int) -> None:
        self.tenants, self.hour = tenants, hour

    def snapshot(self) -> Snapshot:
        instant = BEGAN + timedelta(hours=self.hour)
        return Snapshot(
            tenants=self.tenants,
            asked_at=instant,
            observed_at=instant,
            cluster_uid="c",
            resource_version=str(self.hour),
            source="by hand",
        )


def tenant(number: int, skills: Sequence[str], *, suspended: bool = False, gone: bool = False) -> Tenant:
    return Tenant(
        uid=f"uid-{number}",
        name=f"tenant-{number:05}",
        org="org",
        created_at=BEGAN,
        skills=tuple(skills),
        suspended=suspended,
        deleted_at=BEGAN + timedelta(hours=2) if gone else None,
    )


@pytest.fixture
def wire(postgres: str) -> Iterator[Wire]:
    with Wire(Path(postgres.partition("host=")[2])) as wire:
        yield wire


def a_life(ledger_url: str, wire: Wire, count: int) -> list[Traffic]:
    """A backfill, nothing new, a change of each kind, and nothing new; each also dry."""
    name = ledger_url.partition("@/")[2].partition("?")[0]
    before = [tenant(number, ["a", "b"], suspended=number % 4 == 2) for number in range(count)]
    after = [
        tenant(
            number,
            ["a", "c"] if number % 4 == 1 else ["a", "b"],
            suspended=number % 4 in (0, 1),
            gone=number % 8 == 3,
        )
        for number in range(count)
        if number % 8 != 7
    ]
    after += [tenant(count + number, ["d"], suspended=True) for number in range(count)]
    database = Database(wire.url(name), connect_timeout=10, lock_timeout=10)
    taken = []
    try:
        for hour, tenants in enumerate((before, before, after, after), start=3):
            for ledger in (DryRunLedger(database), PostgresLedger(database)):
                run_pass(Given(tenants, hour), ledger, LIMITS)
                taken.append(wire.taken())
    finally:
        database.close()
    return taken


def test_a_pass_uses_as_many_round_trips_for_many_tenants_as_for_few(postgres: str, wire: Wire) -> None:
    lives = []
    # Above some hundred changes a pass is sealed before its commit, by a statement of its own.
    for count in (1500, 4500):
        with contextmanager(fresh_database)(postgres, TEMPLATE) as ledger_url:
            lives.append(a_life(ledger_url, wire, count))
    few, many = lives
    # A message that arrives in two pieces may be counted twice.
    pairs = [(one.round_trips, other.round_trips) for one, other in zip(many, few, strict=True)]
    assert all(more <= less + 1 for more, less in pairs), pairs
    assert [one.statements for one in many] == [one.statements for one in few]
    assert max(one.round_trips for one in many) <= MOST_ROUND_TRIPS
