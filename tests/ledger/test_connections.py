"""Servers as people have them: read-only, standing by, with limits of their own, or gone."""

import shutil
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from reconciler.embedded import EmbeddedPostgres
from reconciler.errors import LedgerError, UsageError
from reconciler.ledger import postgres
from reconciler.ledger.postgres import Database
from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command, Ran

Ledger = psycopg.Connection[Any]

SECRET = "s3cret"


def passed(command: Command, folder: Path, day: int = 1, **settings: str) -> Ran:
    file = snapshot(folder, f"202512{day:02}T000000Z", tenant("ada", "mail"))
    return command("run", "--snapshot", file, **settings)


# The URL


@pytest.mark.parametrize("around", ["{}\n", " {} \r\n", '"{}"', "'{}'\n"])
def test_what_a_secret_leaves_around_the_url_does_not_count(
    around: str, command: Command, ledger_url: str, tmp_path: Path
) -> None:
    ran = passed(command, tmp_path, RECONCILER_DATABASE_URL=around.format(ledger_url))
    assert (ran.status, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://me:{SECRET}@h/d?schema=billing", "not know the parameter schema"),
        (f"postgresql://me:{SECRET}@h/d?pgbouncer=true", "not know the parameter pgbouncer"),
        (f"postgresql://me:{SECRET}@h/d?sslmode=require&connection_limit=1", "connection_limit"),
        (f"postgresql+psycopg://me:{SECRET}@h/d", "scheme is postgresql+psycopg"),
        (f"postgresql+asyncpg://me:{SECRET}@h/d", "scheme is postgresql+asyncpg"),
        (f"jdbc:postgresql://h/d?user=me&password={SECRET}", "expected postgresql://"),
        (f"mysql://me:{SECRET}@h/d", "scheme is mysql"),
        (f"postgresql://me:{SECRET}%@h/d", "%25"),
        (f"postgresql://me:%zz{SECRET}@h/d", "%25"),
        (f"postgresql://me:a/{SECRET}@h/d", "%2F"),
        (f"postgresql://me:a@{SECRET}@h/d", "%40"),
    ],
)
def test_what_is_wrong_with_the_url_is_named_and_no_secret_told(url: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        Database(url)
    assert says in str(raised.value)
    assert SECRET not in str(raised.value)


# Read-only, and standing by


@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_a_ledger_that_is_set_to_read_only_is_not_written(
    of: str, command: Command, ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    assert passed(command, tmp_path).status == 0
    role = f"frozen_{uuid4().hex}"
    ledger.execute(f"CREATE ROLE {role} LOGIN SUPERUSER".encode())
    named = ledger.info.dbname if of == "DATABASE" else role
    ledger.execute(f"ALTER {of} {named} SET default_transaction_read_only = true".encode())
    try:
        url = ledger_url.replace("postgres@", f"{role}@")
        ran = passed(command, tmp_path, 2, RECONCILER_DATABASE_URL=url)
        assert (ran.status, ran.out) == (1, "")
        assert "default_transaction_read_only" in ran.err
        assert "RESET" in ran.err
        assert command("usage", "--month", "2025-11", RECONCILER_DATABASE_URL=url).status == 0
    finally:
        ledger.execute(f"DROP ROLE {role}".encode())
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone() == (1,)


def test_prices_of_a_ledger_that_is_read_only_stay(command: Command, ledger: Ledger) -> None:
    ledger.execute(
        f"ALTER DATABASE {ledger.info.dbname} SET default_transaction_read_only = on".encode()
    )
    ran = command("pricing", "set", "--tenant-monthly-fee-chf", "49")
    assert ran.status == 1
    assert "default_transaction_read_only" in ran.err


def test_a_standby_says_to_connect_to_the_primary(
    command: Command, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("standby") / "server"
    server = EmbeddedPostgres(folder, durable=False)
    with server.running() as url:
        assert passed(command, tmp_path, RECONCILER_DATABASE_URL=url).status == 0
    # It was shut down in an orderly way: as a standby it starts from there, and waits for more.
    data = folder.resolve() / "data"
    (data / "standby.signal").touch()
    try:
        with server.running() as url:
            ran = passed(command, tmp_path, 2, RECONCILER_DATABASE_URL=url)
            assert (ran.status, ran.out) == (1, "")
            assert "connect to the primary" in ran.err
            planned = snapshot(tmp_path, "20251203T000000Z", tenant("ada"))
            dry = command("run", "--dry-run", "--snapshot", planned, RECONCILER_DATABASE_URL=url)
            assert dry.status == 0
            # It may lag. It answers as of a pass, and never as of a time that it has not reached.
            month = "usage", "--month", "2025-12"
            known = command(*month, RECONCILER_DATABASE_URL=url)
            assert (known.status, "the last pass, 1," in known.out) == (0, True), known.err
            refused = command(*month, "--as-of", "now", RECONCILER_DATABASE_URL=url)
            assert refused.status == 2
            assert "this standby knows what was written up to 20" in refused.err
            assert "ask the primary, or as of an earlier time" in refused.err
            with (
                psycopg.connect(url) as standby,
                pytest.raises(psycopg.errors.InvalidParameterValue, match="this standby knows"),
            ):
                standby.execute("SELECT billing_position(now())")
            with psycopg.connect(url) as standby:
                written = "SELECT billing_position(max(written_at)) FROM reconciler_passes"
                assert standby.execute(written.encode()).fetchone() == (1,)
    finally:
        shutil.rmtree(folder.resolve())


# Limits that are set for a role


@pytest.mark.parametrize(
    "limit", ["statement_timeout = '50ms'", "idle_in_transaction_session_timeout = '50ms'"]
)
def test_a_limit_that_is_set_for_the_role_ends_no_transaction(
    limit: str, ledger: Ledger, ledger_url: str
) -> None:
    ledger.execute(f"ALTER DATABASE {ledger.info.dbname} SET {limit}".encode())
    with closing(Database(ledger_url)) as database, database.transaction() as transaction:
        transaction.value("SELECT 1")
        time.sleep(0.2)  # the time that the limit is about
        assert transaction.value("SELECT pg_sleep(0.2)::text") == ""


def test_a_session_that_the_server_ended_between_two_passes_is_not_used_again(
    ledger: Ledger, ledger_url: str
) -> None:
    ledger.execute(f"ALTER DATABASE {ledger.info.dbname} SET idle_session_timeout = '50ms'".encode())
    with closing(Database(ledger_url)) as database:
        with database.transaction() as transaction:
            first = transaction.value("SELECT pg_backend_pid()")
        while (
            ledger.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [first]).fetchone() is not None
        ):
            time.sleep(0.01)
        with database.transaction() as transaction:
            assert transaction.value("SELECT pg_backend_pid()") != first


def test_an_old_connection_is_replaced_and_so_reads_what_is_set_now(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database(ledger_url)) as database:
        with database.transaction() as transaction:
            first = transaction.value("SELECT pg_backend_pid()")
        with database.transaction() as transaction:
            assert transaction.value("SELECT pg_backend_pid()") == first
        ledger.execute(
            f"ALTER DATABASE {ledger.info.dbname} SET default_transaction_read_only = on".encode()
        )
        monkeypatch.setattr(postgres, "OLDEST_CONNECTION", 0.0)
        with pytest.raises(LedgerError, match="read-only"), database.transaction() as transaction:
            transaction.execute("CREATE TABLE mine ()")


# A server that vanishes


def relay(to: str) -> socket.socket:
    """The server's socket by TCP."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(to)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_the_connection_asks_the_system_to_notice_a_server_that_vanished(
    ledger_url: str, postgres: str
) -> None:
    folder = postgres.partition("host=")[2]
    with relay(f"{folder}/.s.PGSQL.5432") as listener:
        port = listener.getsockname()[1]
        name = ledger_url.partition("@/")[2].partition("?")[0]
        url = f"postgresql://postgres@127.0.0.1:{port}/{name}?keepalives_count=7"
        with closing(Database(url)) as database, database.transaction() as transaction:
            transaction.value("SELECT 1")
            connection = database._connection
            assert connection is not None
            with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as ours:
                asked = {
                    name: ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                    for name in (
                        "TCP_KEEPIDLE",
                        "TCP_KEEPINTVL",
                        "TCP_KEEPCNT",
                        "TCP_USER_TIMEOUT",
                    )
                }
    # What the URL says wins.
    assert asked == {
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 7,
        "TCP_USER_TIMEOUT": 25_000,
    }
