"""Formats the logs: one line per event on stderr, as text or as JSON."""

import logging
import sys
import time
from datetime import UTC, datetime
from typing import Final

from reconciler.core.text import escaped
from reconciler.output.plan_json import to_json

ABOUT: Final = ("pass_id", "tenant", "uid")
"""The keys of `extra` that a logging call may pass: what the event is about."""


class _OneLine(logging.Formatter):
    """One line per event, with the time in UTC and control characters escaped."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


class _Json(logging.Formatter):
    """One object per line: time, level, message, and what the event is about."""

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


def set_up_logging(level: str, layout: str) -> None:
    """Sends the logs to stderr, one line per event."""
    handler = logging.StreamHandler(sys.stderr)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if layout == "json" or (layout == "auto" and not on_terminal):
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    # psycopg would log errors that are raised as well.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger("reconciler").setLevel(level.upper())
