"""`reconciler settings`: what is in effect, and where each comes from."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from reconciler import options
from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.core.text import clean, columns
from reconciler.ledger.postgres import masked
from reconciler.output.plan_json import to_json

_LONGEST: Final = 200


class _Setting(Struct, rename={"source": "from"}):
    flag: str
    variable: str
    value: str | None
    source: str


class _Settings(Struct):
    settings: Sequence[_Setting]


def settings(parts: Parts, *, output: str) -> int:
    """Prints all settings; of the database URL no password. Raises UsageError where one is wrong."""
    parts.settings  # noqa: B018 - checks them all
    found = []
    for option in options.ALL:
        source, value = parts.origins()[option.name]
        if option.name == "database_url" and value is not None:
            value = masked(value)
        found.append(_Setting(options.flag(option), options.variable(option), value, source))
    lines = columns([(one.flag, clean(one.value or "", _LONGEST), one.source) for one in found])
    return print_either(output, to_json(_Settings(found)), lines)
