"""Faults of Postgres: connections that end, errors in the middle, locks, and odd sessions."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final

import psycopg

from reconciler.ledger.postgres import WRITE_LOCK
from tests.proofs.faults.faults.fault import EITHER, FAILED, WRITTEN, Fault, Strike, any_statement
from tests.proofs.faults.proxy import Then, at
from tests.proofs.faults.world import Ending, World


def _dropped(then: Then, *, at_commit: bool = False) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        number = world.statements if at_commit else any_statement(world, random)
        world.proxy.on_statement = at(number, then)
        return [world.make_pass()]

    return strike


def _commit_unknown(world: World, _: Random) -> Sequence[Ending]:
    """The answer to COMMIT is lost, and nobody can be asked whether it was executed."""

    def executed(number: int) -> None:
        if number == world.statements:
            world.proxy.refusing = True

    world.proxy.on_statement = at(world.statements, Then.DROP_AFTER)
    world.proxy.after_execution = executed
    return [world.make_pass()]


def _all_dropped_in_a_row(world: World, random: Random) -> Sequence[Ending]:
    """Pass after pass fails, each somewhere else."""
    ends = []
    for _ in range(random.randint(2, 5)):
        world.proxy.heal()
        world.proxy.on_statement = at(random.randint(1, world.statements - 1), Then.DROP_BEFORE)
        ends.append(world.make_pass())
    return ends


def _at_statement(act: Callable[[World], None]) -> Strike:
    """Something happens right before a statement gets to the server."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        chosen, done = any_statement(world, random), threading.Event()

        def on_statement(number: int, _message: bytes) -> Then:
            if number == chosen:
                try:
                    act(world)
                finally:
                    done.set()
            return Then.PASS

        world.proxy.on_statement = on_statement
        ending = world.make_pass()
        done.wait(30)  # The connection may end before it is done.
        return [ending]

    return strike


def _terminate_backends(world: World) -> None:
    world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def _refuses_connections(world: World, _: Random) -> Sequence[Ending]:
    world.proxy.refusing = True
    return [world.make_pass()]


def _says_nothing(world: World, _: Random) -> Sequence[Ending]:
    world.proxy.silent = True
    return [world.make_pass(connect_timeout=2)]


def _is_not_there(world: World, _: Random) -> Sequence[Ending]:
    url = world.url.replace("host=", "host=/nowhere")
    return [world.make_pass(url=url)]


