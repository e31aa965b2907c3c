"""The watch in a storm: every change once, in its order, with its time, whatever breaks meanwhile."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer
from tests.proofs.storm.comparison import compare
from tests.proofs.storm.resident import (
    NOT_OF_THE_STORM,
    Ledger,
    Resident,
    Scheduled,
    verified,
)
from tests.proofs.storm.writer import Storm
from tests.simulation import Truth
from tests.waiting import until


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(token="token-of-the-storm") as server:
        yield server


@pytest.fixture
def resident(server: ApiServer, ledger_url: str, tmp_path: Path) -> Iterator[Resident]:
    resident = Resident(server, ledger_url, tmp_path)
    yield resident
    if resident.process is not None:
        resident.process.kill()
        resident.process.wait()


def caught_up(resident: Resident, ledger: Ledger) -> None:
    """Waits until all that was written to the store has reached the ledger."""
    name = f"{NOT_OF_THE_STORM}{time.monotonic_ns()}"
    revision = int(resident.server.tenants.create(name, [])["metadata"]["resourceVersion"])
    until(lambda: ledger.position() >= revision)


def test_every_change_is_recorded_once_and_in_its_order(resident: Resident, ledger_url: str) -> None:
    ledger, server = Ledger(ledger_url), resident.server
    storm = Storm(server.tenants, seed=3, tenants=40, rate=200, changes=1500, linger=2.5, most_weak=8)
    storm.fill()
    resident.start()
    until(lambda: ledger.position() > 0)
    with storm:
        storm.join(120)
    caught_up(resident, ledger)
    found = compare(storm.truth, ledger)
    assert resident.end() == 0
    assert found.missing == [], resident.logs
    assert found.early == []
    assert verified(ledger_url) == (0, "")
    assert len(found.lags) > 1400


@pytest.fixture
def scheduled(server: ApiServer, ledger_url: str, tmp_path: Path) -> Iterator[Scheduled]:
    scheduled = Scheduled(server, ledger_url, tmp_path)
    yield scheduled
    scheduled.end(signal.SIGKILL)


def test_runs_from_a_scheduler_record_what_the_loop_records(
    scheduled: Scheduled, ledger_url: str
) -> None:
    ledger, server = Ledger(ledger_url), scheduled.server
    truth = Truth(server.tenants, lambda key: not key.startswith(NOT_OF_THE_STORM))
    storm = Storm(server.tenants, seed=4, tenants=40, rate=150, changes=1000, linger=2.5, most_weak=4)
    storm.fill()
    scheduled.start()
    until(lambda: ledger.position() > 0)
    with storm:
        storm.join(120)
    caught_up(scheduled, ledger)
    found = compare(storm.truth, ledger)
    assert found.missing == [], scheduled.logs
    assert (found.early, found.in_gaps, ledger.gaps()) == ([], 0, [])
    server.stop()
    storm = Storm(server.tenants, seed=5, tenants=40, changes=300, most_weak=4, prefix="later-")
    with storm:
        storm.join(120)
    server.start()
    caught_up(scheduled, ledger)
    found = compare(truth, ledger)
    assert found.missing == [], scheduled.logs
    assert found.in_gaps > 50
    assert verified(ledger_url) == (0, "")
