"""Text for people, whatever a name or a server's answer holds."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from reconciler.core.rfc3339 import instant
from reconciler.core.text import clean, columns, counted, escaped, one_line, quoted, stamp


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u2028", "\u202e", "\x85", "\ud800"])
def test_what_a_terminal_would_act_on_is_escaped(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(f"é 日 {text}").startswith("é 日 ")


def test_a_long_name_is_cut_to_the_width_it_is_given() -> None:
    assert clean("x" * 41) == "x" * 39 + "…"
    assert clean("\n" * 41, 10) == "\\n" * 4 + "\\" + "…"
    assert quoted("it is") == '"it is"'
    assert one_line(" two\n  lines ", 300) == "two lines"


def test_a_time_is_printed_as_the_flags_read_it() -> None:
    noon = datetime(2026, 11, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    assert stamp(noon) == "2026-11-01T12:00:00Z"
    assert instant(stamp(noon)) == noon
    exact = datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC)
    assert (stamp(exact), instant(stamp(exact, exact=True))) == (stamp(noon), exact)


def test_one_is_told_from_several() -> None:
    assert [counted(number, "pass") for number in (0, 1, 2)] == ["0 passes", "1 pass", "2 passes"]


def test_columns_are_as_wide_as_their_cells_and_empty_ones_are_left_out() -> None:
    rows = [("alpha", "", "1"), ("b", "", "20")]
    assert [*columns(rows, right=(2,), indent="  ")] == ["  alpha   1", "  b      20"]
    assert [*columns([])] == []
