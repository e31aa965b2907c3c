"""The schema of the ledger in a real Postgres: complete, repeatable, and gone when it is dropped."""

import os
import pty
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.core.catalog import made_by
from reconciler.ledger import schema
from tests.command_line.snapshots import WRITTEN_BY_A_PASS, apply, row_counts
from tests.conftest import SAMPLES, Command

Connection = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"


# What there is

FIXED_COLUMNS = {
    "platform_pricing": "id tenant_monthly_fee_chf tenant_setup_fee_chf threema_message_chf"
    " vat_rate_chli",
    "skill_pricing": "skill_id daily_price_chf",
    "tenant_billing_lifecycle": "tenant_name zitadel_org_id created_at deleted_at"
    " id tenant_uid cluster_uid",
    "tenant_skill_events": "id tenant_name skill_id event_kind occurred_at lifecycle_id tenant_uid"
    " not_before time_source observed_at pass_id",
    "tenant_suspension_events": "id tenant_name event_kind occurred_at lifecycle_id tenant_uid"
    " not_before time_source observed_at pass_id",
    "org_billing_config": "zitadel_org_id pay_by_invoice auto_invoice_enabled auto_reminders_enabled"
    " stripe_customer_id display_name",
    "org_payment_methods": "zitadel_org_id",
    "invoice_number_counters": "",
    "invoices": "zitadel_org_id",
    "invoice_lines": "",
    "invoice_reminders": "",
}

CATALOG = """
    SELECT 'column', table_name || '.' || column_name,
           concat_ws(' ', data_type, numeric_precision, numeric_scale, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', oid::regprocedure::text, prosrc
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'relation', relname, concat_ws(' ', relkind, relacl::text)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'type', typname, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'comment', classoid::regclass || ' ' || objoid || ' ' || objsubid, description
    FROM pg_description WHERE objoid > 16384 AND classoid <> 'pg_extension'::regclass
    ORDER BY 1, 2, 3
"""


def catalog(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(CATALOG).fetchall()


def test_the_eleven_tables_have_the_columns_that_others_use(ledger: Connection) -> None:
    found = ledger.execute(
        "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns"
        " WHERE table_schema = 'public' GROUP BY table_name"
    )
    columns = {table: set(names) for table, names in found}
    assert len(FIXED_COLUMNS) == 11
    for table, names in FIXED_COLUMNS.items():
        assert set(names.split()) <= columns[table], table
    beside = columns.keys() - FIXED_COLUMNS.keys() - {"invoice_payments", "invoice_events"}
    assert all(name.startswith("reconciler_") for name in beside)


def test_money_is_numeric_and_every_time_has_a_zone(ledger: Connection) -> None:
    kinds = ledger.execute(
        "SELECT table_name || '.' || column_name, data_type, numeric_precision, numeric_scale"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    ).fetchall()
    unfit = {
        "real",
        "double precision",
        "money",
        "timestamp without time zone",
        "time without time zone",
    }
    assert [row for row in kinds if row[1] in unfit] == []


def test_every_table_column_view_and_function_says_what_it_is(ledger: Connection) -> None:
    silent = ledger.execute("""
        SELECT c.relname || coalesce('.' || a.attname, '')
        FROM pg_class c
        LEFT JOIN LATERAL (
            SELECT attname, attnum FROM pg_attribute
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND c.relkind = 'r'
            UNION ALL SELECT NULL, 0
        ) a ON true
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
          AND col_description(c.oid, a.attnum) IS NULL
          AND (a.attnum > 0 OR obj_description(c.oid) IS NULL)
        UNION ALL
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
    """).fetchall()
    assert silent == []


IN_THE_CATALOG = {
    "tables": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    "columns": """
        SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'""",
    "functions": "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "triggers": "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal",
    "rules": """
        SELECT i.indrelid::regclass::text, x.relname
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE x.relnamespace = 'public'::regnamespace AND NOT i.indisprimary
        UNION SELECT conrelid::regclass::text, conname FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'u', 'x')""",
}


EXCLUSIONS = "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'x'"


def test_what_is_read_from_the_statements_is_what_they_make(ledger: Connection) -> None:
    """By that, `verify` names what is missing, and a pass switches triggers on again."""
    made = made_by(schema.statements())
    found = {
        what: {row if len(row) > 1 else row[0] for row in ledger.execute(query.encode())}
        for what, query in IN_THE_CATALOG.items()
    }
    # Rules within CREATE TABLE are not looked for one by one: they come and go with the table.
    assert made.rules <= found["rules"]
    assert set(ledger.execute(EXCLUSIONS)) <= made.rules
    assert {what: getattr(made, what) for what in found if what != "rules"} == {
        what: names for what, names in found.items() if what != "rules"
    }


# Made, again, at once, and removed


def test_applied_twice_it_is_the_same_and_keeps_its_rows(ledger_url: str, ledger: Connection) -> None:
    apply(ledger_url, FIRST, SECOND)
    before, rows = catalog(ledger_url), row_counts(ledger)
    done = Command(Path("/"))("schema", "apply", "--database-url", ledger_url)
    assert (done.status, done.err) == (0, "")
    assert catalog(ledger_url) == before
    assert row_counts(ledger) == rows


def test_several_first_runs_at_once_make_one_schema_and_one_backfill(
    tmp_path: Path, database: str
) -> None:
    command = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})
    arguments = [("run", "--snapshot", FIRST, "--output", "json")] * 3 + [("schema", "apply")]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda given: command(*given), arguments))
    assert [one.status for one in done] == [0] * 4, [one.err for one in done]
    assert sorted(one.report["lifecycleInserted"] for one in done[:3]) == [0, 0, 8]
    with psycopg.connect(database) as connection:
        assert row_counts(connection)["reconciler_passes"] == 3


