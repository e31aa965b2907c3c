"""What a command is made of, and the flags that several commands have. Imports nothing heavy."""

from argparse import ArgumentTypeError
from collections import namedtuple

from reconciler.options import CLUSTER, DATABASE, LOGS, TIME_ZONE

Flag = namedtuple("Flag", "name group metavar help more", defaults=({},))
"""A flag of this command only, never a setting. `metavar` None is a switch; `more` is for argparse."""

Command = namedtuple("Command", "about details flags examples statuses", defaults=((),))
"""`flags` are flags and settings, as --help lists them; `statuses` those besides the common ones."""

Group = namedtuple("Group", "about commands")
"""A command that only has commands of its own, by name."""

METAVARS = {
    "DURATION": "30s, 5m, 1h or 1d",
    "TIME": "RFC 3339 (2026-11-01T06:00:00Z), a day (2026-11-01, from its start in --time-zone), or now",
    "DAY": "2026-11-01; a TIME is read as well, if a day begins then in --time-zone",
    "AMOUNT": "exact, like 49 or 0.05; more decimals than the column has are an error",
}
"""How a value is written; told once for each command that has one."""

NOTES = {
    "Safety": "A deletion is weak if the tenant is missing and no deletionTimestamp was seen. "
    "Where there are too many of them, all are held back until an operator decides.",
    "Roles": "Each role gets only the rights that it needs. It must exist.",
    "Prices": "All without VAT.",
}
"""What stands below the title of a group of flags."""


def number(text: str) -> int:
    """Reads a whole number for argparse."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a whole number, not {text!r}") from None


def output(*formats: str) -> Flag:
    """The flag --output of a command; the first format is the default."""
    more = {"choices": formats, "default": formats[0]}
    return Flag("--output", "Output", None, f"how to print the result (default {formats[0]})", more)


DRY_RUN = Flag("--dry-run", "Output", None, "print the plan and write nothing")
FILES = Flag(
    "--snapshot",
    "Snapshot",
    "FILE",
    "read the tenants from files instead of a cluster: the output of `kubectl get piecedtenants -A "
    "-o json --show-managed-fields` (or -o yaml), or - for stdin (with --observed-at); a folder or "
    "several files are one pass each, oldest first",
    {"nargs": "+"},
)
OBSERVED_AT = Flag(
    "--observed-at", "Snapshot", "TIME", "when the file was taken, if its name does not say it"
)
BY = Flag("--by", "Record", "NAME", "who decided this, for the record (default: the user of the system)")
BECAUSE = Flag("--because", "Record", "TEXT", "why, for the record")
LEDGER = (*DATABASE, *LOGS)
PASS = (*DATABASE, *CLUSTER, *TIME_ZONE, *LOGS)
