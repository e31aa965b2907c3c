"""What the schema holds against every writer: who may write, what stays, and in which order."""

# ruff: noqa: S608 - the names in these statements are our own

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from tests.command_line.snapshots import apply, snapshot, tenant
from tests.conftest import SAMPLES, Command

Connection = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"

# Who may do what


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role that owns nothing."""
    name = f"role_{uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_without_rights_to_create_runs_passes_on_a_current_schema(
    tmp_path: Path, database: str, role: str
) -> None:
    as_role = database.replace("postgres@", f"{role}@", 1)
    command = Command(tmp_path)
    refused = command("run", "--snapshot", FIRST, "--database-url", as_role)
    assert refused.status == 1
    assert len(refused.err.splitlines()) == 1
    assert "schema apply" in refused.err

    granted = command("schema", "apply", "--grant-runner", role, "--database-url", database)
    assert granted.status == 0, granted.err
    for file in (FIRST, SECOND):
        done = command("run", "--snapshot", file, "--database-url", as_role)
        assert done.status == 0, done.err
    with psycopg.connect(as_role, autocommit=True) as connection:
        for statement in (
            "UPDATE tenant_skill_events SET skill_id = ''",
            "DELETE FROM tenant_suspension_events",
            "TRUNCATE tenant_skill_events",
            "UPDATE tenant_billing_lifecycle SET created_at = now()",
            "DELETE FROM tenant_billing_lifecycle",
            "UPDATE reconciler_passes SET source = ''",
            "CREATE TABLE mine ()",
            "DROP TABLE tenant_skill_events",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)


WRITTEN_ONCE = {
    "tenant_skill_events": ("tenant_name = 'other'", "id = id + 1000"),
    "tenant_suspension_events": ("tenant_name = 'other'", "id = id + 1000"),
    "tenant_billing_lifecycle": ("tenant_name = 'other'", "id = id + 1000"),
    "reconciler_passes": ("source = 'other'", "id = id + 1000"),
    "reconciler_rebindings": ("old_uid = 'other'", "pass_id = pass_id + 1000"),
    "reconciler_reopenings": ("deleted_at = now()", "pass_id = pass_id + 1000"),
    "reconciler_moves": ("previous_lifecycle_id = 1", "pass_id = pass_id + 1000"),
    "reconciler_overrides": ("decided_by = 'x'", "pass_id = pass_id + 1000"),
    "reconciler_voids": ("because = 'other'", "id = id + 1000"),
    "reconciler_voided_rows": ("table_name = 'other'", "void_id = 1"),
    "reconciler_decisions": ("subject = 'other'", "before = NULL"),
}


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_what_is_written_stays_even_against_its_owner(
    ledger: Connection, ledger_url: str, table: str
) -> None:
    apply(ledger_url, FIRST, SECOND)
    for statement in (
        *(f"UPDATE {table} SET {change}" for change in WRITTEN_ONCE[table]),
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    ):
        # By its own rule, and not by that of a table which refers to it.
        with pytest.raises(errors.RestrictViolation, match=rf"{table}|the beginning of lifecycle \d+"):
            ledger.execute(statement.encode())


@pytest.mark.parametrize(
    "change",
    [
        "deleted_at = NULL",
        "deleted_at = deleted_at - interval '1 day'",
        "created_at = created_at - interval '1 day'",
        "tenant_uid = 'other'",
        "zitadel_org_id = 'other'",
    ],
)
def test_a_lifecycle_that_has_ended_does_not_change(
    ledger: Connection, ledger_url: str, change: str
) -> None:
    apply(ledger_url, FIRST, SECOND)
    with pytest.raises(errors.RestrictViolation):
        ledger.execute(
            f"UPDATE tenant_billing_lifecycle SET {change} WHERE deleted_at IS NOT NULL".encode()
        )


# The events alternate


def event(kind: str, ordinal: int | None, skill: str = "new") -> tuple[str, list[object]]:
    """An event of the one lifecycle, at the instant of its pass."""
    is_skill = kind in ("enabled", "disabled")
    table = "tenant_skill_events" if is_skill else "tenant_suspension_events"
    columns, values = ("skill_id, ", "%s, ") if is_skill else ("", "")
    statement = (
        f"INSERT INTO {table} (lifecycle_id, tenant_name, tenant_uid, {columns}event_kind, ordinal,"
        " occurred_at, not_before, time_source, observed_at, pass_id)"
        f" SELECT l.id, tenant_name, tenant_uid, {values}%s, %s, observed_at, observed_at, 'observed',"
        " observed_at, p.id FROM tenant_billing_lifecycle l, reconciler_passes p"
    )
    return statement, [skill, kind, ordinal] if is_skill else [kind, ordinal]


@pytest.mark.parametrize(
    "history",
    [
        [("enabled", 1), ("enabled", 1)],
        [("enabled", 1), ("enabled", 2)],
        [("enabled", 1), ("enabled", 3)],
        [("enabled", 1), ("disabled", 2), ("disabled", 2)],
        [("enabled", 1), ("disabled", 2), ("disabled", 3)],
        [("enabled", 1), ("disabled", 2), ("disabled", 4)],
        [("disabled", 2)],
        [("disabled", 1)],
        [("enabled", 3)],
        [("enabled", -1)],
        [("enabled", None)],
        [("suspended", 1), ("suspended", 3)],
        [("suspended", 1), ("suspended", 2)],
        [("suspended", 1), ("resumed", 2), ("resumed", 4)],
        [("resumed", 2)],
        [("suspended", None)],
        [("activated", 1)],
    ],
)
def test_events_that_do_not_alternate_cannot_be_written(
    ledger: Connection, ledger_url: str, tmp_path: Path, history: Sequence[tuple[str, int | None]]
) -> None:
    apply(ledger_url, snapshot(tmp_path, "20261102T000000Z", tenant("ada")))
    *before, last = (event(kind, ordinal) for kind, ordinal in history)
    for statement, values in before:
        ledger.execute(statement.encode(), values)
    with pytest.raises(errors.IntegrityError):
        ledger.execute(last[0].encode(), last[1])


def test_events_that_alternate_can_be_written(
    ledger: Connection, ledger_url: str, tmp_path: Path
) -> None:
    apply(ledger_url, snapshot(tmp_path, "20261102T000000Z", tenant("ada")))
    for ordinal, kind in enumerate(("enabled", "disabled", "enabled", "disabled"), start=1):
        for skill in ("one", "x" * 5000):
            ledger.execute(*_encoded(event(kind, ordinal, skill)))
    for ordinal, kind in enumerate(("suspended", "resumed", "suspended"), start=1):
        ledger.execute(*_encoded(event(kind, ordinal)))


def _encoded(statement: tuple[str, list[object]]) -> tuple[bytes, list[object]]:
    return statement[0].encode(), statement[1]


def test_only_one_of_a_name_and_one_of_a_uid_is_alive(ledger: Connection, ledger_url: str) -> None:
    apply(ledger_url, FIRST)
    for column in ("tenant_name", "tenant_uid"):
        other = {"tenant_name": "tenant_uid", "tenant_uid": "tenant_name"}[column]
        with pytest.raises(errors.UniqueViolation):
            ledger.execute(
                f"""
                INSERT INTO tenant_billing_lifecycle ({column}, {other}, zitadel_org_id, created_at,
                    created_not_before, created_time_source, created_observed_at, created_pass_id)
                SELECT {column}, 'other', zitadel_org_id, created_at, created_not_before,
                    created_time_source, created_observed_at, created_pass_id
                FROM tenant_billing_lifecycle LIMIT 1""".encode()
            )


def test_a_lifecycle_cannot_end_before_it_begins(ledger: Connection, ledger_url: str) -> None:
    apply(ledger_url, FIRST)
    with pytest.raises(errors.CheckViolation, match="begins_before_it_ends"):
        ledger.execute("""
            UPDATE tenant_billing_lifecycle
            SET deleted_at = created_at - interval '1 second',
                deleted_not_before = created_at - interval '1 day',
                deleted_time_source = 'observed', deleted_observed_at = created_observed_at,
                deleted_pass_id = created_pass_id
        """)
