"""The one file that knows psycopg: connections, transactions, and what their errors mean.

Nothing here depends on the session between two transactions, so that a pooler may stand in between.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from reconciler.core.text import one_line
from reconciler.errors import LedgerError, UsageError

OLDEST_SERVER: Final = 15
APPLICATION_NAME: Final = "reconciler"
PORTION: Final = 1000
"""Rows that are here at a time, where there may be many."""

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
        """Appends rows in bulk, in the binary format."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self._begun().cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

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
        self._where = _parts(url)
        self._url = url
        self._connect_timeout = max(2, round(connect_timeout))
        self._lock_timeout = lock_timeout
        self._connection: psycopg.Connection[Any] | None = None

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
            mode = "REPEATABLE READ READ ONLY" if read_only else "READ COMMITTED READ WRITE"
            milliseconds = round(self._lock_timeout * 1000)
            yield Transaction(
                connection,
                f"BEGIN ISOLATION LEVEL {mode}; SET LOCAL TIME ZONE 'UTC'; "
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
            self.close()
            if committing and lost:
                raise CommitUnknown(f"{self}: {_told(error)}") from error
            raise self._explained(error) from error
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
            got = self._connected().execute(
                "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; "
                "SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 5; "
                "SET LOCAL tcp_keepalives_count = 3; "
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
            idle = self._connection.info.transaction_status == TransactionStatus.IDLE
            if idle and not self._connection.closed:
                return self._connection
            self.close()
        given = self._where
        try:
            connection = psycopg.connect(
                self._url,
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
        self._connection = connection
        return connection

    def _explained(self, error: psycopg.Error) -> LedgerError:
        match error:
            case psycopg.errors.LockNotAvailable():
                advice = (
                    "another pass or a long transaction holds a lock; try again, or raise --lock-timeout"
                )
            case psycopg.errors.InsufficientPrivilege():
                advice = "grant this role what it lacks, or run `reconciler schema apply` as the owner"
            case psycopg.errors.ReadOnlySqlTransaction():
                advice = "this server takes no writes; connect to the primary"
            case psycopg.errors.IntegrityError():
                advice = "the database refused a row that contradicts the ledger; nothing was written"
            case _:
                advice = "nothing was written"
        return LedgerError(f"{self}: {_told(error)}; {advice}")


def _parts(url: str) -> Mapping[str, Any]:
    """What libpq makes of the URL. Raises UsageError, which quotes none of it."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parts = {"port": "none"}
    host, database = str(parts.get("host") or ""), str(parts.get("dbname") or "")
    ports = str(parts.get("port") or "0").split(",")
    # An @ or a / in the password moves a part of it into the host, the port or the name.
    if "@" in host + database or "/" in database or not all(port.isdecimal() for port in ports):
        raise UsageError(
            "the database URL cannot be read; expected postgresql://user:password@host:5432/database, "
            "with %40 for an @ in the password, %2F for a / and %3A for a :"
        )
    return parts


def _told(error: psycopg.Error) -> str:
    """The server's or libpq's message on one line."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    return one_line(text, 500)
