"""What the portal asks of the ledger is the same before, while and after somebody else commits."""

# ruff: noqa: S608 - the names in these statements are our own

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg import errors

from reconciler.core.guard import Limits, guard
from reconciler.core.plan import plan
from reconciler.core.reading import Dialect
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.sources.files import file_sources
from tests.billing.database import Connection, connect, one
from tests.billing.ledger_of_march import ADA, BEA, march
from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import open_database

MARCH = ("2026-03-01", "2026-04-01")
NET = "SELECT sum(amount_chf) FROM billing_usage(%s, %s, as_of_pass => %s)"


@pytest.fixture
def ledger(ledger_url: str, tmp_path: Path) -> Iterator[Connection]:
    with connect(ledger_url) as connection:
        march(connection, ledger_url, tmp_path)
        yield connection


@contextmanager
def a_pass_in_hand(url: str, folder: Path) -> Iterator[Callable[[], None]]:
    """A pass that has written all its rows, and is committed when it is told, or at the end."""
    late = tenant("cleo", "wiki", created="2026-03-10T12:00:00Z")
    file = snapshot(folder, "20260402T120000Z", ADA, BEA, late)
    (source,) = file_sources([str(file)], None, Dialect())
    taken = source.snapshot()
    with closing(open_database(url)) as database:
        opened = PostgresLedger(database).open()
        writing = opened.__enter__()
        known = writing.known_state(taken)
        writing.apply(guard(plan(taken, known), known, Limits()))
        is_open = [True]

        def commit() -> None:
            if is_open.pop():
                opened.__exit__(None, None, None)

        yield commit
        if is_open:
            commit()


def test_a_position_stays_whoever_commits_meanwhile(
    ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    position = one(ledger, "SELECT billing_position()")
    before = one(ledger, NET, *MARCH, position)
    with a_pass_in_hand(ledger_url, tmp_path) as commit:
        assert one(ledger, NET, *MARCH, position) == before
        assert one(ledger, "SELECT billing_position()") == position
        commit()
    assert one(ledger, NET, *MARCH, position) == before
    ledger.execute("SELECT billing_set_price('tenant_setup_fee_chf', 1, '2026-03-01')")
    assert one(ledger, NET, *MARCH, position) == before
    now = one(ledger, "SELECT billing_position()")
    assert one(ledger, NET, *MARCH, now) != before


def test_a_position_is_of_what_is_committed_and_nothing_below_it_comes_later(
    ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    numbers = "SELECT id FROM reconciler_passes UNION ALL SELECT id FROM reconciler_price_history"
    with a_pass_in_hand(ledger_url, tmp_path) as commit:
        position = one(ledger, "SELECT billing_position()")
        below = {row["id"] for row in ledger.execute(numbers)}
        assert max(below) == position
        commit()
    later = {row["id"] for row in ledger.execute(numbers)} - below
    assert min(later) > position


def test_as_of_now_waits_for_the_pass_that_is_being_written(
    ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    """It has its time already: left out now and counted later, the figure would move."""
    found: list[Any] = []
    as_of = "SELECT sum(amount_chf) FROM billing_usage(%s, %s, as_of => %s)"
    with connect(ledger_url) as asking, a_pass_in_hand(ledger_url, tmp_path) as commit:
        now = one(ledger, "SELECT clock_timestamp()")
        thread = Thread(target=lambda: found.append(one(asking, as_of, *MARCH, now)))
        thread.start()
        waits = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s"
        while thread.is_alive() and not one(ledger, waits, asking.info.backend_pid):
            pass
        assert thread.is_alive()
        commit()
        thread.join()
    assert found == [one(ledger, as_of, *MARCH, now)]
    assert found[0] > one(ledger, NET, *MARCH, one(ledger, "SELECT min(id) + 1 FROM reconciler_passes"))


def test_as_of_a_time_is_refused_where_it_could_not_be_kept(ledger: Connection) -> None:
    for isolation in ("REPEATABLE READ", "SERIALIZABLE"):
        ledger.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        with pytest.raises(errors.InvalidTransactionState, match="cannot see what is being written"):
            ledger.execute("SELECT billing_position(now())")
        ledger.execute("ROLLBACK")
    ledger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert one(ledger, NET, *MARCH, one(ledger, "SELECT billing_position()")) > 0
    ledger.execute("ROLLBACK")


def test_a_reader_of_positions_holds_nobody_up(
    ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    ledger.execute("BEGIN")
    one(ledger, "SELECT billing_position(now())")
    one(ledger, NET, *MARCH, 2)
    with a_pass_in_hand(ledger_url, tmp_path) as commit:
        commit()
    ledger.execute("ROLLBACK")


QUESTIONS = (
    "billing_usage",
    "billing_totals",
    "billing_skill_days",
    "billing_tenant_days",
    "billing_days",
    "billing_doubts",
    "billing_ready",
)


@pytest.mark.parametrize("function", QUESTIONS)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("'2026-04-01', '2026-03-01'", "a later day to end before"),
        ("'2026-03-01', '2026-03-01'", "a later day to end before"),
        ("NULL, '2026-03-01'", "a later day to end before"),
        ("'2026-03-01', 'infinity'", "a later day to end before"),
        ("'1026-03-01', '2026-03-01'", "a hundred years"),
        ("'2026-03-01', '2026-04-01', as_of => '2999-01-01'", "lies ahead"),
        ("'2026-03-01', '2026-04-01', as_of_pass => 99", "as of pass 99: the last is 6"),
        ("'2026-03-01', '2026-04-01', as_of_pass => 0", "as of pass 0: the first is 1"),
        ("'2026-03-01', '2026-04-01', as_of_pass => 1, as_of => now()", "one of the two"),
        ("'2026-03-01', '2026-04-01', org => 'nobody'", "knows no organisation 'nobody'"),
        ("'2026-03-01', '2026-04-01', time_zone => 'Zurich'", 'time zone "Zurich" not recognized'),
        ("'2026-03-01', '2026-04-01', time_zone => NULL", "one like Europe/Zurich"),
        ("'2026-03-01', '2026-04-01', as_of => '2020-01-01'", "has no pass"),
    ],
)
def test_a_question_that_makes_no_sense_is_an_error_and_no_figure(
    ledger: Connection, function: str, arguments: str, told: str
) -> None:
    with pytest.raises(psycopg.Error, match=told):
        ledger.execute(f"SELECT * FROM {function}({arguments})".encode())


def test_an_organisation_without_a_tenant_is_told_so(ledger: Connection) -> None:
    said: list[str | None] = []
    ledger.add_notice_handler(lambda notice: said.append(notice.message_primary))
    ledger.execute("INSERT INTO org_billing_config (zitadel_org_id) VALUES ('new')")
    rows = ledger.execute("SELECT * FROM billing_usage(%s, %s, org => 'new')", MARCH)
    assert (rows.fetchall(), said) == ([], ["organisation 'new' has no tenant: nothing counts"])
