"""What others in the database can do to the ledger: roles, temporary tables, operators, clocks."""

# ruff: noqa: S608 - the names in these statements are our own

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row

from reconciler.commands.loop import LEADER
from reconciler.ledger.postgres import FIRST_LOCK, WRITE_LOCK, Database
from tests.billing.invoices import issue
from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import CHECKOUT, Command

Ledger = psycopg.Connection[Any]

OURS = (
    "p.pronamespace = current_schema()::regnamespace"
    " AND p.proname ~ '^(reconciler|billing|next_invoice)_'"
)
"""Our functions in the catalog."""

PLANNED_WITH_THE_CALLER = {
    "reconciler_lifecycles",
    "reconciler_portal_lives",
    "reconciler_skill_spans",
    "reconciler_tenant_spans",
}
"""They set no search_path, because then they would be planned on their own. Their callers set one."""


@pytest.fixture
def role(ledger: Ledger) -> Iterator[str]:
    """A role that may log in, and nothing else."""
    name = f"other_{uuid4().hex}"
    ledger.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    ledger.execute(f"DROP OWNED BY {name} CASCADE")
    ledger.execute(f"DROP ROLE {name}")


@pytest.fixture
def runner(command: Command, role: str) -> str:
    """A role that runs passes, on a ledger that has one."""
    assert command("schema", "apply", "--grant-runner", role).status == 0
    file = snapshot(command.folder, "20261101T000000Z", tenant("ada", "mail"), tenant("bea"))
    assert command("run", "--snapshot", file).status == 0
    return role


def acting_as(url: str, role: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(url.replace("postgres@", f"{role}@"), autocommit=True)


def verified(command: Command) -> tuple[int, str]:
    ran = command("verify", "--ledger-only", "--deep")
    return ran.status, ran.out + ran.err


def test_every_function_says_where_its_names_are_looked_up(ledger: Ledger) -> None:
    free = ledger.execute(
        "SELECT p.proname FROM pg_proc p WHERE p.prosqlbody IS NULL AND NOT EXISTS ("
        "  SELECT FROM unnest(p.proconfig) AS setting"
        f"  WHERE setting ~ '^search_path=pg_catalog, .*, pg_temp$') AND {OURS}"
    ).fetchall()
    assert {name for (name,) in free} == PLANNED_WITH_THE_CALLER


def test_nobody_may_call_a_function_that_writes_by_being_there(ledger: Ledger) -> None:
    public = ledger.execute(
        "SELECT p.proname FROM pg_proc p"
        " CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl"
        " WHERE acl.grantee = 0 AND (p.prosecdef OR p.prorettype = 'trigger'::regtype"
        f" OR p.proname ~ '(record|next_invoice)_') AND {OURS}"
    ).fetchall()
    assert public == []


def test_every_trigger_on_our_tables_calls_a_function_of_ours(ledger: Ledger) -> None:
    strange = ledger.execute(
        "SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE NOT t.tgisinternal AND NOT ({OURS})"
    ).fetchall()
    assert strange == []


def test_the_rollback_drops_every_function(ledger: Ledger) -> None:
    names = {name for (name,) in ledger.execute(f"SELECT p.proname FROM pg_proc p WHERE {OURS}")}
    assert names
    dropped = (CHECKOUT / "schema" / "drop.sql").read_text(encoding="utf-8")
    assert {name for name in names if name not in dropped} == set()


def test_who_has_no_right_hangs_no_function_of_ours_on_a_table_of_his_own(
    ledger: Ledger, ledger_url: str, role: str
) -> None:
    ledger.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    triggers = ledger.execute(
        f"SELECT p.proname FROM pg_proc p WHERE p.prorettype = 'trigger'::regtype AND {OURS}"
    ).fetchall()
    with acting_as(ledger_url, role) as other:
        other.execute(f"CREATE TABLE {role}.mine (id bigint)")
        for (name,) in triggers:
            with pytest.raises(InsufficientPrivilege, match=name):
                other.execute(
                    f"CREATE TRIGGER his AFTER INSERT ON {role}.mine FOR EACH ROW"
                    f" EXECUTE FUNCTION public.{name}()"
                )


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("tenant_skill_events", "id, tenant_name) VALUES (9e15, 'ada')"),
        ("tenant_suspension_events", "id, tenant_name) VALUES (9e15, 'ada')"),
        ("reconciler_passes", "id, source) VALUES (9e15, 'x')"),
        ("reconciler_passes", "written_at, source) VALUES ('2020-01-01Z', 'x')"),
    ],
)
def test_who_runs_passes_gives_no_row_a_number_or_a_date(
    ledger_url: str, runner: str, table: str, values: str
) -> None:
    with acting_as(ledger_url, runner) as other, pytest.raises(InsufficientPrivilege):
        other.execute(f"INSERT INTO {table} ({values}")


