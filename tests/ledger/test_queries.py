"""Every query in a file is one that Postgres takes, and one that some module asks."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.ledger import queries
from reconciler.ledger.queries import load

FOLDER = Path(queries.__file__).parent
MODULES = {file.stem: load(file.stem) for file in sorted(FOLDER.glob("*.sql"))}
QUERIES = [(module, name) for module, named in MODULES.items() for name in named]


def with_numbers(query: str) -> str:
    """With `$1` where psycopg has `%s`."""
    number = iter(range(1, 100))
    return re.sub(r"%([s%])", lambda found: f"${next(number)}" if found[1] == "s" else "%", query)


@pytest.mark.parametrize(("module", "name"), QUERIES)
def test_postgres_takes_the_query(ledger: "psycopg.Connection[Any]", module: str, name: str) -> None:
    ledger.execute(f"PREPARE query AS {with_numbers(MODULES[module][name])}".encode())


@pytest.mark.parametrize("module", MODULES)
def test_every_heading_in_a_file_is_a_query_of_its_own(module: str) -> None:
    text = (FOLDER / f"{module}.sql").read_text(encoding="utf-8")
    headings = re.findall(r"^-- (\S+) --$", text, re.MULTILINE)
    assert headings == list(MODULES[module])
    assert text.startswith("-- ")
    assert all(query and ";" not in query for query in MODULES[module].values())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_asks_every_query_of_its_file_and_no_other(module: str) -> None:
    code = (FOLDER.parent / f"{module}.py").read_text(encoding="utf-8")
    assert set(re.findall(r'\b_SQL\["(\w+)"\]', code)) == MODULES[module].keys()
