"""The short form of the fault suite, and the guarantees that a fault alone does not show."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import psycopg
import pytest

from reconciler.core.tenant import Snapshot
from reconciler.ledger.postgres import WRITE_LOCK
from reconciler.passes import MOST_GATHERINGS, Source
from tests.proofs.faults.facts import Facts
from tests.proofs.faults.faults import ALL, CATCHING_UP, Fault
from tests.proofs.faults.faults.at_once import at_once
from tests.proofs.faults.proxy import Then, at
from tests.proofs.faults.storm import NAME as STORM
from tests.proofs.faults.suite import STEPS, Tally, blow, in_order, play
from tests.proofs.faults.world import Ending, Laboratory, World, laboratory, world
from tests.waiting import PATIENCE, until

SEED = 20_261_122


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with laboratory() as lab:
        yield lab


@pytest.fixture
def here(lab: Laboratory) -> Iterator[World]:
    """A cluster, and an empty ledger."""
    with world(lab, SEED) as here:
        yield here


# The short form ------------------------------------------------------------------------------------


def _struck(lab: Laboratory, faults: list[Fault], *, catches_up: bool = False) -> None:
    tally = Tally()
    for number, first in enumerate(range(0, len(faults), STEPS)):
        struck = in_order(faults[first : first + STEPS])
        play(lab, SEED + number, struck, tally, catches_up=catches_up)
    assert tally.is_clean, "\n".join([*tally.table(), *tally.broken])


def _faults(beginning: str) -> list[Fault]:
    return [fault for fault in ALL if fault.name.startswith(beginning) and fault.weight >= 0.4]


@pytest.mark.parametrize("where", ["at a page", "before the list"])
def test_a_failed_request_writes_nothing_and_the_next_pass_makes_up_for_it(
    lab: Laboratory, where: str
) -> None:
    _struck(lab, [fault for fault in _faults("API server") if fault.name.endswith(where)])


def test_every_trap_of_a_list_ends_in_the_undisturbed_ledger(lab: Laboratory) -> None:
    traps = [one for one in _faults("API server") if ", at a page" not in one.name]
    _struck(lab, [one for one in traps if ", before the list" not in one.name])


def test_what_a_failed_kubectl_printed_deletes_nobody(lab: Laboratory) -> None:
    _struck(lab, _faults("kubectl"))


def test_whatever_postgres_does_the_ledger_ends_as_undisturbed(lab: Laboratory) -> None:
    faults = _faults("Postgres")
    _struck(lab, [*faults, *(fault for fault in faults if fault.weight >= 4)])


def test_passes_at_once_and_interrupted_ones_write_once(lab: Laboratory) -> None:
    interrupted = [fault for fault in ALL if fault.name.startswith("process: interrupted")]
    _struck(lab, [*(_faults("passes") * 2), *(interrupted * 4)])


def test_a_killed_process_leaves_all_of_its_pass_or_nothing(lab: Laboratory) -> None:
    names = {"process: SIGKILL at a statement", "process: SIGTERM at an executed statement"}
    _struck(lab, [fault for fault in ALL if fault.name in names])


def test_no_clock_and_no_zone_loses_a_row(lab: Laboratory) -> None:
    _struck(lab, _faults("clock"))


def test_whatever_others_do_in_the_database_the_ledger_ends_as_undisturbed(lab: Laboratory) -> None:
    _struck(lab, _faults("other people") * 2)


def test_a_pass_that_catches_up_ends_in_the_undisturbed_ledger_whatever_the_watch_does(
    lab: Laboratory,
) -> None:
    _struck(lab, [fault for fault in CATCHING_UP if fault.name.startswith("watch")], catches_up=True)


def test_a_pass_that_catches_up_may_be_ended_or_refused_between_any_two_changes(lab: Laboratory) -> None:
    names = {
        *("Postgres: dropped before a statement", "Postgres: dropped after a statement"),
        *("Postgres: answer to COMMIT lost", "process: interrupted at a statement"),
        *("passes: two to eight at once", "clock: both back by hours"),
        *("API server: 410, at a page", "API server: empty 200"),
    }
    _struck(lab, [fault for fault in CATCHING_UP if fault.name in names] * 2, catches_up=True)


def test_passes_at_once_write_what_a_sequence_of_passes_would(lab: Laboratory) -> None:
    tally = Tally()
    blow(lab, SEED, tally)
    assert tally.is_clean, tally.broken
    assert tally[STORM].passes >= 4


def test_the_suite_sees_a_lost_row_and_a_doubled_one(lab: Laboratory) -> None:
    """Else its zeros would say nothing."""

    def lose(here: World, _: object) -> list[Ending]:
        ending = here.make_pass()
        here.execute(
            "SET session_replication_role = replica; "
            "DELETE FROM tenant_skill_events WHERE id = (SELECT min(id) FROM tenant_skill_events)"
        )
        return [ending]

    def double(here: World, _: object) -> list[Ending]:
        ending = here.make_pass()
        here.execute(
            "SET session_replication_role = replica; "
            "INSERT INTO tenant_suspension_events (lifecycle_id, pass_id, ordinal, tenant_name, "
            "tenant_uid, event_kind, occurred_at, not_before, time_source, observed_at) "
            "SELECT id, created_pass_id, 99, tenant_name, tenant_uid, 'suspended', created_at, "
            "created_at, 'observed', created_at FROM tenant_billing_lifecycle LIMIT 1"
        )
        return [ending]

    tally = Tally()
    for name, strike in (("lose", lose), ("double", double)):
        play(lab, SEED, [Fault(name, strike, frozenset({0}))], tally)
    assert (tally["lose"].lost, tally["lose"].doubled) == (1, 0)
    assert (tally["double"].lost, tally["double"].doubled) == (0, 1)
    assert not tally.is_clean


# All or nothing ------------------------------------------------------------------------------------


def _statements(here: World) -> int:
    """How many statements the first pass takes, found on a ledger of its own."""
    with here.laboratory.database() as empty:
        here.proxy.heal()
        assert here.make_pass(url=here.proxy.url(empty)).status == 0
        statements = here.proxy.statements
    here.proxy.heal()
    return statements


def _passes(here: World) -> int:
    with psycopg.connect(here.direct) as connection:
        (count,) = connection.execute("SELECT count(*) FROM reconciler_passes").fetchone() or (0,)
    return int(count)


def test_an_answer_to_commit_that_never_arrives_is_recognised_as_written(here: World) -> None:
    here.proxy.on_statement = at(_statements(here), Then.DROP_AFTER)
    assert here.make_pass() == Ending(0)
    assert _passes(here) == 1


def test_a_commit_that_never_arrives_is_recognised_as_not_written(here: World) -> None:
    here.proxy.on_statement = at(_statements(here), Then.DROP_BEFORE)
    ending = here.make_pass()
    assert ending.status == 1
    assert "the pass was not written" in ending.said
    assert _passes(here) == 0


def test_where_nobody_can_be_asked_about_the_commit_the_message_says_so(here: World) -> None:
    last = _statements(here)
    here.proxy.on_statement = at(last, Then.DROP_AFTER)

    def executed(number: int) -> None:
        here.proxy.refusing = here.proxy.refusing or number == last

    here.proxy.after_execution = executed
    ending = here.make_pass()
    assert ending.status == 1
    assert "it is not known whether pass 1 was written" in ending.said
    assert "nothing was written" not in ending.said
    assert "running again is safe" in ending.said
    here.heal()
    assert _passes(here) == 1
    before = here.facts()
    assert here.make_pass() == Ending(0)
    assert here.facts() == before


def test_who_is_interrupted_while_the_commit_is_under_way_is_not_told_that_nothing_was_written(
    here: World,
) -> None:
    last = _statements(here)
    process: list[subprocess.Popen[str]] = []
    started, ended = threading.Event(), threading.Event()

    def executed(number: int) -> None:
        # A process takes more statements than a pass made here: its commit shows by the pass.
        if number >= last and not ended.is_set() and _passes(here) == 1:
            started.wait()
            ended.set()
            process[0].send_signal(signal.SIGTERM)
            time.sleep(0.3)

    here.proxy.after_execution = executed
    process.append(here.start())
    started.set()
    _, said = process[0].communicate(timeout=PATIENCE)
    here.heal()
    assert _passes(here) == 1
    assert process[0].returncode in (0, 4) or "not known" in said, said


# One writer ----------------------------------------------------------------------------------------


@contextmanager
def _another_pass(here: World) -> Iterator["psycopg.Connection[object]"]:
    """One that has the lock, and takes its time."""
    with psycopg.connect(here.direct) as connection:
        connection.execute(WRITE_LOCK.encode())
        yield connection


def test_a_pass_that_waits_for_another_says_so_and_gives_up_in_time(here: World) -> None:
    with _another_pass(here):
        process = here.start(RECONCILER_LOCK_TIMEOUT="300ms")
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    waiting, gave_up = said.splitlines()[-2:]
    assert "another pass is being written; waiting" in waiting
    assert "--lock-timeout" in gave_up
    assert "Traceback" not in said
    assert _passes(here) == 0


def test_a_pass_that_waits_for_another_goes_on_after_it(here: World) -> None:
    with _another_pass(here) as other:
        process = here.start()
        stderr: IO[str] | None = process.stderr
        assert stderr is not None
        assert any("waiting" in line for line in stderr)
        other.rollback()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert _passes(here) == 1


class _Together:
    """A source that hands its snapshot out when all have gathered."""

    is_live = True

    def __init__(self, source: Source, barrier: threading.Barrier) -> None:
        self._source, self._barrier = source, barrier

    def snapshot(self) -> Snapshot:
        snapshot = self._source.snapshot()
        self._barrier.wait(30)
        return snapshot


def _undisturbed(lab: Laboratory) -> Facts:
    with world(lab, SEED) as here:
        assert here.make_pass() == Ending(0)
        return here.facts()


def test_two_backfills_at_once_write_once(here: World, lab: Laboratory) -> None:
    barrier = threading.Barrier(2)
    sources = [_Together(here.source(), barrier) for _ in range(2)]
    ends = at_once([partial(here.make_pass, one) for one in sources])
    assert ends == [Ending(0), Ending(0)]
    found = here.facts()
    assert found.rows
    assert found == _undisturbed(lab)


class _Overtaken:
    """A source whose snapshot is outdated before it is handed out, so many times."""

    is_live = True

    def __init__(self, here: World, times: int) -> None:
        self._here, self._times = here, times
        self.gatherings = 0

    def snapshot(self) -> Snapshot:
        self.gatherings += 1
        snapshot = self._here.source().snapshot()
        if self.gatherings <= self._times:
            self._here.history.step()
            assert self._here.make_pass() == Ending(0)
        return snapshot


@pytest.mark.parametrize("times", [1, MOST_GATHERINGS - 1])
def test_a_pass_that_was_overtaken_gathers_again(here: World, times: int) -> None:
    source = _Overtaken(here, times)
    assert here.make_pass(source) == Ending(0)
    assert source.gatherings == times + 1
    assert _passes(here) == times + 1


def test_a_pass_that_is_overtaken_each_time_gives_up_after_three_more(here: World) -> None:
    source = _Overtaken(here, 100)
    ending = here.make_pass(source)
    assert ending.status == 3
    assert "older than the last pass" in ending.said
    assert source.gatherings == MOST_GATHERINGS == 4
    assert _passes(here) == 4  # those of the others


# PgBouncer -----------------------------------------------------------------------------------------


@pytest.fixture
def pooled(lab: Laboratory) -> Iterator[Path]:
    """The folder with the socket of a PgBouncer that pools transactions, over two connections."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    user = "nobody" if os.geteuid() == 0 else None
    folder = lab.folder / "pgbouncer"
    folder.mkdir(exist_ok=True)
    if user:
        shutil.chown(folder, user)
    sockets = lab.server.partition("host=")[2]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={sockets} user=postgres\n[pgbouncer]\n"
        f"pool_mode = transaction\ndefault_pool_size = 2\nmin_pool_size = 2\n"
        f"auth_type = any\nunix_socket_dir = {folder}\nlisten_port = 6432\n"
        f"logfile = {folder}/log\n"
    )
    command = [program, "-q", str(folder / "pgbouncer.ini")]
    with subprocess.Popen(command, user=user, cwd="/", stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: (folder / ".s.PGSQL.6432").exists() or process.poll() is not None)
            assert process.poll() is None, (folder / "log").read_text()
            yield folder
        finally:
            process.terminate()


