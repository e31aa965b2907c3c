"""Times as Kubernetes writes them."""

import re
from datetime import UTC, datetime
from functools import lru_cache

_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:[0-5]\d)", re.ASCII | re.IGNORECASE
)


@lru_cache(maxsize=64)
def instant(text: str) -> datetime:
    """Converts an RFC 3339 time to UTC, truncated to microseconds. Raises ValueError."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, time, fraction, zone = match.groups()
    if fraction is None and zone == "Z":
        # The usual form of Kubernetes needs no conversion.
        return datetime.fromisoformat(text)
    zone = "+00:00" if zone in "Zz" else zone
    microseconds = (fraction or "")[:6].ljust(6, "0")
    try:
        return datetime.fromisoformat(f"{day}T{time}.{microseconds}{zone}").astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None
