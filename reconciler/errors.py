"""What can go wrong, named for whose fault it is; the exit status follows from the type.

Every message is one line for the person at the terminal: what was wrong, where, and what to do.
"""


class ReconcilerError(Exception):
    """Base of every error that ends a command with a message instead of a traceback."""

    exit_status = 1


class SnapshotError(ReconcilerError):
    """The tenants could not be read, or what was read is no complete list of them."""


class Expired(SnapshotError):
    """410: the page token, or the history after a resourceVersion, is no longer kept."""


class Silence(SnapshotError):
    """A watch said nothing for longer than one that lives would."""


class LedgerError(ReconcilerError):
    """Postgres could not be reached, or did not do what it was asked."""


class UsageError(ReconcilerError):
    """The command line or a setting is wrong."""

    exit_status = 2


class Refused(ReconcilerError):
    """The pass could be made, but writing it might be wrong: an operator has to decide."""

    exit_status = 3


class OutdatedSnapshot(Refused):
    """The ledger knows something newer than this snapshot."""
