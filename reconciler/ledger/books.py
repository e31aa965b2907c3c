"""The ledger as a pass sees it: what is known, and a place to write a plan or, dry, only to plan."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from msgspec.structs import replace

from reconciler.core.plan import Plan, outcome
from reconciler.core.tenant import KnownState, Snapshot
from reconciler.errors import LedgerError
from reconciler.ledger import schema
from reconciler.ledger.known import gone, known_state, last_instant, portal_state
from reconciler.ledger.postgres import CommitUnknown, Database, Transaction
from reconciler.ledger.writing import was_written, write

log = logging.getLogger(__name__)


class Books:
    """The open ledger of one pass: nobody else writes until it is closed."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.pass_id: int | None = None

    def known_state(self, snapshot: Snapshot) -> KnownState:
        return known_state(self._transaction, snapshot)

    def apply(self, plan: Plan) -> None:
        self.pass_id = write(self._transaction, plan)


class Ledger:
    """The ledger, to be written: one pass at a time, all of it or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self) -> None:
        """Brings the schema up to date. Raises LedgerError."""
        try:
            applied = schema.apply(self._database)
        except CommitUnknown as error:
            # Nothing is lost: what is behind is brought up to date by whoever comes next.
            _raise_interruption(error)
            raise
        if applied:
            log.info("brought the schema of %s to version %d", self._database, schema.VERSION)

    def last_instant(self) -> datetime | None:
        """The instant of the last pass. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            return last_instant(transaction)

    @contextmanager
    def open(self) -> Iterator[Books]:
        """Raises LedgerError; then nothing was written, unless the message says that nobody knows."""
        books = None
        try:
            with self._database.transaction() as transaction:
                transaction.lock(lambda: log.warning("another pass is being written; waiting for it"))
                books = Books(transaction)
                yield books
        except CommitUnknown as error:
            pass_id = books.pass_id if books else None
            if pass_id is not None and not self._was_written(pass_id, error):
                _raise_interruption(error)
                raise LedgerError(f"{error}; the pass was not written") from error

    def _was_written(self, pass_id: int, error: CommitUnknown) -> bool:
        try:
            with self._database.transaction(read_only=True) as transaction:
                return was_written(transaction, pass_id)
        except LedgerError:
            raise LedgerError(
                f"{error}; whether pass {pass_id} was written is not known. Look for it in "
                "reconciler_passes; running again is safe either way"
            ) from error


def _raise_interruption(error: CommitUnknown) -> None:
    if isinstance(error.__cause__, KeyboardInterrupt):
        raise error.__cause__ from None


class _DryBooks:
    def __init__(self, ledger: "DryLedger") -> None:
        self._ledger = ledger

    def known_state(self, snapshot: Snapshot) -> KnownState:
        self._ledger.known = self._ledger.read(snapshot)
        return self._ledger.known

    def apply(self, plan: Plan) -> None:
        if self._ledger.known is not None:
            self._ledger.known = outcome(plan, self._ledger.known)


class DryLedger:
    """The ledger, to be read: plans follow one another as if each had been written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.known: KnownState | None = None

    def prepare(self) -> None:
        """Nothing: a dry run makes no tables."""

    def last_instant(self) -> datetime | None:
        """The instant of the last pass, written or planned. Raises LedgerError."""
        if self.known is not None:
            return self.known.last_pass.observed_at if self.known.last_pass else None
        with self._database.transaction(read_only=True) as transaction:
            return last_instant(transaction) if schema.version(transaction) else None

    @contextmanager
    def open(self) -> Iterator[_DryBooks]:
        yield _DryBooks(self)

    def read(self, snapshot: Snapshot) -> KnownState:
        """The known state, in a transaction in which the database refuses every write."""
        with self._database.transaction(read_only=True) as transaction:
            if schema.version(transaction) == 0:
                return self.known or portal_state(transaction)
            if self.known is None:
                return known_state(transaction, snapshot)
            before = gone(transaction, snapshot, self.known)
            return replace(self.known, gone={**before, **self.known.gone})
