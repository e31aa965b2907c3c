"""A database with the portal's tables, and nothing in them."""

from collections.abc import Iterator

import pytest

from tests.billing.database import Connection, apply, connect


@pytest.fixture
def ledger(database: str) -> Iterator[Connection]:
    with connect(database) as connection:
        apply(connection)
        yield connection
