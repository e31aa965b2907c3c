"""Connections and transactions of Postgres, and its errors. No other module imports psycopg.

Nothing is kept in a session between two transactions, so a connection pooler can be in between.
"""

import logging
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
from reconciler.errors import Contradicted, LedgerError, UsageError
from reconciler.ledger.database_url import EXPECTED, unwrapped, why_unreadable
from reconciler.ledger.session import settings

log = logging.getLogger(__name__)

OLDEST_SERVER: Final = 15
APPLICATION_NAME: Final = "reconciler"
PORTION: Final = 1000
"""Rows that are fetched at a time."""

OLDEST_CONNECTION: Final = 60.0
"""Seconds after which a connection is replaced. The new one finds the current primary, and the current
settings of the database and the role."""
KEEPALIVES: Final[Mapping[str, Any]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""They detect a server that disappeared without closing the connection. The URL can override them."""

WRITE_LOCK: Final = "LOCK TABLE reconciler_writer IN SHARE ROW EXCLUSIVE MODE"
"""One writer at a time, until the end of the transaction. Whoever may only read cannot take it."""

_FIRST_KEY: Final = "hashtextextended('reconciler ledger of ' || current_schema(), 0)"
FIRST_LOCK: Final = f"SELECT pg_advisory_xact_lock({_FIRST_KEY})"
"""Instead of it where that table is not there yet."""

# Whether the table is there, and whether it is locked by us now. None of these waits.
_TRY_LOCK: Final = f"""
DO $$ BEGIN
    IF to_regclass('reconciler_writer') IS NOT NULL THEN {WRITE_LOCK} NOWAIT; END IF;
EXCEPTION WHEN lock_not_available THEN NULL;
END $$;
SELECT to_regclass('reconciler_writer') IS NOT NULL, EXISTS (
    SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = to_regclass('reconciler_writer')
                           AND mode = 'ShareRowExclusiveLock')
"""  # noqa: S608 - made of our own constant

# Takes the lock of a name, and tells whether nobody else who may write has it. Anybody may take an
# advisory lock, so one that a reader holds does not count: every replica leads then, and passes are
# written one at a time all the same. Unlike a table's, it may be held for weeks.
_TRY_LEADING: Final = """
WITH lock AS MATERIALIZED (SELECT hashtextextended({name} || current_schema(), 0) AS key)
SELECT pg_try_advisory_xact_lock(key) OR NOT EXISTS (
    SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.classid::bigint = (key >> 32) & 4294967295 AND l.objid::bigint = key & 4294967295
      AND coalesce(has_table_privilege(a.usesysid, to_regclass('reconciler_writer'), 'UPDATE'), true))
FROM lock
"""


class CommitUnknown(LedgerError):
    """The connection was lost during the commit, so nobody knows whether it was committed."""


class Transaction:
    """The statements of one transaction."""

    def __init__(self, connection: "psycopg.Connection[Any]", begin: str) -> None:
        self._connection = connection
        self._begin = begin

    def _begun(self) -> "psycopg.Connection[Any]":
        """Sends the BEGIN, unless the first statement did."""
        if self._begin:
            self.execute("")
        return self._connection

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._begun().cursor(binary=True) as cursor:
            return cursor.execute(statement.encode(), parameters or None).fetchall()

    def answers(self, *questions: tuple[str, Sequence[object]] | None) -> list[list[tuple[Any, ...]]]:
        """Runs several statements, each with its parameters, in one round trip. None gives no rows."""
        connection = self._begun()
        cursors = [question and connection.cursor(binary=True) for question in questions]
        with connection.pipeline():
            for cursor, question in zip(cursors, questions, strict=True):
                if cursor and question:
                    cursor.execute(question[0].encode(), question[1])
        return [cursor.fetchall() if cursor else [] for cursor in cursors]

    def stream(self, statement: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Like `rows`, but yields rows while the server is still sending.

        libpq goes on in chunks until the next statement, which must not be one of `answers`.
        """
        with self._begun().cursor(binary=True) as cursor:
            yield from cursor.stream(statement.encode(), parameters or None, size=PORTION)

    def portions(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """Like `rows`, but with only a portion of the rows in memory at a time."""
        self.execute(f"DECLARE portions NO SCROLL CURSOR FOR {statement}")
        while rows := self.rows(f"FETCH {PORTION} FROM portions"):
            yield from rows
        self.execute("CLOSE portions")

    def value(self, statement: str, *parameters: object) -> Any:
        """The only column of the only row."""
        return self.rows(statement, *parameters)[0][0]

    def change(self, statement: str, *parameters: object, rows: int) -> None:
        """Runs a statement that must change exactly `rows` rows. Raises LedgerError if it does not."""
        with self._begun().cursor() as cursor:
            changed = cursor.execute(statement.encode(), parameters).rowcount
        _check_count(" ".join(statement.split()[:3]), changed, rows)

    def execute(self, statement: str, *parameters: object) -> None:
        """Runs one statement, or several in one round trip if there are no parameters."""
        if parameters:
            self._begun().execute(statement.encode(), parameters)
        else:
            self._results(statement)

    def _results(self, statements: str) -> list[list[tuple[Any, ...]]]:
        """Runs statements without parameters in one round trip; the first call also sends the BEGIN.

        Returns the rows of those that return any.
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
        """Appends rows in bulk, in the binary format. Raises LedgerError if one did not arrive."""
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

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Rolls back what the block writes. Raises Contradicted if it breaks a rule of the tables."""
        try:
            with self._begun().transaction(force_rollback=True):
                yield
                self.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as error:
            if not _is_refusal(error):
                raise
            rule = error.diag.constraint_name
            raise Contradicted(_told(error) + (f" ({rule})" if rule else "")) from error

    def lock(self, on_wait: Callable[[], None]) -> None:
        """Waits until no other pass is being written. Calls `on_wait` once if it has to wait."""
        # Taken in statements of their own, so that a waiter holds no other lock.
        (((is_there, is_held),),) = self._results(_TRY_LOCK)
        if not is_there:
            (((got,),),) = self._results(f"SELECT pg_try_advisory_xact_lock({_FIRST_KEY})")
            if not got:
                on_wait()
                self.execute(FIRST_LOCK)
            # Whoever had it may have made the table.
            (((is_there, is_held),),) = self._results(_TRY_LOCK)
        if is_there and not is_held:
            on_wait()
            self.execute(WRITE_LOCK)


class Database:
    """A database. A transaction reconnects to it if there is no usable connection."""

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

        Raises LedgerError, and CommitUnknown if the answer to the commit never arrived. Without
        `waits_for_disk`, this transaction and all later ones may be lost if the server crashes.
        """
        committing = False
        connection = self._connected()
        try:
            # Not READ WRITE, because a database that is set to read-only must not be written.
            mode = "REPEATABLE READ READ ONLY" if read_only else "READ COMMITTED"
            milliseconds = round(self._lock_timeout * 1000)
            yield Transaction(
                connection,
                f"BEGIN ISOLATION LEVEL {mode}; {_settings(connection)}SET LOCAL TIME ZONE 'UTC'; "
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
            raise refusal or self._explained(error, read_only=read_only) from error
        except BaseException as error:
            self.close()
            if committing:
                raise CommitUnknown(f"{self}: interrupted during the commit") from error
            raise

    def holds(self, name: str) -> bool:
        """Tries to take the lock of that name, and returns whether this connection has it.

        The connection keeps the lock until it is closed. The lock belongs to a transaction that stays
        open and idle: so it also works behind a pooler, and is released as soon as the connection is
        lost. Raises LedgerError.
        """
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("SELECT")
                return True
            connection = self._connected()
            got = connection.execute(
                f"BEGIN; {_settings(connection)}{_TRY_LEADING.format(name=sql.quote(name))}".encode()
            )
            *_, result = got.results()
            if result.fetchone() == (True,):
                return True
            self.close()
        except psycopg.Error as error:
            self.close()
            raise LedgerError(f"{self}: {_told(error)}; cannot tell which replica is active") from error
        return False

    def close(self) -> None:
        """Closes the connection. What was not committed is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def beside(self) -> "Database":
        """The same database, with a connection of its own."""
        return Database(
            self._url, connect_timeout=self._connect_timeout, lock_timeout=self._lock_timeout
        )

    def __str__(self) -> str:
        """The database and its host, for messages; never with a password."""
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
                # A pooler may run each transaction in another session: nothing can be prepared in one.
                prepare_threshold=None,
                connect_timeout=given.get("connect_timeout") or self._connect_timeout,
                application_name=given.get("application_name") or APPLICATION_NAME,
                client_encoding="UTF8",
            )
        except psycopg.Error as error:
            raise LedgerError(f"cannot connect to {self}: {_told(error)}") from None
        connection.add_notice_handler(_warn)
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
                f"{self} has the encoding {encoding}, which cannot store every name; UTF8 is needed"
            )
        self._connection, self._connected_at = connection, time.monotonic()
        return connection

    def _is_usable(self, connection: "psycopg.Connection[Any]") -> bool:
        """Whether it is idle, not too old, and not closed by the server."""
        if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        if time.monotonic() - self._connected_at > OLDEST_CONNECTION:
            return False
        # A server sends nothing to an idle client, except when it ends the session.
        readable, _, _ = select.select([connection.fileno()], [], [], 0)
        return not readable

    def _why_read_only(
        self, connection: "psycopg.Connection[Any]", error: psycopg.Error
    ) -> LedgerError | None:
        """The error to raise if the server refused a write because it is read-only."""
        if not isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            return None
        is_standby = False
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")
            is_standby = connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        if is_standby:
            return LedgerError(
                f"{self} is a standby and accepts no writes; connect to the primary "
                "(with several hosts in the URL: ?target_session_attrs=read-write)"
            )
        return LedgerError(
            f"{self} is read-only: default_transaction_read_only is on for the database, the role or "
            "this connection; nothing was written. To allow writes again: "
            "ALTER DATABASE (or ROLE) … RESET default_transaction_read_only"
        )

    def _explained(self, error: psycopg.Error, *, read_only: bool) -> LedgerError:
        match error:
            case psycopg.errors.LockNotAvailable():
                advice = (
                    "another pass or a long transaction holds a lock; try again, or raise --lock-timeout"
                )
            case psycopg.errors.InsufficientPrivilege() if error.diag.source_function == _RLS:
                advice = (
                    "with rows hidden from it, a pass would be wrong; let this role see all rows "
                    "(ALTER ROLE … BYPASSRLS), or ALTER TABLE … DISABLE ROW LEVEL SECURITY"
                )
            case psycopg.errors.InsufficientPrivilege():
                advice = "grant this role the right, or run `reconciler schema apply` as the owner"
            case _ if error.diag.message_hint and error.sqlstate in _OF_OURS:
                advice = error.diag.message_hint
            case _ if read_only:
                return LedgerError(f"{self}: {_told(error)}")
            case _ if _is_of_numbers(error):
                advice = (
                    "a sequence lags behind its table, as after a failover or a restore; "
                    "`reconciler schema apply` as the owner sets it right"
                )
            case _ if _is_refusal(error):
                advice = "the database refused a row that contradicts the ledger; nothing was written"
                return Contradicted(f"{self}: {_told(error)}; {advice}")
            case _:
                advice = "nothing was written"
        return LedgerError(f"{self}: {_told(error)}; {advice}")


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether a rule of the tables refuses a row: a constraint, an index or a trigger, of whomever."""
    kinds = (
        psycopg.errors.IntegrityError,
        psycopg.errors.DataError,
        psycopg.errors.RaiseException,
        psycopg.errors.ProgramLimitExceeded,
    )
    # Our own functions refuse their arguments by that.
    is_argument = isinstance(error, psycopg.errors.InvalidParameterValue)
    is_told = error.sqlstate is not None and not is_argument and not _is_of_numbers(error)
    return isinstance(error, kinds) and is_told


def _is_of_numbers(error: psycopg.Error) -> bool:
    """Whether a number was given twice."""
    is_twice = isinstance(error, psycopg.errors.UniqueViolation)
    return is_twice and "(id)=" in (error.diag.message_detail or "")


_OF_OURS: Final = {"42725", "42P09", "55000"}
"""The errors that our own functions raise with a hint: what is in the way, and what to do about it."""

_RLS: Final = "check_enable_rls"
"""The function of Postgres that raises the error if a policy would hide rows."""


def _settings(connection: "psycopg.Connection[Any]") -> str:
    return settings(connection.info.server_version)


def _check_count(what: str, changed: int, rows: int) -> None:
    if changed != rows:
        raise LedgerError(
            f"{what} changed {changed} rows instead of {rows}; nothing was written. A policy, a rule or "
            "a trigger of the database interferes, or another program writes to the ledger. "
            "`reconciler verify` checks it"
        )


def _parts(url: str) -> Mapping[str, Any]:
    """The URL as libpq reads it. Raises UsageError, which quotes no secret."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"the database URL cannot be read: {why_unreadable(url, str(error))}") from None
    host, database = str(parts.get("host") or ""), str(parts.get("dbname") or "")
    ports = str(parts.get("port") or "0").split(",")
    # After an unescaped @ or / in the password, a part of it is read as host, port or name.
    if "@" in host + database or "/" in database or not all(port.isdecimal() for port in ports):
        raise UsageError(f"the database URL cannot be read: {EXPECTED}")
    return parts


def masked(url: str) -> str:
    """The user, host and database of a URL, and whether it has a password. Raises UsageError."""
    parts = _parts(url)
    user = str(parts.get("user") or "") + (":***" if parts.get("password") else "")
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    port = f":{parts['port']}" if parts.get("port") else ""
    at = "@" if user else ""
    return f"postgresql://{user}{at}{host}{port}/{parts.get('dbname') or ''}"


def _warn(told: psycopg.errors.Diagnostic) -> None:
    """Logs what the database warns of."""
    if told.severity_nonlocalized == "WARNING":
        log.warning("%s", one_line(told.message_primary or "", 500))


def _told(error: psycopg.Error) -> str:
    """The server's or libpq's message on one line."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    text = text.removeprefix("connection failed: ").partition(_GUESS)[0]
    return one_line(text, 500)


_GUESS: Final = "Is the server running on that host and accepting TCP/IP connections?"
"""libpq appends this to the message about a refused connection."""
