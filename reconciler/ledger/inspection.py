"""Asks Postgres what is in the database, so that `core.installation` can say what is to be done."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from reconciler.core.catalog import Catalog, Made
from reconciler.core.installation import ALL
from reconciler.core.tables import Problem, Question
from reconciler.ledger.postgres import Transaction
from reconciler.ledger.queries import load

_SQL: Final = load("inspection")


def read_catalog(transaction: Transaction, made: Made) -> Catalog:
    """Those of the tables and functions that there are, in the schema in which they are made."""
    told = transaction.value(_SQL["catalog"], [*made.tables], [*made.functions])
    return msgspec.json.decode(told, type=Catalog)


def tables_asked_for(transaction: Transaction, catalog: Catalog) -> str:
    """ALL or LEDGER, as it was said when the schema was applied last."""
    table = catalog.tables.get("reconciler_schema")
    if table is None or "tables" not in table.columns:
        return ALL
    rows = transaction.rows(_SQL["tables"])
    return str(rows[0][0]) if rows else ALL


def answers(transaction: Transaction, questions: Sequence[Question]) -> Iterator[Problem]:
    """The problems that the rows make."""
    if not questions:
        return
    selects = " UNION ALL ".join(
        f"(SELECT {number}, {question.select})" for number, question in enumerate(questions)
    )
    for number, count, example in transaction.rows(selects):
        if problem := questions[number].answered(count, example):
            yield problem