PASS = (
    "source, program_version, tenants_examined, lifecycle_inserted, lifecycle_deleted, events_inserted,"
    " suspension_events_inserted, asked_at, observed_at"
)
IN_2026 = "'x', '1', 0, 0, 0, 0, 0, '2026-11-02Z', '2026-11-02Z'"
SETBACK = (
    "INSERT INTO reconciler_setbacks"
    " (cluster_uid, after_pass_id, found_at, resource_version, ledger_version) VALUES ('c', 1, "
)
STATE = (
    "DELETE FROM reconciler_state;"
    "INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at)"
    " SELECT id, '{}', false, 'infinity' FROM tenant_billing_lifecycle"
)


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO reconciler_passes ({PASS}) VALUES ({IN_2026[:-13]}'infinity')",
        f"INSERT INTO reconciler_passes ({PASS}, quarantined) VALUES ({IN_2026}, '{{\"a\": 1}}')",
        f"INSERT INTO reconciler_passes ({PASS}, held_back) VALUES ({IN_2026}, '1')",
        f"{SETBACK}'2026-11-02Z', 'x', '1')",
        f"{SETBACK}'2026-11-02Z', '1', '{'9' * 41}')",
        f"{SETBACK}'infinity', '1', '2')",
        STATE,
    ],
)
def test_what_no_pass_could_read_again_is_refused(ledger_url: str, runner: str, statement: str) -> None:
    with acting_as(ledger_url, runner) as other, pytest.raises(psycopg.errors.CheckViolation):
        other.execute(statement)


@pytest.mark.parametrize(
    ("given", "refused"),
    [("9223372036854775807", True), ("currval('tenant_billing_lifecycle_id_seq')", False)],
)
def test_a_lifecycle_has_its_number_from_the_sequence(
    ledger_url: str, runner: str, given: str, *, refused: bool
) -> None:
    with acting_as(ledger_url, runner) as other:
        other.execute("BEGIN; SELECT nextval('tenant_billing_lifecycle_id_seq')")
        other.execute(f"INSERT INTO reconciler_passes ({PASS}) VALUES ({IN_2026})")
        lifecycle = (
            "INSERT INTO tenant_billing_lifecycle (id, tenant_name, tenant_uid, zitadel_org_id,"
            " created_at, created_not_before, created_observed_at, created_time_source, created_pass_id)"
            f" SELECT {given}, 'x', 'x', 'o', observed_at, observed_at, observed_at, 'creation', id"
            " FROM reconciler_passes ORDER BY id DESC LIMIT 1"
        )
        if refused:
            with pytest.raises(psycopg.errors.RestrictViolation, match="not from its sequence"):
                other.execute(lifecycle)
        else:
            other.execute(lifecycle)
        other.execute("ROLLBACK")


def test_nobody_has_the_number_of_a_pass_before_he_has_the_lock(
    ledger: Ledger, ledger_url: str, runner: str
) -> None:
    """Otherwise a position that was given out would change when the pass is committed."""
    with acting_as(ledger_url, runner) as other:
        other.execute("BEGIN")
        other.execute(f"INSERT INTO reconciler_passes ({PASS}) VALUES ({IN_2026})")
        with pytest.raises(psycopg.errors.LockNotAvailable), ledger.transaction():
            ledger.execute(f"{WRITE_LOCK} NOWAIT")
        other.execute("ROLLBACK")
    ledger.execute("BEGIN")
    ledger.execute(WRITE_LOCK)
    number = "SELECT last_value FROM reconciler_passes_id_seq"
    before = ledger.execute(number).fetchall()
    with acting_as(ledger_url, runner) as other:
        other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(f"INSERT INTO reconciler_passes ({PASS}) VALUES ({IN_2026})")
    assert ledger.execute(number).fetchall() == before
    ledger.execute("ROLLBACK")


