"""Makes the parts that several commands need out of the settings."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect, shown
from reconciler.core.rfc3339 import instant
from reconciler.embedded import EmbeddedPostgres
from reconciler.errors import UsageError
from reconciler.ledger.postgres import Database
from reconciler.output.report import to_json
from reconciler.settings import Settings
from reconciler.sources.cluster import ClusterSettings, ClusterSource


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of the settings; an embedded one runs until the end of the block."""
    if settings.embedded:
        with EmbeddedPostgres(settings.embedded_dir).running() as url:
            yield from _database(settings, url)
    elif settings.database_url is not None:
        yield from _database(settings, settings.database_url.get_secret_value())


def _database(settings: Settings, url: str) -> Iterator[Database]:
    database = Database(
        url,
        connect_timeout=settings.database_connect_timeout,
        lock_timeout=settings.lock_timeout,
    )
    try:
        yield database
    finally:
        database.close()


def dialect(settings: Settings) -> Dialect:
    """How the tenants are called."""
    return Dialect(
        group=settings.api_group,
        kind=settings.kind,
        org_label=settings.org_label,
        managed_fields=settings.managed_fields,
    )


def cluster_source(settings: Settings, progress: Callable[[str], object]) -> ClusterSource:
    """The cluster of the settings."""
    return ClusterSource(
        ClusterSettings(
            dialect=dialect(settings),
            plural=settings.plural,
            version=settings.api_version,
            kubeconfig=settings.kubeconfig,
            context=settings.context,
            page_size=settings.page_size,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            list_timeout=settings.list_timeout,
            watches=settings.watch,
            watch_silence=settings.watch_silence,
        ),
        progress=lambda count: progress(f"listing tenants: {count}" if count else ""),
    )


def limits(
    settings: Settings, *, allow_deletions: int | None = None, adopt_cluster: bool = False
) -> Limits:
    """What a pass may do without being asked again."""
    return Limits(
        brake_floor=settings.brake_floor,
        brake_percent=settings.brake_percent,
        allow_deletions=allow_deletions,
        adopt_cluster=adopt_cluster,
    )


FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000

ABOUT: Final = ("pass_id", "tenant", "uid")
"""What an event may be about: `extra` of a logging call."""


def given_time(
    flag: str, text: str | None, now: datetime, expected: str = "RFC 3339 or `now`"
) -> datetime | None:
    """A time of the command line: RFC 3339, or `now`. Raises UsageError."""
    if text is None or text == "now":
        return None if text is None else now
    try:
        time = instant(text)
    except ValueError:
        raise UsageError(f"{flag} {shown(text)}: expected {expected}") from None
    _check_year(flag, text, time.year)
    return time


def given_day(flag: str, text: str) -> date:
    """A day of the command line, like 2026-10-01. Raises UsageError."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            pass
        else:
            _check_year(flag, text, day.year)
            return day
    raise UsageError(f"{flag} {shown(text)}: expected a day like 2026-10-01")


def _check_year(flag: str, text: str, year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise UsageError(f"{flag} {shown(text)}: expected a year from {FIRST_YEAR} to {LAST_YEAR}")


class _OneLine(logging.Formatter):
    """UTC, and whatever a name or a server's answer contains, one line without control characters."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


class _Json(logging.Formatter):
    """One object a line: time, level, message, and what the event is about."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        said |= {key: value for key in ABOUT if (value := getattr(record, key, None)) is not None}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return to_json(said).decode()


def set_up_logging(settings: Settings) -> None:
    """Logs go to stderr, one line an event."""
    handler = logging.StreamHandler(sys.stderr)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if settings.log_format == "json" or (settings.log_format == "auto" and not on_terminal):
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    # It would tell a second time, by its own words, what is raised anyway.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger("reconciler").setLevel(settings.log_level.upper())
