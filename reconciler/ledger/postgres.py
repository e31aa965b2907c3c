"""The one file that knows psycopg: connections, transactions, and what their errors mean.

Nothing here depends on the session between two transactions, so that a pooler may stand in between.
"""

import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from reconciler.core.text import one_line
from reconciler.errors import LedgerError, UsageError
from reconciler.ledger.database_url import EXPECTED, unwrapped, why_unreadable

OLDEST_SERVER: Final = 15
APPLICATION_NAME: Final = "reconciler"
PORTION: Final = 1000
"""Rows that are here at a time, where there may be many."""

OLDEST_CONNECTION: Final = 60.0
"""Seconds after which a connection is not used for another transaction: the address of the primary, and
what is set for the database or the role, are then read anew."""
KEEPALIVES: Final[Mapping[str, Any]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""How soon a server that vanished without a word is noticed; the URL may say otherwise."""

# As pg_dump does: rows that a policy hides are an error, and a limit that is set for the role, and meant
# for people, does not end a long statement. The server drops a client that has vanished.
_SESSION: Final = (
    "SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL tcp_keepalives_idle = 10; "
    "SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3; "
)

# One writer at a time. The lock belongs to the schema, and ends with the transaction.
LOCK_KEY: Final = "hashtextextended('reconciler ledger of ' || current_schema(), 0)"


class CommitUnknown(LedgerError):
    """The connection was lost while the commit was under way."""


class Transaction:
    """The statements of one transaction."""

    def __init__(self, connection: "psycopg.Connection[Any]", begin: str) -> None:
        self._connection = connection
        self._begin = begin

    def _begun(self) -> "psycopg.Connection[Any]":
        """Begins, unless that was done together with the first statement."""
        if self._begin:
            self.execute("")
        return self._connection

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._begun().cursor(binary=True) as cursor:
            return cursor.execute(statement.encode(), parameters or None).fetchall()

    def answers(self, *questions: tuple[str, Sequence[object]] | None) -> list[list[tuple[Any, ...]]]:
        """The rows of several statements with their parameters, in one round trip; of None no rows."""
        connection = self._begun()
        cursors = [question and connection.cursor(binary=True) for question in questions]
        with connection.pipeline():
            for cursor, question in zip(cursors, questions, strict=True):
                if cursor and question:
                    cursor.execute(question[0].encode(), question[1])
        return [cursor.fetchall() if cursor else [] for cursor in cursors]

    def stream(self, statement: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Like `rows`, read while the server still sends them."""
        with self._begun().cursor(binary=True) as cursor:
            yield from cursor.stream(statement.encode(), parameters or None, size=PORTION)

    def portions(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """Like `rows`, however many there are: only a portion of them is here at a time."""
        self.execute(f"DECLARE portions NO SCROLL CURSOR FOR {statement}")
        while rows := self.rows(f"FETCH {PORTION} FROM portions"):
            yield from rows
        self.execute("CLOSE portions")

    def value(self, statement: str, *parameters: object) -> Any:
        """The only column of the only row."""
        return self.rows(statement, *parameters)[0][0]

    def change(self, statement: str, *parameters: object, rows: int) -> None:
        """A statement that has to change so many rows. Raises LedgerError where it does not."""
        with self._begun().cursor() as cursor:
            changed = cursor.execute(statement.encode(), parameters).rowcount
        _check_count(" ".join(statement.split()[:3]), changed, rows)

    def execute(self, statement: str, *parameters: object) -> None:
        """One statement; or several in one round trip, where there are no parameters."""
        if parameters:
            self._begun().execute(statement.encode(), parameters)
        else:
            self._results(statement)

    def _results(self, statements: str) -> list[list[tuple[Any, ...]]]:
        """Runs statements without parameters in one round trip, the first of all with the BEGIN.

        Returns the rows of those that give any.
        """
        begin, self._begin = self._begin, ""
        cursor = self._connection.execute(f"{begin}{statements}".encode())
        return [result.fetchall() for result in cursor.results() if result.description]

    def copy(
        self,
        table: str,
        columns: Sequence[str],
        types: Sequence[str],
        rows: Iterable[Sequence[object]],
    ) -> None:
        """Appends rows in bulk, in the binary format. Raises LedgerError where one did not arrive."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        count = 0
        with self._begun().cursor() as cursor:
            with cursor.copy(statement) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
                    count += 1
            _check_count(f"COPY {table}", cursor.rowcount, count)

    def lock(self, on_wait: Callable[[], None]) -> None:
        """Waits until no other pass is being written; calls `on_wait` once where that takes time."""
        # Nothing is read with it: whoever waits here must hold no lock on a table.
        (got,) = self._results(f"SELECT pg_try_advisory_xact_lock({LOCK_KEY})")
        if got != [(True,)]:
            on_wait()
            self.execute(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")


class Database:
    """One database, connected to anew for each transaction that finds no usable connection."""

    def __init__(self, url: str, *, connect_timeout: float = 10, lock_timeout: float = 60) -> None:
        self._url = unwrapped(url)
        self._where = _parts(self._url)
        self._connect_timeout = max(2, round(connect_timeout))
        self._lock_timeout = lock_timeout
        self._connection: psycopg.Connection[Any] | None = None
        self._connected_at = 0.0

    @contextmanager
    def transaction(
        self, *, read_only: bool = False, waits_for_disk: bool = True
    ) -> Iterator[Transaction]:
        """A transaction that is committed at the end of the block, or rolled back by an error.

        Raises LedgerError; CommitUnknown where the answer to the commit never came. One that does not
        wait for the disk may be lost, as a whole and with all after it, when the server's machine fails.
        """
        committing = False
        connection = self._connected()
        try:
            # Not READ WRITE: a database may be set to read-only, and is not to be written then.
            mode = "REPEATABLE READ READ ONLY" if read_only else "READ COMMITTED"
            milliseconds = round(self._lock_timeout * 1000)
            yield Transaction(
                connection,
                f"BEGIN ISOLATION LEVEL {mode}; {_session(connection)}SET LOCAL TIME ZONE 'UTC'; "
                f"SET LOCAL lock_timeout = {milliseconds}; "
                + ("" if waits_for_disk else "SET LOCAL synchronous_commit = off; "),
            )
            committing = True
            if connection.info.transaction_status != TransactionStatus.IDLE:
                done = connection.execute("COMMIT").statusmessage
                if done != "COMMIT":
                    raise LedgerError(f"{self} answered the commit with {done}; nothing was written")
        except psycopg.Error as error:
            lost = connection.closed or connection.broken
            refusal = self._why_read_only(connection, error)
            self.close()
            if committing and lost:
                raise CommitUnknown(f"{self}: {_told(error)}") from error
            raise refusal or self._explained(error) from error
        except BaseException as error:
            self.close()
            if committing:
                raise CommitUnknown(f"{self}: interrupted while the pass was committed") from error
            raise

    def holds(self, name: str) -> bool:
        """Whether this connection has the lock of that name, which it then keeps until it is closed.

        It belongs to a transaction that stays open and idle: so it holds behind a pooler, too, and goes
        to somebody else as soon as this connection is lost. Raises LedgerError.
        """
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("SELECT")
                return True
            connection = self._connected()
            got = connection.execute(
                f"BEGIN; {_session(connection)}"
                f"SELECT pg_try_advisory_xact_lock(hashtextextended({sql.quote(name)}"
                " || current_schema(), 0))".encode()
            )
            *_, result = got.results()
            if result.fetchone() == (True,):
                return True
            self.close()
        except psycopg.Error as error:
            self.close()
            raise LedgerError(f"{self}: {_told(error)}; who leads is not known") from error
        return False

    def close(self) -> None:
        """Ends the connection; what was not committed is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def beside(self) -> "Database":
        """The same database, by a connection of its own."""
        return Database(
            self._url, connect_timeout=self._connect_timeout, lock_timeout=self._lock_timeout
        )

    def __str__(self) -> str:
        """Where it is, for messages; never with a password."""
        where = self._where
        host = where.get("host") or where.get("hostaddr") or "the local socket"
        port = f":{where['port']}" if where.get("port") else ""
        return f"database {where.get('dbname') or '(default)'} on {host}{port}"

    def _connected(self) -> "psycopg.Connection[Any]":
        if self._connection is not None:
            if self._is_usable(self._connection):
                return self._connection
            self.close()
        given = self._where
        try:
            connection = psycopg.connect(
                self._url,
                **{name: value for name, value in KEEPALIVES.items() if name not in given},
                autocommit=True,
                # A pooler may hand each transaction to another session: nothing may be kept in one.
                prepare_threshold=None,
                connect_timeout=given.get("connect_timeout") or self._connect_timeout,
                application_name=given.get("application_name") or APPLICATION_NAME,
                client_encoding="UTF8",
            )
        except psycopg.Error as error:
            raise LedgerError(f"cannot connect to {self}: {_told(error)}") from None
        version = connection.info.server_version // 10_000
        encoding = connection.info.parameter_status("server_encoding")
        if version < OLDEST_SERVER:
            connection.close()
            raise LedgerError(
                f"{self}: PostgreSQL {version} is too old; {OLDEST_SERVER} or newer is needed"
            )
        if encoding not in ("UTF8", None):
            connection.close()
            raise LedgerError(
                f"{self} is encoded in {encoding}, which cannot hold every name; UTF8 is needed"
            )
        self._connection, self._connected_at = connection, time.monotonic()
        return connection

    def _is_usable(self, connection: "psycopg.Connection[Any]") -> bool:
        """Whether it is idle, young enough, and not ended by the server meanwhile."""
        if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        if time.monotonic() - self._connected_at > OLDEST_CONNECTION:
            return False
        # To an idle client a server says nothing, except that it ends the session.
        readable, _, _ = select.select([connection.fileno()], [], [], 0)
        return not readable

    def _why_read_only(
        self, connection: "psycopg.Connection[Any]", error: psycopg.Error
    ) -> LedgerError | None:
        """Why the server took no write, where that is what went wrong."""
        if not isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            return None
        is_standby = False
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")
            is_standby = connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        if is_standby:
            return LedgerError(
                f"{self} is a standby, which takes no writes; connect to the primary "
                "(with several hosts in the URL: ?target_session_attrs=read-write)"
            )
        return LedgerError(
            f"{self} is read-only: default_transaction_read_only is on for the database, the role or "
            "this connection; nothing was written. Where it is to be written again: "
            "ALTER DATABASE (or ROLE) … RESET default_transaction_read_only"
        )

    def _explained(self, error: psycopg.Error) -> LedgerError:
        match error:
            case psycopg.errors.LockNotAvailable():
                advice = (
                    "another pass or a long transaction holds a lock; try again, or raise --lock-timeout"
                )
            case psycopg.errors.InsufficientPrivilege() if error.diag.source_function == _RLS:
                advice = (
                    "with its rows filtered, the ledger would be wrong: let this role see all of them "
                    "(ALTER ROLE … BYPASSRLS), or ALTER TABLE … DISABLE ROW LEVEL SECURITY"
                )
            case psycopg.errors.InsufficientPrivilege():
                advice = "grant this role what it lacks, or run `reconciler schema apply` as the owner"
            case psycopg.errors.IntegrityError():
                advice = "the database refused a row that contradicts the ledger; nothing was written"
            case _:
                advice = "nothing was written"
        return LedgerError(f"{self}: {_told(error)}; {advice}")


_RLS: Final = "check_enable_rls"
"""The function of Postgres that refuses to read or write past a policy."""


def _session(connection: "psycopg.Connection[Any]") -> str:
    """What every transaction begins with."""
    if connection.info.server_version >= 170_000:
        return f"{_SESSION}SET LOCAL transaction_timeout = 0; "
    return _SESSION


def _check_count(what: str, changed: int, rows: int) -> None:
    if changed != rows:
        raise LedgerError(
            f"{what} reached {changed} rows where the plan has {rows}; nothing was written. A policy, a "
            "rule or a trigger of the database's changes what is written, or something else writes to "
            "the ledger: `reconciler verify` tells what it holds"
        )


def _parts(url: str) -> Mapping[str, Any]:
    """What libpq makes of the URL. Raises UsageError, which quotes no secret."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"the database URL cannot be read: {why_unreadable(url, str(error))}") from None
    host, database = str(parts.get("host") or ""), str(parts.get("dbname") or "")
    ports = str(parts.get("port") or "0").split(",")
    # An @ or a / in the password moves a part of it into the host, the port or the name.
    if "@" in host + database or "/" in database or not all(port.isdecimal() for port in ports):
        raise UsageError(f"the database URL cannot be read: {EXPECTED}")
    return parts


def _told(error: psycopg.Error) -> str:
    """The server's or libpq's message on one line."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    text = text.removeprefix("connection failed: ").partition(_GUESS)[0]
    return one_line(text, 500)


_GUESS: Final = "Is the server running on that host and accepting TCP/IP connections?"
"""What libpq adds to every refused connection."""
