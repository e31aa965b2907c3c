"""What can go wrong, named for whose fault it is, and the exit status of each.

Every message is one line for the person at the terminal: what was wrong, where, and what to do.
"""

from collections.abc import Iterable
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command ends with; `means` is what `--help` says of it."""

    means: str

    DONE = 0, "done, with or without changes"
    FAILED = 1, "failed, nothing was written; or the result could not be printed"
    USAGE = 2, "wrong usage or settings, or tables that cannot be adapted"
    REFUSED = 3, "refused, or deletions held back: an operator has to decide"
    QUARANTINED = 4, "written, but some tenants are quarantined (see --quarantine-exit)"
    FOUND = 5, "verify found a problem"
    CHANGES_PLANNED = 10, "with --dry-run --detailed-exitcode: changes are planned"
    INTERRUPTED = 130, "interrupted; the pass in progress was not written"

    def __new__(cls, number: int, means: str) -> "ExitStatus":  # noqa: PYI034 - typing is slow to import
        status = int.__new__(cls, number)
        status._value_ = number
        status.means = means
        return status


def lowest(statuses: Iterable[int]) -> int:
    """The exit status of several: the lowest that is not 0."""
    return min((status for status in statuses if status), default=ExitStatus.DONE)


class ReconcilerError(Exception):
    """Base of every error that ends a command with a message instead of a traceback."""

    exit_status = ExitStatus.FAILED


class SnapshotError(ReconcilerError):
    """The tenants could not be read, or what was read is no complete list of them."""


class Expired(SnapshotError):
    """410: the page token, or the history after a resourceVersion, is no longer kept."""


class Rejected(SnapshotError):
    """The server answered that it will not: a right is missing, or it does not know the request."""


class Silence(SnapshotError):
    """A watch said nothing for longer than one that lives would."""


class Unfinished(ReconcilerError):
    """There was more to catch up on than time allows; the next pass goes on."""


class LedgerError(ReconcilerError):
    """Postgres could not be reached, or did not do what it was asked."""


class Contradicted(LedgerError):
    """Postgres refused a row that breaks a rule of its tables."""


class NotPrinted(ReconcilerError):
    """The results could not be written to stdout. What the command did is done."""


class UsageError(ReconcilerError):
    """The command line or a setting is wrong."""

    exit_status = ExitStatus.USAGE


class UnfitTables(ReconcilerError):
    """Tables that are there already cannot hold the ledger until somebody changes them."""

    exit_status = ExitStatus.USAGE

    def __init__(self, problems: Iterable[object]) -> None:
        self.problems = [str(problem) for problem in problems]
        super().__init__("; ".join(self.problems))


class Refused(ReconcilerError):
    """The pass could be made, but writing it might be wrong: an operator has to decide."""

    exit_status = ExitStatus.REFUSED


class OutdatedSnapshot(Refused):
    """The ledger knows something newer than this snapshot."""


class ReadAgain(OutdatedSnapshot):
    """Another pass was written while the tenants were read: which of them are unchanged is not known."""


class WentBack(Refused):
    """The API server shows an older state than it did before: it was restored from a backup."""