@pytest.mark.parametrize("table", ["reconciler_reopenings", "reconciler_rebindings"])
def test_a_temporary_table_of_ours_name_changes_no_lifecycle(
    ledger: Ledger, ledger_url: str, runner: str, command: Command, table: str
) -> None:
    file = snapshot(command.folder, "20261102T000000Z", tenant("ada", "mail"))
    assert command("run", "--snapshot", file).status == 0
    ledger.execute(f"GRANT TEMPORARY ON DATABASE {ledger.info.dbname} TO {runner}")
    ended = (
        "SELECT id, tenant_uid, deleted_at, deleted_pass_id FROM tenant_billing_lifecycle ORDER BY id"
    )
    before = ledger.execute(ended).fetchall()
    with acting_as(ledger_url, runner) as other:
        other.execute(f"CREATE TEMPORARY TABLE {table} AS SELECT * FROM public.{table}")
        other.execute(
            "INSERT INTO reconciler_reopenings (pass_id, lifecycle_id, deleted_at, deleted_pass_id)"
            " SELECT 1, id, deleted_at, deleted_pass_id FROM tenant_billing_lifecycle"
            " WHERE deleted_at IS NOT NULL"
            if table == "reconciler_reopenings"
            else "INSERT INTO reconciler_rebindings (pass_id, lifecycle_id, old_uid, new_uid)"
            " SELECT 1, id, tenant_uid, 'stolen' FROM tenant_billing_lifecycle"
        )
        change = "deleted_at = NULL" if table == "reconciler_reopenings" else "tenant_uid = 'stolen'"
        with pytest.raises(psycopg.errors.RestrictViolation):
            other.execute(f"UPDATE tenant_billing_lifecycle SET {change}")
    assert ledger.execute(ended).fetchall() == before
    assert verified(command)[0] == 0


def test_an_operator_of_ones_own_changes_no_issued_invoice(
    ledger: Ledger, ledger_url: str, role: str
) -> None:
    with psycopg.connect(ledger_url, autocommit=True, row_factory=dict_row) as portal:
        invoice = issue(portal)
    ledger.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    ledger.execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
    with acting_as(ledger_url, role) as other:
        other.execute(
            f"CREATE FUNCTION {role}.never(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT false'"
        )
        other.execute(
            f"CREATE OPERATOR {role}.<> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = {role}.never)"
        )
        other.execute(f"SET search_path = {role}, public, pg_catalog")
        with pytest.raises(psycopg.errors.RestrictViolation):
            other.execute("UPDATE invoices SET billing_name = 'Other' WHERE id = %s", [invoice["id"]])


def test_a_decision_is_dated_and_signed_by_the_database(
    ledger: Ledger, ledger_url: str, command: Command, role: str
) -> None:
    assert command("schema", "apply", "--grant-operator", role).status == 0
    with acting_as(ledger_url, role) as other:
        other.execute(
            "INSERT INTO reconciler_decisions (decided_at, decided_by, database_user, table_name, after)"
            " VALUES ('2020-01-01Z', 'me', 'postgres', 'platform_pricing', '{}')"
        )
    assert ledger.execute(
        "SELECT database_user, decided_at > now() - interval '1 hour' FROM reconciler_decisions"
    ).fetchall() == [(role, True)]


