"""Cleans the ledger's URL, and says what is wrong with one that libpq cannot read."""

import re
from typing import Final

EXPECTED: Final = (
    "expected postgresql://user:password@host:5432/database, "
    "with %40 for an @ in the password, %2F for a /, %3A for a : and %25 for a %"
)

_OF_OTHER_PROGRAMS: Final = {
    "schema": "to work in a schema, give options=-csearch_path%3DNAME instead",
    "pgbouncer": "leave it out: a pooler needs no setting here",
}
"""Parameters of other programs, which libpq rejects, and what to do instead."""


def why_unreadable(url: str, problem: str) -> str:
    """What is wrong with a URL. Of the URL itself it quotes only what cannot be a secret."""
    scheme, found, rest = url.partition("://")
    if found and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and scheme not in ("postgresql", "postgres"):
        return f"its scheme is {scheme}; write postgresql://"
    parameter = re.search(r'URI query parameter: "(\w+)"', problem)
    # After an unescaped ? in the password, the rest of it would look like a parameter.
    if parameter and "@" not in rest.partition("?")[2]:
        name = parameter[1]
        advice = _OF_OTHER_PROGRAMS.get(name, "leave it out")
        return f"libpq does not know the parameter {name}; {advice}"
    if "percent-encoded" in problem:
        return "it contains a % that is not part of an escape like %40; write a % in the password as %25"
    return EXPECTED


def unwrapped(url: str) -> str:
    """The URL without the white space and quotes that a file, a Secret or a shell left around it."""
    url = url.strip()
    if len(url) > 1 and url[0] == url[-1] and url[0] in "'\"":
        url = url[1:-1].strip()
    return url
