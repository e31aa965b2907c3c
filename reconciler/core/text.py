"""Text for people: names and answers made safe to print, times, counts and aligned columns."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime


def escaped(text: str) -> str:
    """On one line: control characters, and what reverses text, are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def clean(text: str, longest: int = 40) -> str:
    """Escaped, and at most `longest` characters."""
    safe = escaped(text[: longest + 1])
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def org_text(org: str, name: str | None) -> str:
    """An organisation by its id and, where it was given one, its name."""
    return clean(org) if name is None else f"{clean(org)} ({clean(name)})"


def quoted(text: str, longest: int = 60) -> str:
    """A piece of input in a message: `clean`, between quotation marks."""
    return f'"{clean(text, longest)}"'


def one_line(text: str, longest: int = 300) -> str:
    """What another program said, `clean`, with its white space squeezed."""
    return clean(" ".join(text.split()), longest)


def stamp(instant: datetime, *, exact: bool = False) -> str:
    """A time as RFC 3339 in UTC, to the second, or `exact`. The flags take it as it is."""
    text = instant.astimezone(UTC).isoformat(timespec="auto" if exact else "seconds")
    return text.replace("+00:00", "Z")


def counted(number: int, noun: str) -> str:
    """1 pass, 2 passes."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> Iterator[list[str]]:
    """The cells padded to the width of their column, on the left in those of `right`.

    A column that is empty in every row is left out.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield [
            f"{cell:>{width}}" if place in right else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ]


def columns(
    rows: Sequence[Sequence[str]], *, right: Collection[int] = (), indent: str = ""
) -> Iterator[str]:
    """The rows as lines, two spaces between their columns."""
    for cells in aligned(rows, right=right):
        yield f"{indent}{'  '.join(cells)}".rstrip()
