"""The tables of kinds and of times say what the tables of the database accept."""

import re
from typing import Any

import psycopg
import pytest

from reconciler.core.kinds import EVENTS, LIFECYCLE, MEANING, Kind, Subject, kinds_of
from reconciler.core.times import RULES
from reconciler.ledger.checks import event_rules

Connection = psycopg.Connection[Any]

EVERY = pytest.mark.parametrize("subject", EVENTS, ids=[subject.table for subject in EVENTS])


def allowed(ledger: Connection, table: str, column: str) -> set[str]:
    """The values that a constraint lets into a column of words."""
    checks = ledger.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass(%s)", [table]
    ).fetchall()
    found = [re.findall(rf"\b{column} = ANY \(ARRAY\[(.*?)\]\)", check) for (check,) in checks]
    (listed,) = [words for each in found for words in each]
    return set(re.findall(r"'([^']*)'", listed))


def sources(*kinds: Kind) -> set[str]:
    return {rule.source.value for rule in RULES if set(kinds) & set(rule.kinds)}


@EVERY
def test_a_table_of_events_has_the_kinds_of_its_subject(ledger: Connection, subject: Subject) -> None:
    assert allowed(ledger, subject.table, "event_kind") == set(kinds_of(subject))


@EVERY
def test_a_row_of_an_event_has_a_time_source_of_its_kind(ledger: Connection, subject: Subject) -> None:
    assert allowed(ledger, subject.table, "time_source") == sources(*kinds_of(subject))


def test_a_lifecycle_ends_with_a_time_source_of_deleted(ledger: Connection) -> None:
    assert allowed(ledger, LIFECYCLE.table, "deleted_time_source") == sources(Kind.DELETED)


@EVERY
def test_a_value_has_its_column(ledger: Connection, subject: Subject) -> None:
    columns = {
        column
        for (column,) in ledger.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0",
            [subject.table],
        )
    }
    assert {subject.value, subject.key} - {None} <= columns


def test_a_counter_is_a_column_of_the_pass(ledger: Connection) -> None:
    counters = ", ".join(sorted({meaning.counter for meaning in MEANING.values()}))
    ledger.execute(f"SELECT {counters} FROM reconciler_passes".encode())  # noqa: S608


@EVERY
def test_postgres_takes_the_rules_of_a_table_of_events(ledger: Connection, subject: Subject) -> None:
    ledger.execute(f"PREPARE rules AS {event_rules(subject)}".encode())


def test_postgres_takes_the_rules_of_a_subject_that_is_not_switched(ledger: Connection) -> None:
    ledger.execute("CREATE TABLE tenant_plan_events (LIKE tenant_suspension_events, plan text)")
    plan = Subject("tenant_plan_events", value="plan")
    rules = event_rules(plan).replace("NOT IN ()", "NOT IN ('plan-changed')")
    ledger.execute(f"PREPARE rules AS {rules}".encode())
