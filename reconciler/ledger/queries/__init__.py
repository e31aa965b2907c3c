"""The queries of the modules in `ledger/`, one file a module.

To add a query, write a section in the module's file: `-- its_name --`, a comment that says what it
returns, and one statement without a semicolon. The module reads it as `_SQL["its_name"]`, where
`_SQL: Final = load("its_module")`. A test prepares every query on a real Postgres.
"""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

_FOLDER: Final = resources.files(__name__)
_SECTION: Final = re.compile(r"^-- (\w+) --\n(?:--.*\n)*", re.MULTILINE)


def load(module: str) -> Mapping[str, str]:
    """The queries of one module, by name, without the comments above them."""
    _, *parts = _SECTION.split((_FOLDER / f"{module}.sql").read_text(encoding="utf-8"))
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