BACK_TO_VERSION_1 = """
DROP TABLE reconciler_moves, reconciler_decisions;
DROP INDEX tenant_skill_events_first, tenant_skill_events_later, tenant_skill_events_time,
    tenant_suspension_events_lifecycle, tenant_suspension_events_time;
ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_beginning_is_explained,
    ADD CONSTRAINT tenant_billing_lifecycle_begin_is_explained CHECK (created_time_source = 'creation');
UPDATE reconciler_schema SET version = 1;
"""


def test_a_schema_of_version_1_is_brought_up_to_date_by_the_next_pass(
    command: Command, ledger: Connection, ledger_url: str
) -> None:
    def shape() -> list[tuple[Any, ...]]:
        return [row for row in catalog(ledger_url) if row[0] != "comment"]

    apply(ledger_url, FIRST)
    before = shape()
    drop = (Path(__file__).parents[2] / "schema" / "drop.sql").read_text(encoding="utf-8")
    (of_usage,) = (part for part in drop.split(";") if "billing_usage" in part)
    ledger.execute(of_usage.encode())
    ledger.execute(BACK_TO_VERSION_1.encode())
    assert len(shape()) < len(before)

    dry = command("run", "--dry-run", "--snapshot", SECOND)
    assert (dry.status, dry.out) == (1, "")
    assert "`reconciler schema apply`, or the next pass, upgrades it" in dry.err

    done = command("run", "--snapshot", SECOND)

    assert done.status == 0, done.err
    assert "version 3" in done.err
    assert shape() == before
    versions = ledger.execute("SELECT version FROM reconciler_schema ORDER BY 1").fetchall()
    assert versions == [(1,), (3,)]
    usage = command("usage", "--month", "2026-11", "--output", "json")
    assert usage.report["lastPass"] == 2


def test_a_schema_newer_than_the_program_is_left_alone(command: Command, ledger: Connection) -> None:
    ledger.execute("INSERT INTO reconciler_schema (version) VALUES (1000)")
    for arguments in (("run", "--snapshot", FIRST), ("run", "--dry-run", "--snapshot", FIRST)):
        done = command(*arguments)
        assert (done.status, done.out) == (1, "")
        assert "1000" in done.err
        assert "newer" in done.err
    assert set(row_counts(ledger).values()) == {0}


def test_dropping_removes_everything(tmp_path: Path, database: str) -> None:
    command = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})
    before = catalog(database)
    apply_all = command("run", "--snapshot", SAMPLES)
    assert apply_all.status == 0
    assert len(catalog(database)) > len(before) + 100
    assert command("schema", "drop", "--yes").status == 0
    assert catalog(database) == before
    assert command("schema", "drop", "--yes").status == 0  # nothing left is nothing wrong


def test_dropping_needs_yes_where_nobody_can_be_asked(command: Command, ledger: Connection) -> None:
    done = command("schema", "drop")
    assert (done.status, done.out) == (2, "")
    assert "--yes" in done.err
    assert len(row_counts(ledger)) == len(WRITTEN_BY_A_PASS)


@pytest.mark.parametrize(("answer", "status", "left"), [("drop", 0, 0), ("yes", 2, 1), ("", 2, 1)])
def test_dropping_asks_on_a_terminal(
    command: Command, ledger: Connection, answer: str, status: int, left: int
) -> None:
    ours, its = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [*command.program, "schema", "drop"],
        stdin=its,
        capture_output=True,
        env=command.environment(),
        check=False,
    )
    os.close(ours)
    os.close(its)
    assert done.returncode == status
    there = ledger.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'invoices'").fetchone()
    assert there == (left,)
