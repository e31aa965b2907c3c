"""The watch in a storm: every change once, in its order, with its time, whatever breaks meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer
from tests.proofs.storm.resident import (
    NOT_OF_THE_STORM,
    Ledger,
    Resident,
    compare,
    verified,
)
from tests.proofs.storm.writer import Storm
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
    storm = Storm(server.tenants, seed=3, tenants=40, rate=200, changes=1500, linger=2.5)
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
