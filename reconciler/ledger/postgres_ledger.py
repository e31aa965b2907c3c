"""The ledger as a pass sees it: what is known, and a place to write a plan or, dry, only to plan."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from msgspec.structs import replace

from reconciler.core import portal
from reconciler.core.fingerprint import check_unchanged
from reconciler.core.plan import Plan
from reconciler.core.portal import PortalLife
from reconciler.core.position import Position, position
from reconciler.core.state_cache import StateCache
from reconciler.core.tenant import KnownState, Lifecycle, Setback, Snapshot
from reconciler.errors import LedgerError
from reconciler.ledger import schema
from reconciler.ledger.postgres import CommitUnknown, Database, Transaction
from reconciler.ledger.state_reader import (
    Printed,
    changed_state,
    clocks,
    concerned_state,
    gone,
    heal,
    is_current,
    is_last,
    known_state,
    last_age,
    last_pass,
    newer,
    portal_lives,
    printed,
    was_read,
)
from reconciler.ledger.writer import refused, remember, was_written, write

log = logging.getLogger(__name__)


class _Open:
    """The open ledger of one pass: nobody else writes until it is closed."""

    def __init__(
        self,
        transaction: Transaction,
        kept: StateCache | None,
        printed: Printed | None,
        changes: Sequence[Snapshot] | None,
    ) -> None:
        """`changes`: only what these need is read; None: all of it, to be kept."""
        self._transaction = transaction
        self._printed = printed
        self._changes = changes
        self.pass_id: int | None = None
        self.state = kept
        """What is known, once something was asked."""

    def known_state(self, snapshot: Snapshot) -> KnownState:
        transaction = self._transaction
        if self.state is None:
            heal(transaction)
        if self.state is None and snapshot.unchanged:
            current = _current(transaction, self._printed)
            known = changed_state(transaction, snapshot, current, is_healed=True)
        else:
            self.state = self.state or StateCache(self._read_back(snapshot))
            known, current = self.state.known(snapshot), self.state.fingerprints
        known = replace(
            known,
            gone=gone(transaction, snapshot, known),
            newer=newer(transaction, snapshot, known),
            clocks=clocks(transaction, snapshot),
        )
        check_unchanged(snapshot, known, current)
        return known

    def _read_back(self, snapshot: Snapshot) -> KnownState:
        if self._changes is None or snapshot.scope is None:
            return known_state(self._transaction, is_healed=True)
        return concerned_state(self._transaction, self._changes or [snapshot])

    def refused(self, plan: Plan) -> Mapping[str, str]:
        return refused(self._transaction, plan)

    def apply(self, plan: Plan) -> int:
        written = write(self._transaction, plan)
        self.pass_id = written.pass_id
        if plan.adopts_cluster:
            # What the ledger knows of that cluster from before has to be read back.
            self.state = None
        elif self.state is not None:
            self.state.forward(plan, written)
        return written.pass_id

    def remember(self, setback: Setback) -> None:
        remember(self._transaction, setback)
        # It is read back by whoever comes next.
        self.state = None


def _current(transaction: Transaction, known: Printed | None) -> frozenset[bytes]:
    """The fingerprints of the ledger; those that were read before, if no pass was written since."""
    if known is None or not is_last(transaction, known.as_of):
        known = printed(transaction)
    return known.fingerprints


class PostgresLedger:
    """The ledger, to be written: one pass at a time, all of it or nothing."""

    def __init__(self, database: Database, *, remembers: bool = True) -> None:
        """`remembers`: what is known is kept, for a process that makes many passes."""
        self._database = database
        self._remembers = remembers
        self._kept: StateCache | None = None
        self._printed: Printed | None = None
        self.waits_for_disk = True
        """False only where a pass that a power cut takes can be made again from the same snapshot."""

    def prepare(self) -> None:
        """Brings the schema up to date. Raises UnfitTables and LedgerError."""
        try:
            applied = schema.apply(self._database)
        except CommitUnknown as error:
            # Nothing is lost: what is behind is brought up to date by whoever comes next.
            _raise_interruption(error)
            raise
        for line in applied.says:
            log.info("%s", line)
        if applied.changed:
            log.info("brought the schema of %s to version %d", self._database, schema.VERSION)

    def last_instant(self) -> datetime | None:
        """The instant of the last pass. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            last = last_pass(transaction).last_pass
            return last.observed_at if last else None

    def was_read(self, digest: str, name: str, instant: datetime) -> bool:
        """Whether a snapshot file of that content is in the ledger. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            return was_read(transaction, digest, name, instant)

    def fingerprints(self) -> frozenset[bytes]:
        """Of the tenants that need not be read while they have the same one. Raises LedgerError."""
        if self._kept is not None:
            return self._kept.fingerprints
        with self._database.transaction(read_only=True) as transaction:
            self._printed = printed(transaction)
        return self._printed.fingerprints

    def position(self) -> Position:
        """How far it is in the history of its cluster. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            return position(last_pass(transaction))

    def age(self) -> float | None:
        """Seconds since the last pass was written, by the database's clock. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            return last_age(transaction) if schema.version(transaction) else None

    @contextmanager
    def open(self, changes: Sequence[Snapshot] = ()) -> Iterator[_Open]:
        """Raises LedgerError; then nothing was written, unless the message says that nobody knows."""
        # Forgotten unless all goes well: what is known then has to be read back.
        opened, kept, self._kept = None, self._kept, None
        try:
            with self._database.transaction(waits_for_disk=self.waits_for_disk) as transaction:
                transaction.lock(_waiting)
                if kept is not None and not (kept.last_pass and is_current(transaction, kept.last_pass)):
                    # Somebody else has written since.
                    kept = None
                needed = None if self._remembers else changes
                opened = _Open(transaction, kept, self._printed, needed)
                yield opened
        except CommitUnknown as error:
            pass_id = opened.pass_id if opened else None
            if pass_id is not None and not self._was_written(pass_id, error):
                _raise_interruption(error)
                raise LedgerError(f"{error}; the pass was not written") from error
        else:
            self._kept = opened.state if self._remembers else None

    def _was_written(self, pass_id: int, error: CommitUnknown) -> bool:
        try:
            with self._database.transaction(read_only=True) as transaction:
                return was_written(transaction, pass_id)
        except LedgerError:
            raise LedgerError(
                f"{error}; it is not known whether pass {pass_id} was written. Look for it in "
                "reconciler_passes; running again is safe either way"
            ) from error


def _waiting() -> None:
    log.warning("another pass is being written; waiting for it")


def _raise_interruption(error: CommitUnknown) -> None:
    if isinstance(error.__cause__, KeyboardInterrupt):
        raise error.__cause__ from None


class _OpenDryRun:
    def __init__(self, ledger: "DryRunLedger") -> None:
        self._ledger = ledger

    def known_state(self, snapshot: Snapshot) -> KnownState:
        return self._ledger.read(snapshot)

    def refused(self, plan: Plan) -> Mapping[str, str]:
        """None: a dry run writes nothing that could be refused."""
        del plan
        return {}

    def apply(self, plan: Plan) -> None:
        self._ledger.plan_on(plan)

    def remember(self, setback: Setback) -> None:
        """Nothing: a dry run finds it anew."""


class DryRunLedger:
    """The ledger, to be read: plans follow one another as if each had been written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: StateCache | None = None
        self._planned: list[Plan] = []
        self._gone: dict[str, Lifecycle] = {}
        self._portal: Sequence[PortalLife] = ()
        self._preparation = ""
        self.waits_for_disk = True

    def prepare(self) -> None:
        """Looks whether the schema can be brought up to date. Raises UnfitTables and LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            schema.check_readable(transaction, self._database)
            self._preparation = schema.preparation(transaction)

    def fingerprints(self) -> frozenset[bytes]:
        """Of the tenants that need not be read while they have the same one. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            if schema.version(transaction) != schema.VERSION:
                return frozenset()
            if self._kept is None and not self._planned:
                return printed(transaction).fingerprints
            return self._state(transaction).fingerprints

    def last_instant(self) -> datetime | None:
        """The instant of the last pass, written or planned. Raises LedgerError."""
        if self._planned:
            return self._planned[-1].snapshot.observed_at
        if self._kept is not None:
            return self._kept.last_pass.observed_at if self._kept.last_pass else None
        with self._database.transaction(read_only=True) as transaction:
            if not schema.version(transaction):
                return None
            last = last_pass(transaction).last_pass
            return last.observed_at if last else None

    def was_read(self, digest: str, name: str, instant: datetime) -> bool:
        """Whether a snapshot file of that content is in the ledger. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            return schema.version(transaction) > 0 and was_read(transaction, digest, name, instant)

    def position(self) -> Position:
        """How far it is in the history of its cluster, written or planned. Raises LedgerError."""
        with self._database.transaction(read_only=True) as transaction:
            if self._kept is not None or self._planned:
                return position(self._state(transaction).passes)
            found = schema.version(transaction)
            is_current = found == schema.VERSION
            return position(last_pass(transaction, is_current=is_current) if found else KnownState())

    @contextmanager
    def open(self, changes: Sequence[Snapshot] = ()) -> Iterator[_OpenDryRun]:
        del changes
        yield _OpenDryRun(self)

    def read(self, snapshot: Snapshot) -> KnownState:
        """The known state, in a transaction in which the database refuses every write."""
        with self._database.transaction(read_only=True) as transaction:
            found = schema.version(transaction)
            is_first = self._kept is None and not self._planned
            if is_first and snapshot.unchanged:
                current = printed(transaction).fingerprints
                known = replace(
                    changed_state(transaction, snapshot, current), preparation=self._preparation
                )
            else:
                state = self._state(transaction)
                known, current = state.known(snapshot), state.fingerprints
            if found:
                before = gone(transaction, snapshot, known)
            else:
                before = portal.gone(self._portal, snapshot, known)
            # Before version 3, no watched pass says whom it is about.
            later = newer(transaction, snapshot, known) if found == schema.VERSION else None
            known = replace(
                known,
                gone={**before, **self._gone},
                newer=later,
                clocks=clocks(transaction, snapshot),
            )
        check_unchanged(snapshot, known, current)
        return known

    def _state(self, transaction: Transaction) -> StateCache:
        """All that is known, once what was planned is written."""
        if self._kept is None:
            self._kept = StateCache(self._known(transaction, schema.version(transaction)))
        for plan in self._planned:
            self._gone.update(self._kept.forward(plan))
        self._planned.clear()
        return self._kept

    def _known(self, transaction: Transaction, found: int) -> KnownState:
        if found:
            known = known_state(transaction, is_current=found == schema.VERSION)
            return replace(known, preparation=self._preparation)
        self._portal = portal_lives(transaction)
        return KnownState(adopted=portal.alive(self._portal), preparation=self._preparation)

    def plan_on(self, plan: Plan) -> None:
        """The next plan follows this one."""
        self._planned.append(plan)
