"""Reads the ledger's URL as people hand it over, and says what is wrong with one that cannot be read."""

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
"""Parameters that other programs read from such a URL, and libpq refuses."""


def why_unreadable(url: str, problem: str) -> str:
    """What is wrong with a URL; of the URL itself only what can be no secret."""
    scheme, found, rest = url.partition("://")
    if found and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and scheme not in ("postgresql", "postgres"):
        return f"its scheme is {scheme}; write postgresql://"
    parameter = re.search(r'URI query parameter: "(\w+)"', problem)
    # An unescaped ? in the password would make a parameter of the rest of it.
    if parameter and "@" not in rest.partition("?")[2]:
        name = parameter[1]
        advice = _OF_OTHER_PROGRAMS.get(name, "leave it out")
        return f"libpq knows no parameter {name}; {advice}"
    if "percent-encoded" in problem:
        return "a % in it begins no escape like %40; write %25 for a % in the password"
    return EXPECTED


def unwrapped(url: str) -> str:
    """The URL without what a file, a Secret or a shell has left around it."""
    url = url.strip()
    if len(url) > 1 and url[0] == url[-1] and url[0] in "'\"":
        url = url[1:-1].strip()
    return url
