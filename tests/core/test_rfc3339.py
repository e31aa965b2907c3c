"""RFC 3339 times: which are instants, and which are refused."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.rfc3339 import instant
from tests.core.resources import NEW_YEAR, recorded

ACCEPTED = {
    "2026-01-01T00:00:00Z": NEW_YEAR,
    "2026-01-01t00:00:00z": NEW_YEAR,
    "2026-01-01T00:00:00.000Z": NEW_YEAR,
    "2026-01-01T00:00:00-00:00": NEW_YEAR,
    "2026-01-01T00:00:00+01:00": datetime(2025, 12, 31, 23, tzinfo=UTC),
    "2026-01-01T00:00:00+14:00": datetime(2025, 12, 31, 10, tzinfo=UTC),
    "2026-01-01T00:00:00+23:59": datetime(2025, 12, 31, 0, 1, tzinfo=UTC),
    "2026-01-01T00:00:00-23:59": datetime(2026, 1, 1, 23, 59, tzinfo=UTC),
    "2026-01-01T00:00:00.1Z": NEW_YEAR + timedelta(microseconds=100_000),
    # Cut to the microsecond, not rounded
    "2026-01-01T00:00:00.123456789Z": NEW_YEAR + timedelta(microseconds=123_456),
    "2026-01-01T00:00:00.1234567890123456789Z": NEW_YEAR + timedelta(microseconds=123_456),
    "2026-01-01T00:00:00.9999999Z": NEW_YEAR + timedelta(microseconds=999_999),
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59Z": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "2028-02-29T12:00:00Z": datetime(2028, 2, 29, 12, tzinfo=UTC),
}
LET_IN_BY_THE_SERVER = {
    "0000-01-01T00:00:00Z",  # no such year
    "2026-01-01T00:00:00,5Z",  # a comma
    "2026-01-01T00:00:00+99:99",  # no such offset
}
REFUSED = {
    *LET_IN_BY_THE_SERVER,
    *("", " ", "now", "yesterday", "1767225600", "2026-01-01", "20260101T000000Z"),
    *("2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T00:00Z", "2026-1-1T0:0:0Z"),
    *("2026-01-01T24:00:00Z", "2026-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z"),
    *("2026-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T00:60:00Z"),
    *("2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+01", "2026-01-01T00:00:00.Z"),
    *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60"),
    *("2026-W01-1T00:00:00Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z"),
    *(" 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "2026-01-01T00:00:00ZZ"),
    *("2026-01-01T00:00:00Z\n", "2026-01-01T00:00:00Z\0", "2026-01-01T00:00:00 Z"),
    # Digits of another script
    "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
    # Inside the calendar where they are, outside it in UTC
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
}


@pytest.mark.parametrize(("text", "expected"), ACCEPTED.items())
def test_an_rfc_3339_time_is_an_instant_in_utc(text: str, expected: datetime) -> None:
    assert instant(text) == expected
    assert instant(text).tzinfo is UTC


@pytest.mark.parametrize("text", sorted(REFUSED))
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is all there is to say
        instant(text)


def test_every_text_that_the_server_was_asked_to_store_as_a_time_is_judged() -> None:
    rows = recorded("tenants/suspended-at-accepted-by-format-date-time")["rows"]
    stored = {row["written"] for row in rows if row["status"] == 200}
    refused = {row["written"] for row in rows if row["status"] == 422}
    assert stored <= ACCEPTED.keys() | LET_IN_BY_THE_SERVER
    assert refused <= REFUSED
    assert stored.isdisjoint(REFUSED - LET_IN_BY_THE_SERVER)