def _database_closed(world: World, _: Random) -> Sequence[Ending]:
    with psycopg.connect(world.laboratory.server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {world.database} ALLOW_CONNECTIONS false")
        try:
            return [world.make_pass()]
        finally:
            connection.execute(f"ALTER DATABASE {world.database} ALLOW_CONNECTIONS true")


_TABLES: Final = (
    "reconciler_passes",
    "tenant_billing_lifecycle",
    "tenant_skill_events",
    "tenant_suspension_events",
    "reconciler_state",
)


def _raises(state: str, *, at_commit: bool = False) -> Strike:
    """The database raises an error at some row that is written, or only when it commits."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        table = "reconciler_passes" if at_commit else random.choice(_TABLES)
        chance = 1 if at_commit else random.choice([1, 0.5, 0.2])
        when = "AFTER" if at_commit else "BEFORE"
        constraint, deferred = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("", "")
        world.execute(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF random() < {chance} THEN RAISE 'as on a bad day' USING ERRCODE = '{state}'; END IF;"
            " RETURN NEW; END $$",
            f"CREATE {constraint} TRIGGER zz_fault {when} INSERT ON {table} {deferred}"
            " FOR EACH ROW EXECUTE FUNCTION fault()",
        )
        try:
            return [world.make_pass()]
        finally:
            world.execute("DROP FUNCTION fault() CASCADE")

    return strike


@contextmanager
def _held(world: World, statement: str) -> Iterator[None]:
    """Another session has executed a statement, and does not end its transaction."""
    with psycopg.connect(world.direct) as connection:
        connection.execute(statement.encode())
        yield
        connection.rollback()


def _locked(world: World, _: Random) -> Sequence[Ending]:
    with _held(world, WRITE_LOCK):
        return [world.make_pass(lock_timeout=0.15)]


def _table_locked(world: World, random: Random) -> Sequence[Ending]:
    with _held(world, f"LOCK TABLE {random.choice(_TABLES)} IN ACCESS EXCLUSIVE MODE"):
        return [world.make_pass(lock_timeout=0.15)]


def _read_only(world: World, _: Random) -> Sequence[Ending]:
    """The database is set to read-only, as before a migration."""
    return [world.make_pass(url=f"{world.url}&options=-c%20default_transaction_read_only%3Don")]


def _idle_timeout(world: World, random: Random) -> Sequence[Ending]:
    """The server ends a session that waits too long between two statements."""
    chosen = random.randint(2, world.statements)

    def on_statement(number: int, _message: bytes) -> Then:
        if number == chosen:
            time.sleep(0.25)
        return Then.PASS

    world.proxy.on_statement = on_statement
    option = "idle_in_transaction_session_timeout%3D100"
    return [world.make_pass(url=f"{world.url}&options=-c%20{option}")]


_ODD_SESSIONS: Final = (
    "timezone=Europe/Zurich",
    "timezone=Asia/Kathmandu",
    "DateStyle=German",
    "IntervalStyle=sql_standard",
    "standard_conforming_strings=off",
    "default_transaction_isolation=serializable",
    "default_transaction_deferrable=on",
    "extra_float_digits=0",
    "bytea_output=escape",
    "enable_seqscan=off",
    "row_security=off",
    "statement_timeout=150",
)


def _odd_session(world: World, random: Random) -> Sequence[Ending]:
    option = random.choice(_ODD_SESSIONS).replace("=", "%3D").replace("/", "%2F")
    return [world.make_pass(url=f"{world.url}&options=-c%20{option}")]


def faults() -> Iterator[Fault]:
    yield from (
        Fault("Postgres: dropped before a statement", _dropped(Then.DROP_BEFORE), FAILED, 12),
        Fault("Postgres: dropped after a statement", _dropped(Then.DROP_AFTER), EITHER, 12),
        Fault("Postgres: dropped before COMMIT", _dropped(Then.DROP_BEFORE, at_commit=True), FAILED, 3),
        Fault("Postgres: answer to COMMIT lost", _dropped(Then.DROP_AFTER, at_commit=True), WRITTEN, 4),
        Fault("Postgres: answer lost, nobody to ask", _commit_unknown, FAILED, 3),
        Fault("Postgres: dropped pass after pass", _all_dropped_in_a_row, FAILED, 2),
        Fault("Postgres: backend terminated", _at_statement(_terminate_backends), FAILED, 3),
        Fault(
            "Postgres: restarts at a statement",
            _at_statement(lambda world: world.laboratory.restart_postgres()),
            FAILED,
            0.7,
        ),
        Fault("Postgres: refuses connections", _refuses_connections),
        Fault("Postgres: says nothing", _says_nothing, weight=0.2),
        Fault("Postgres: is not there", _is_not_there),
        Fault("Postgres: database closed", _database_closed),
        Fault("Postgres: disk full at a row", _raises("53100"), EITHER, 3),
        Fault("Postgres: disk full at COMMIT", _raises("53100", at_commit=True)),
        Fault("Postgres: out of memory at a row", _raises("53200"), EITHER),
        Fault("Postgres: serialization failure at a row", _raises("40001"), EITHER, 2),
        Fault("Postgres: serialization failure at COMMIT", _raises("40001", at_commit=True)),
        Fault("Postgres: deadlock at a row", _raises("40P01"), EITHER),
        Fault("Postgres: statement cancelled at a row", _raises("57014"), EITHER),
        Fault("Postgres: lock timeout, another pass", _locked),
        Fault("Postgres: lock timeout, a table", _table_locked, EITHER),
        Fault("Postgres: read-only", _read_only),
        Fault("Postgres: idle session ended", _idle_timeout, EITHER),
        Fault("Postgres: odd session settings", _odd_session, WRITTEN, 2),
    )
