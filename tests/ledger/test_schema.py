"""The schema of the ledger in a real Postgres: complete, repeatable, and against every writer."""
# ruff: noqa: S608 - the names in these statements are our own

import os
import pty
import random
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from reconciler.core.guard import Limits
from reconciler.core.tenant import Snapshot, Tenant, Unreadable
from reconciler.ledger.books import Ledger
from reconciler.passes import Pass, run_pass
from tests.command_line.snapshots import WRITTEN_BY_A_PASS, apply, row_counts, snapshot, tenant
from tests.conftest import SAMPLES, Command, open_database

Connection = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"

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
    " stripe_customer_id",
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


# What there is -------------------------------------------------------------------------------------


def test_the_eleven_tables_have_the_columns_that_others_use(ledger: Connection) -> None:
    found = ledger.execute(
        "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns"
        " WHERE table_schema = 'public' GROUP BY table_name"
    )
    columns = {table: set(names) for table, names in found}
    assert len(FIXED_COLUMNS) == 11
    for table, names in FIXED_COLUMNS.items():
        assert set(names.split()) <= columns[table], table
    assert all(name.startswith("reconciler_") for name in columns.keys() - FIXED_COLUMNS.keys())


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
    numerics = {row[0]: row[2:] for row in kinds if row[1] == "numeric"}
    assert numerics["platform_pricing.tenant_monthly_fee_chf"] == (10, 2)
    assert numerics["platform_pricing.tenant_setup_fee_chf"] == (10, 2)
    assert numerics["platform_pricing.threema_message_chf"] == (10, 5)
    assert numerics["skill_pricing.daily_price_chf"] == (10, 5)


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


# Made, again, at once, and removed -----------------------------------------------------------------


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

    done = command("run", "--snapshot", SECOND)

    assert done.status == 0, done.err
    assert "version 2" in done.err
    assert shape() == before
    versions = ledger.execute("SELECT version FROM reconciler_schema ORDER BY 1").fetchall()
    assert versions == [(1,), (2,)]
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


# Who may do what -----------------------------------------------------------------------------------


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


APPEND_ONLY = ("tenant_skill_events", "tenant_suspension_events", "reconciler_passes")


@pytest.mark.parametrize("table", [*APPEND_ONLY, "tenant_billing_lifecycle"])
def test_what_is_written_stays_even_against_its_owner(
    ledger: Connection, ledger_url: str, table: str
) -> None:
    apply(ledger_url, FIRST, SECOND)
    column = "source" if table == "reconciler_passes" else "tenant_name"
    for statement in (
        f"UPDATE {table} SET {column} = 'other'",
        f"UPDATE {table} SET id = id + 1000",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    ):
        with pytest.raises(errors.RestrictViolation):
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


# The events alternate ------------------------------------------------------------------------------


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
    with pytest.raises(errors.CheckViolation, match="ends_after_it_begins"):
        ledger.execute("""
            UPDATE tenant_billing_lifecycle
            SET deleted_at = created_at - interval '1 second',
                deleted_not_before = created_at - interval '1 day',
                deleted_time_source = 'observed', deleted_observed_at = created_observed_at,
                deleted_pass_id = created_pass_id
        """)


# The known state can be had from the events --------------------------------------------------------

START = datetime(2026, 11, 1, tzinfo=UTC)
SKILLS = ("mail", "wiki", "chat", "Chat", "ä", "z'", "x" * 200)
NOT_AS_IT_SHOULD_BE = {
    "state and events": """
        (SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_state
         EXCEPT SELECT * FROM reconciler_derived_state())
        UNION ALL
        (SELECT * FROM reconciler_derived_state()
         EXCEPT SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_state)""",
    "intervals": """
        SELECT * FROM tenant_skill_events
        WHERE NOT (not_before <= occurred_at AND occurred_at <= observed_at)""",
    "order within a subject": """
        SELECT * FROM (
            SELECT occurred_at,
                   lag(occurred_at) OVER (PARTITION BY lifecycle_id, skill_id ORDER BY ordinal) AS before
            FROM tenant_skill_events
            UNION ALL
            SELECT occurred_at, lag(occurred_at) OVER (PARTITION BY lifecycle_id ORDER BY ordinal)
            FROM tenant_suspension_events
        ) e WHERE occurred_at < before""",
    "rows outside their lifecycle": """
        SELECT * FROM (
            SELECT lifecycle_id, occurred_at FROM tenant_skill_events
            UNION ALL SELECT lifecycle_id, occurred_at FROM tenant_suspension_events
        ) e JOIN tenant_billing_lifecycle l ON l.id = e.lifecycle_id
        WHERE occurred_at < created_at OR occurred_at > deleted_at""",
}


class Given:
    """A snapshot that is there already."""

    is_live = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot


def random_history(seed: int) -> Iterator[Snapshot]:
    """A cluster in which everything happens that can happen, as seen every now and then."""
    chance, now, lives, there = random.Random(seed), START, 0, dict[str, Tenant]()  # noqa: S311
    for _ in range(40):
        now += timedelta(seconds=chance.randint(1, 3) * chance.choice((0.5, 60, 86_400)))
        for name in ("ada", "bea", "cleo", "dora", "edda", "flora", "grit", "hanna"):
            known = there.pop(name, None)
            if known is None and chance.random() < 0.5:
                continue
            is_new = known is None or known.deleted_at is not None or chance.random() < 0.1
            lives += is_new
            there[name] = Tenant(
                uid=f"uid-{lives}" if known is None or is_new else known.uid,
                name=name,
                org="org",
                created_at=now - timedelta(seconds=1) if known is None or is_new else known.created_at,
                skills=tuple(sorted(chance.sample(SKILLS, chance.randint(0, 4)))),
                suspended=chance.random() < 0.4,
                suspended_at=chance.choice((None, now, now - timedelta(days=1))),
                deleted_at=now if chance.random() < 0.1 else None,
            )
            if chance.random() < 0.1:
                del there[name]
        sick = {name for name in there if chance.random() < 0.1}
        yield Snapshot(
            tenants=[one for name, one in there.items() if name not in sick],
            unreadable=[Unreadable(uid=there[name].uid, name=name, reason="spec: x") for name in sick],
            asked_at=now,
            observed_at=now + timedelta(seconds=chance.random()),
            source="random",
        )


@pytest.mark.parametrize("seed", range(3))
def test_the_known_state_is_what_the_events_say_after_any_history(
    ledger: Connection, ledger_url: str, seed: int
) -> None:
    with closing(open_database(ledger_url)) as database:

        def make(snapshot: Snapshot) -> Pass:
            return run_pass(Given(snapshot), Ledger(database), Limits(allow_deletions=100))

        for snapshot_ in random_history(seed):
            make(snapshot_)
            assert list(make(snapshot_).plan.rows()) == []
            for what, query in NOT_AS_IT_SHOULD_BE.items():
                assert ledger.execute(query.encode()).fetchall() == [], what
    counts = row_counts(ledger)
    assert counts["tenant_skill_events"] > 100
    assert counts["tenant_suspension_events"] > 30
    assert counts["tenant_billing_lifecycle"] > 20