def test_a_clock_that_was_set_back_moves_no_pass_before_an_earlier_one(
    ledger: Ledger, command: Command, tmp_path: Path
) -> None:
    assert (
        command("run", "--snapshot", snapshot(tmp_path, "20261101T000000Z", tenant("ada"))).status == 0
    )
    ahead = "2200-01-01 00:00:00+00"
    ledger.execute("ALTER TABLE reconciler_passes DISABLE TRIGGER USER")
    ledger.execute("UPDATE reconciler_passes SET written_at = %s", [ahead])
    ledger.execute("ALTER TABLE reconciler_passes ENABLE TRIGGER USER")
    assert (
        command("run", "--snapshot", snapshot(tmp_path, "20261102T000000Z", tenant("ada"))).status == 0
    )
    written = "SELECT written_at = %s FROM reconciler_passes ORDER BY id"
    assert ledger.execute(written, [ahead]).fetchall() == [(True,), (True,)]
    # Nor does a void come before what it voids, or a pass before the void.
    assert command("void", "1", "--because", "tried", "--yes").status == 0
    assert (
        command("run", "--snapshot", snapshot(tmp_path, "20261102T000000Z", tenant("ada"))).status == 0
    )
    assert ledger.execute(written, [ahead]).fetchall() == [(True,)]
    voided = ledger.execute("SELECT decided_at = %s FROM reconciler_voids", [ahead])
    assert voided.fetchall() == [(True,)]


# One writer -----------------------------------------------------------------------------------------


def test_who_may_only_read_cannot_keep_a_writer_waiting(
    ledger_url: str, role: str, command: Command
) -> None:
    assert command("schema", "apply", "--grant-reader", role).status == 0
    file = snapshot(command.folder, "20261101T000000Z", tenant("ada", "mail"))
    with acting_as(ledger_url, role) as reader, reader.transaction():
        with pytest.raises(InsufficientPrivilege), reader.transaction():
            reader.execute(WRITE_LOCK)
        # As the lock was taken until version 3, and as it is taken before there is a schema.
        reader.execute(FIRST_LOCK)
        reader.execute("SELECT FROM reconciler_passes, tenant_billing_lifecycle")
        assert command("run", "--snapshot", file, "--lock-timeout", "1s").status == 0


def test_a_schema_of_ones_own_name_gives_no_lock_of_ones_own(
    ledger: Ledger, ledger_url: str, runner: str, command: Command
) -> None:
    """Its owner's current_schema() is another one, and the tables are the same."""
    ledger.execute(f"CREATE SCHEMA {runner} AUTHORIZATION {runner}")
    file = snapshot(command.folder, "20261102T000000Z", tenant("ada"), tenant("bea"))
    his = ledger_url.replace("postgres@", f"{runner}@")
    with ledger.transaction():
        ledger.execute(WRITE_LOCK)
        waits = command("run", "--snapshot", file, "--lock-timeout", "200ms", "--database-url", his)
    assert waits.status == 1, waits.err
    assert "--lock-timeout" in waits.err
    again = command("run", "--snapshot", file, "--database-url", his)
    assert again.status == 0, again.err
    assert verified(command)[0] == 0


def test_who_sets_prices_from_a_schema_of_his_own_waits_for_a_pass(
    ledger: Ledger, ledger_url: str, role: str, command: Command
) -> None:
    assert command("schema", "apply", "--grant-operator", role).status == 0
    ledger.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    his = "--database-url", ledger_url.replace("postgres@", f"{role}@")
    price = "pricing", "set", "--tenant-monthly-fee-chf", "12", "--by", "ada@example.org"
    with ledger.transaction():
        ledger.execute(WRITE_LOCK)
        waits = command(*price, *his, "--lock-timeout", "200ms")
    assert (waits.status, "Traceback" in waits.err) == (1, False), waits.err
    assert command(*price, *his).status == 0


def test_a_schema_that_was_renamed_is_told_of_and_mended_by_the_next_pass(
    ledger: Ledger, ledger_url: str, runner: str, command: Command
) -> None:
    ledger.execute("ALTER SCHEMA public RENAME TO billing")
    ledger.execute(f"ALTER DATABASE {ledger.info.dbname} SET search_path = billing")
    file = snapshot(command.folder, "20261102T000000Z", tenant("ada"), tenant("bea"))
    found = command("verify", "--ledger-only")
    assert found.status == 5
    assert "the schema was renamed" in found.out

    his = "--database-url", ledger_url.replace("postgres@", f"{runner}@")
    refused = command("run", "--snapshot", file, *his)
    assert refused.status != 0
    assert "reconciler schema apply" in refused.err
    assert command("run", "--snapshot", file, "--dry-run", *his).status == refused.status

    mended = command("run", "--snapshot", file)
    assert mended.status == 0, mended.err
    assert verified(command)[0] == 0
    assert command("run", "--snapshot", file, *his).status == 0