def test_the_program_works_through_the_transaction_pooling_of_pgbouncer(
    here: World, lab: Laboratory, pooled: Path
) -> None:
    url = f"postgresql://postgres@/{here.database}?host={pooled}&port=6432"
    barrier = threading.Barrier(4)
    sources = [_Together(here.source(), barrier) for _ in range(4)]
    ends = at_once([partial(here.make_pass, one, url=url) for one in sources])
    assert ends == [Ending(0)] * 4
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        # Nothing of a pass is left in a session for whoever gets it next.
        settings = "lock_timeout", "TimeZone", "default_transaction_read_only", "search_path"
        left = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in settings]
        locks = connection.execute(
            "SELECT count(*) FROM pg_locks"
            " WHERE locktype = 'advisory' OR relation = to_regclass('reconciler_writer')"
        ).fetchone()
    with psycopg.connect(here.direct, autocommit=True) as connection:
        assert left == [connection.execute(f"SHOW {name}".encode()).fetchone() for name in settings]
    assert locks == (0,)
    with psycopg.connect(lab.server, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [here.database]
        )
    assert here.facts() == _undisturbed(lab)


# stdout --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "output"),
    [
        ("nobody reads it", "text"),
        ("nobody reads it", "json"),
        ("its disk is full", "text"),
        ("its disk is full", "json"),
        ("it is closed", "text"),
    ],
)
def test_a_broken_stdout_fails_the_command_and_not_the_pass(
    here: World, stdout: str, output: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = here.start(
            "--output",
            output,
            stdout=full.fileno() if stdout == "its disk is full" else writer,
            is_closed=stdout == "it is closed",
        )
    os.close(writer)
    _, said = process.communicate(timeout=PATIENCE)
    assert _passes(here) == 1
    assert "Traceback" not in said, said
    assert process.returncode == (0 if stdout == "it is closed" else 1), said
    assert ("could not be printed" in said) == (stdout == "its disk is full")
