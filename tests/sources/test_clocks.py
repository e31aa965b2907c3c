"""When a snapshot was taken, by the server's clock and ours, and whether managedFields are believed."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.sources.cluster import ClusterSource
from tests.apiserver import FAULTS, Answer, ApiServer, Connection, Fault, Request, edited, sent
from tests.sources.source import SEVEN, TWO_SECONDS, VERSION, believed, clocks, names, source_of, to

# Times


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("skew", [3600.0, -3600.0, 10.0, -10.0])
def test_a_snapshot_is_dated_by_the_servers_clock(
    server: ApiServer, source: ClusterSource, caplog: pytest.LogCaptureFixture, skew: float
) -> None:
    server.clock_skew = skew
    answered: list[datetime] = []

    def note(server: ApiServer, request: Request) -> Answer:
        answered.append(server.now())
        return server.answer(request)

    server.fail(note)
    server.tenants.create("hans", ["mail"])
    snapshot = source.snapshot()
    assert snapshot.asked_at <= answered[0] <= snapshot.observed_at
    assert snapshot.observed_at - snapshot.asked_at <= TWO_SECONDS
    assert "hans" in names(snapshot)
    (record,) = warnings(caplog)
    assert f"{-skew:+.0f} s off" in record.message or f"{-skew + 1:+.0f} s off" in record.message


@pytest.mark.parametrize("skew", [0.8, 0.0, -0.8])
def test_two_clocks_that_agree_to_two_seconds_leave_us_our_own(
    server: ApiServer, kubeconfig: Path, caplog: pytest.LogCaptureFixture, skew: float
) -> None:
    server.clock_skew = skew
    now = datetime.now(UTC)
    instants = [now, now + timedelta(milliseconds=7)]
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert [snapshot.asked_at, snapshot.observed_at] == instants
    assert not warnings(caplog)


def dated(date: str | None) -> Fault:
    """The right answer with another Date, or with none."""

    def send(connection: Connection, head: bytes, payload: bytes) -> None:
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]
        if date is not None:
            lines.insert(1, f"Date: {date}".encode())
        connection.write(b"\r\n".join(lines) + payload)

    return sent(send)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 15:35:25 GMT", "0"])
def test_a_server_that_does_not_tell_the_time_leaves_us_our_own(
    server: ApiServer, kubeconfig: Path, date: str | None
) -> None:
    now = datetime.now(UTC)
    instants = [now, now + timedelta(milliseconds=7)]
    server.fail(dated(date))
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert [snapshot.asked_at, snapshot.observed_at] == instants


def test_an_answer_that_takes_long_to_arrive_is_no_difference_of_clocks(
    server: ApiServer, kubeconfig: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.clock_skew = -4  # The answer was dated when we asked, and has arrived four seconds later.
    now = datetime.now(UTC)
    instants = [now - timedelta(seconds=4), now]
    snapshot = source_of(kubeconfig, *clocks(instants)).snapshot()
    assert [snapshot.asked_at, snapshot.observed_at] == instants
    assert not warnings(caplog)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_clock_that_is_set_while_we_wait_changes_nothing(kubeconfig: Path, step: float) -> None:
    now = datetime.now(UTC)
    instants = iter([now, now + timedelta(seconds=step)])
    snapshot = source_of(kubeconfig, instants.__next__).snapshot()
    assert snapshot.asked_at == now
    assert timedelta() <= snapshot.observed_at - now < timedelta(seconds=30)


# Whether managedFields can be believed


@pytest.mark.parametrize(
    ("major", "minor", "expected"),
    [("1", "20", False), ("1", "24+", False), ("1", "25", True), ("1", "27+", True), ("2", "0", True)],
)
def test_managed_fields_are_believed_from_kubernetes_1_25_on(
    server: ApiServer, source: ClusterSource, major: str, minor: str, *, expected: bool
) -> None:
    server.fail(edited(lambda body: body | {"major": major, "minor": minor}), on=to(VERSION))
    assert believed(source.snapshot()) == expected


@pytest.mark.parametrize("fault", ["403", "410", "503", "reset", "no JSON", "a Status under 200"])
def test_of_a_server_that_does_not_tell_its_version_managed_fields_are_not_believed(
    server: ApiServer, source: ClusterSource, fault: str
) -> None:
    server.fail(FAULTS[fault], on=to(VERSION))
    snapshot = source.snapshot()
    assert names(snapshot) == [*SEVEN]
    assert not believed(snapshot)