def test_a_trigger_that_was_switched_off_is_told_of_and_mended_by_the_next_pass(
    ledger: Ledger, ledger_url: str, runner: str, command: Command
) -> None:
    """Without its trigger the pass would have no digest."""
    ledger.execute("ALTER TABLE reconciler_passes DISABLE TRIGGER USER")
    file = snapshot(command.folder, "20261102T000000Z", tenant("ada"), tenant("bea"))
    status, said = verified(command)
    assert status == 5
    assert "is missing or switched off" in said

    his = "--database-url", ledger_url.replace("postgres@", f"{runner}@")
    refused = command("run", "--snapshot", file, *his)
    assert refused.status == 2
    assert "reconciler schema apply" in refused.err
    assert command("run", "--snapshot", file, "--dry-run", *his).status == 2

    mended = command("run", "--snapshot", file)
    assert mended.status == 0, mended.err
    assert "is switched on again" in mended.err
    found = verified(command)
    assert found[0] == 0, found[1]


def test_schema_apply_switches_every_trigger_on_again(ledger: Ledger, command: Command) -> None:
    off = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'D'"
    for (table,) in ledger.execute(
        "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    ).fetchall():
        ledger.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    assert ledger.execute(off).fetchall()
    assert command("schema", "apply").status == 0
    assert ledger.execute(off).fetchall() == []


def test_operators_in_front_of_postgres_own_make_no_other_row(
    ledger: Ledger, ledger_url: str, runner: str, command: Command
) -> None:
    """The session has the path that its role was given, which our statements do not follow."""
    ledger.execute(f"CREATE SCHEMA {runner} AUTHORIZATION {runner}")
    with acting_as(ledger_url, runner) as other:
        for sort in ("text", "bigint"):
            other.execute(
                f"CREATE FUNCTION {runner}.never({sort}, {sort}) RETURNS boolean LANGUAGE sql"
                " AS 'SELECT false'"
            )
            other.execute(
                f"CREATE OPERATOR {runner}.= (LEFTARG = {sort}, RIGHTARG = {sort},"
                f" FUNCTION = {runner}.never)"
            )
        other.execute(f"ALTER ROLE {runner} SET search_path = {runner}, public, pg_catalog")
    his = "--database-url", ledger_url.replace("postgres@", f"{runner}@")
    for day, packages in ((2, ["wiki"]), (3, ["mail", "wiki"]), (4, [])):
        tenants = tenant("ada", *packages), tenant("bea", "mail", suspend=day == 3)
        file = snapshot(command.folder, f"2026110{day}T000000Z", *tenants)
        ran = command("run", "--snapshot", file, *his)
        assert ran.status == 0, ran.err
    assert verified(command)[0] == 0
    events = ledger.execute(
        "SELECT skill_id, event_kind, ordinal FROM tenant_skill_events WHERE tenant_name = 'ada'"
        " ORDER BY 1, 3"
    ).fetchall()
    assert events == [
        ("mail", "enabled", 1),
        ("mail", "disabled", 2),
        ("mail", "enabled", 3),
        ("mail", "disabled", 4),
        ("wiki", "enabled", 1),
        ("wiki", "disabled", 2),
    ]


def test_who_may_only_read_cannot_keep_a_loop_from_leading(
    ledger_url: str, role: str, command: Command
) -> None:
    assert command("schema", "apply", "--grant-reader", role).status == 0
    first, second = Database(ledger_url), Database(ledger_url)
    his = Database(ledger_url.replace("postgres@", f"{role}@"))
    with closing(first), closing(second), closing(his):
        assert his.holds(LEADER)
        assert first.holds(LEADER)
        his.close()
        first.close()
        assert first.holds(LEADER)
        assert not second.holds(LEADER)
