"""What others plant in the database: functions, operators, rules, prices, and rows as no pass writes."""

# ruff: noqa: S608 - the names in these statements are our own

import json
from typing import Any

import psycopg
import pytest
from psycopg.errors import AmbiguousFunction
from psycopg.rows import dict_row

from tests.billing.invoices import issue
from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command, Ran
from tests.ledger.test_other_people import acting_as, runner
from tests.ledger.test_other_people import role as nobody

__all__ = ["nobody", "runner"]

Ledger = psycopg.Connection[Any]


@pytest.fixture
def role(ledger: Ledger, nobody: str) -> str:
    """A role that may create objects beside the ledger's, as everybody could before Postgres 15."""
    ledger.execute(f"GRANT CREATE ON SCHEMA public TO {nobody}")
    return nobody


def passed(command: Command, day: int, *tenants: dict[str, Any], **settings: str) -> Ran:
    file = snapshot(command.folder, f"202611{day:02}T000000Z", *tenants)
    return command("run", "--snapshot", file, **settings)


# Names ---------------------------------------------------------------------------------------------

MADE = "RETURNS {0} LANGUAGE sql AS 'SELECT NULL::{0}'"
NEVER = "CREATE FUNCTION public.never(text[], text[]) RETURNS boolean LANGUAGE sql AS 'SELECT false'"
UNEQUAL = "CREATE OPERATOR public.<> (LEFTARG = text[], RIGHTARG = text[], FUNCTION = public.never)"
BETTER = (
    f"CREATE FUNCTION public.to_jsonb(public.invoices) {MADE.format('jsonb')}",
    f"CREATE FUNCTION public.to_jsonb(public.skill_pricing) {MADE.format('jsonb')}",
    f"CREATE FUNCTION public.reconciler_encoded(integer, text, text) {MADE.format('bytea')}",
    f"{NEVER}; {UNEQUAL}",
)
"""Each matches the arguments of a call of ours better than what is meant."""


@pytest.mark.parametrize("better", BETTER, ids=["invoices", "prices", "digests", "operator"])
def test_what_would_be_called_in_place_of_our_own_is_refused_before_it_is(
    command: Command, ledger: Ledger, ledger_url: str, role: str, better: str
) -> None:
    with psycopg.connect(ledger_url, autocommit=True, row_factory=dict_row) as portal:
        invoice = issue(portal)
    with acting_as(ledger_url, role) as other:
        other.execute(better.encode())
    for statement in (
        f"UPDATE invoices SET billing_name = 'Other' WHERE id = {invoice['id']}",
        "INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('mail', 1)",
        "SELECT billing_set_price('daily_price_chf', 1, NULL, 'mail')",
    ):
        with pytest.raises(AmbiguousFunction, match=f"of the role {role} may be called in place"):
            ledger.execute(statement.encode())
    for done in (
        passed(command, 1, tenant("ada")),
        command(
            "run", "--dry-run", "--snapshot", snapshot(command.folder, "20261102T000000Z", tenant("a"))
        ),
        command("schema", "apply"),
        command("verify", "--ledger-only"),
        command("usage", "--month", "2026-10"),
    ):
        assert (done.status, done.out) == (1, "")
        assert (
            f"of the role {role} may be called in place of one of Postgres or of reconciler; if it is"
            in done.err
        )
        assert "Traceback" not in done.err
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone() == (0,)


def test_a_function_of_the_portal_with_a_name_of_its_own_is_in_nobodys_way(
    command: Command, ledger_url: str, role: str
) -> None:
    with acting_as(ledger_url, role) as other:
        other.execute(
            "CREATE FUNCTION public.portal_slug(text) RETURNS text LANGUAGE sql AS 'SELECT $1'"
        )
        other.execute("CREATE TABLE public.portal_things (id int)")
    assert passed(command, 1, tenant("ada")).status == 0


def test_a_second_ledger_on_the_search_path_is_told_of(
    command: Command, ledger: Ledger, runner: str
) -> None:
    ledger.execute(f"CREATE SCHEMA {runner} AUTHORIZATION {runner}")
    ledger.execute(f"CREATE TABLE {runner}.reconciler_passes (id bigint)")
    settings = {
        "RECONCILER_DATABASE_URL": command.settings["RECONCILER_DATABASE_URL"].replace(
            "postgres@", f"{runner}@"
        )
    }
    done = command(
        "run", "--snapshot", snapshot(command.folder, "20261103T000000Z", tenant("ada")), **settings
    )
    assert done.status == 1
    assert "there are several ledgers on the search path" in done.err
    ledger.execute(f"DROP SCHEMA {runner} CASCADE")


def test_a_session_in_which_no_trigger_runs_writes_nothing(command: Command, ledger: Ledger) -> None:
    name = ledger.info.dbname
    ledger.execute(f"ALTER DATABASE {name} SET session_replication_role = replica")
    done = passed(command, 1, tenant("ada"))
    assert done.status == 1
    assert "no trigger runs, and no pass is sealed; ALTER ROLE" in done.err
    ledger.execute(f"ALTER DATABASE {name} RESET session_replication_role")
    ledger.execute(f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    ledger.execute(f"ALTER DATABASE {name} SET plpgsql.extra_errors = 'all'")
    assert command("schema", "apply").status == 0
    assert passed(command, 1, tenant("ada")).status == 0


# Prices --------------------------------------------------------------------------------------------

PLAN = "SELECT * FROM billing_set_price('daily_price_chf', 1, current_date + 2, '{skill}')"


def fall_due(ledger: Ledger) -> None:
    """What was planned is valid by now."""
    ledger.execute("SET session_replication_role = replica")
    ledger.execute("UPDATE reconciler_price_history SET valid_from = current_date - 1 WHERE is_planned")
    ledger.execute("SET session_replication_role = origin")


@pytest.mark.parametrize(
    ("rule", "skill", "error"),
    [
        (None, "x" * 9000, "index row"),
        ("ADD CHECK (skill_id <> 'voice')", "voice", "check constraint"),
        ("ADD FOREIGN KEY (skill_id) REFERENCES skills", "voice", "foreign key"),
    ],
)
def test_a_price_that_its_table_would_not_take_is_refused_when_it_is_planned(
    ledger: Ledger, rule: str | None, skill: str, error: str
) -> None:
    ledger.execute("CREATE TABLE skills (skill_id text PRIMARY KEY)")
    if rule:
        ledger.execute(f"ALTER TABLE skill_pricing {rule}".encode())
    else:
        skill = "".join(map(str, range(4000)))
    with pytest.raises(psycopg.Error, match=error):
        ledger.execute(PLAN.format(skill=skill).encode())
    assert ledger.execute("SELECT count(*) FROM skill_pricing").fetchone() == (0,)


def test_a_price_that_falls_due_and_is_not_taken_stops_no_pass(command: Command, ledger: Ledger) -> None:
    for skill in ("mail", "voice", "wiki"):
        ledger.execute(PLAN.format(skill=skill).encode())
    fall_due(ledger)
    ledger.execute("ALTER TABLE skill_pricing ADD CHECK (skill_id <> 'voice')")
    done = passed(command, 1, tenant("ada", "voice"))
    assert done.status == 0, done.err
    assert "the table of prices does not take the price of voice, 1.00000 since" in done.err
    shown = ledger.execute("SELECT skill_id FROM skill_pricing ORDER BY 1").fetchall()
    assert shown == [("mail",), ("wiki",)]


def test_no_pass_waits_for_who_has_a_price_in_hand(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    ledger.execute(PLAN.format(skill="mail").encode())
    fall_due(ledger)
    with psycopg.connect(ledger_url) as portal:
        portal.execute("INSERT INTO skill_pricing VALUES ('mail', 3)")
        done = passed(command, 1, tenant("ada"), RECONCILER_LOCK_TIMEOUT="1h")
        assert (done.status, "WARNING" in done.err) == (0, False), done.err
        portal.rollback()
    assert passed(command, 2, tenant("ada", "mail")).status == 0
    assert ledger.execute("SELECT skill_id FROM skill_pricing").fetchall() == [("mail",)]


def test_who_asks_as_of_a_time_waits_for_a_writer_no_longer_than_for_a_lock(
    command: Command, ledger_url: str
) -> None:
    assert passed(command, 1, tenant("ada")).status == 0
    with psycopg.connect(ledger_url) as portal:
        portal.execute("SELECT * FROM billing_set_price('daily_price_chf', 1, NULL, 'mail')")
        usage = ("usage", "--month", "2026-11", "--as-of", "now", "--lock-timeout", "100ms")
        done = command(*usage)
    assert done.status == 1
    assert "has been under way for 00:00:00.1 and longer" in done.err
    assert "--lock-timeout" in done.err


# Rows ----------------------------------------------------------------------------------------------

A_PASS = (
    "INSERT INTO reconciler_passes (source, program_version, tenants_examined, lifecycle_inserted,"
    " lifecycle_deleted, events_inserted, suspension_events_inserted, asked_at, observed_at)"
    " VALUES ('x', '1', 2, 0, 0, 0, 0, '{at}', '{at}')"
)
STATE = (
    "DELETE FROM reconciler_state;"
    " INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at)"
    " SELECT id, {skills}, false, {at} FROM tenant_billing_lifecycle"
)
SETBACK = (
    "INSERT INTO reconciler_setbacks (cluster_uid, found_at, resource_version, ledger_version,"
    " after_pass_id) VALUES ('c', '20000-01-01Z', '1', '2', 1)"
)
END = (
    "UPDATE tenant_billing_lifecycle SET deleted_at = created_at, deleted_not_before = '-infinity',"
    " deleted_observed_at = created_at, deleted_time_source = 'observed',"
    " deleted_pass_id = created_pass_id"
)
MOVE = (
    "INSERT INTO reconciler_moves (pass_id, lifecycle_id, previous_lifecycle_id)"
    " SELECT created_pass_id, id, id FROM tenant_billing_lifecycle LIMIT 1"
)
EVENT = (
    "INSERT INTO tenant_suspension_events (lifecycle_id, pass_id, ordinal, tenant_name, tenant_uid,"
    " event_kind, occurred_at, not_before, time_source, observed_at) SELECT id, created_pass_id, 1,"
    " tenant_name, tenant_uid, 'suspended', created_at, {not_before}, 'observed', {observed_at}"
    " FROM tenant_billing_lifecycle"
)


@pytest.mark.parametrize(
    "statement",
    [
        A_PASS.format(at="20000-01-01Z"),
        A_PASS.format(at="0044-03-15 BC"),
        STATE.format(skills="ARRAY['a', NULL]", at="created_at"),
        STATE.format(skills="ARRAY[['a'], ['b']]", at="created_at"),
        STATE.format(skills="'{}'", at="'20000-01-01Z'"),
        EVENT.format(not_before="'-infinity'", observed_at="created_at"),
        EVENT.format(not_before="created_at", observed_at="'20000-01-01Z'"),
        SETBACK,
        END,
        MOVE,
    ],
)
def test_what_no_command_could_read_is_refused(ledger_url: str, runner: str, statement: str) -> None:
    with acting_as(ledger_url, runner) as other, pytest.raises(psycopg.errors.CheckViolation):
        other.execute(statement.encode())


def test_a_resource_version_of_any_length_is_no_number(command: Command, ledger: Ledger) -> None:
    ledger.execute(A_PASS.format(at="2026-11-02Z").encode())
    ledger.execute(
        A_PASS.format(at="2026-11-03Z")
        .replace("observed_at)", "observed_at, cluster_uid, resource_version)")
        .replace("')", "', 'c', repeat('9', 140000))")
        .encode()
    )
    done = command("verify", "--ledger-only")
    assert "numeric" not in done.err
    assert passed(command, 4, tenant("ada", "mail")).status == 0


def test_a_lost_state_loses_no_deletion(command: Command, ledger: Ledger) -> None:
    everybody = [tenant(name) for name in ("ada", "bea", "cleo")]
    assert passed(command, 1, *everybody).status == 0
    last = "SELECT max(lifecycle_id) FROM reconciler_state"
    ledger.execute(f"DELETE FROM reconciler_state WHERE lifecycle_id = ({last})")
    dry = command(
        "run",
        "--dry-run",
        "--output",
        "json",
        "--snapshot",
        snapshot(command.folder, "20261102T000000Z", *everybody[:2]),
    )
    assert [row["kind"] for row in dry.report["rows"]] == ["deleted"]
    assert passed(command, 3, *everybody[:2]).status == 0
    assert ledger.execute(
        "SELECT tenant_name FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"
    ).fetchall() == [("cleo",)]
    assert command("verify", "--ledger-only", "--deep").status == 0


# Rules of others -----------------------------------------------------------------------------------

RAISES = """
CREATE FUNCTION portal_knows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tenant_name = 'bea' THEN RAISE EXCEPTION 'unknown tenant %', NEW.tenant_name; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER portal_knows BEFORE INSERT ON tenant_billing_lifecycle
FOR EACH ROW EXECUTE FUNCTION portal_knows();
"""
DIVIDES = "CREATE INDEX ON tenant_billing_lifecycle ((1 / (length(tenant_name) - 4)))"


@pytest.mark.parametrize(("rule", "name"), [(RAISES, "bea"), (DIVIDES, "cleo")])
def test_one_tenant_whom_a_rule_of_others_refuses_stops_nobody(
    command: Command, ledger: Ledger, rule: str, name: str
) -> None:
    ledger.execute(rule.encode())
    file = snapshot(command.folder, "20261101T000000Z", *map(tenant, ("ada", "bea", "cleo", "emma1")))
    done = command("run", "--output", "json", "--snapshot", file)
    assert done.status == 4, done.err
    assert [one["tenantName"] for one in done.report["quarantined"]] == [name]
    assert json.dumps(done.report["quarantined"]).count("the database refused its rows") == 1


# Numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sequence", ["reconciler_passes", "tenant_skill_events", "tenant_billing_lifecycle"]
)
def test_where_a_sequence_lags_no_number_is_given_twice_and_none_comes_before_another(
    command: Command, ledger: Ledger, sequence: str
) -> None:
    number = f"pg_get_serial_sequence('{sequence}', 'id')"
    for day in (1, 2, 3):
        assert passed(command, day, tenant("ada", f"skill-{day}"), tenant(f"t{day}")).status == 0
        # One that failed leaves its number free.
        ((free,),) = ledger.execute(f"SELECT nextval({number})")
    assert passed(command, 4, tenant("ada"), tenant("t4")).status == 0
    # The passes' goes back to a free number, the others' to one that is taken.
    back = free if sequence == "reconciler_passes" else 1
    ledger.execute(f"SELECT setval({number}, {back}, false)")
    everybody = (tenant("ada", "skill-5"), tenant("t4"), tenant("t5"))
    done = passed(command, 5, *everybody)
    assert done.status == 1, done.out
    assert "reconciler schema apply" in done.err
    assert command("schema", "apply").status == 0
    assert passed(command, 5, *everybody).status == 0
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_the_number_of_a_void_is_taken_as_well(command: Command, ledger: Ledger) -> None:
    for day in (1, 2):
        assert passed(command, day, tenant("ada", f"skill-{day}")).status == 0
    assert command("void", "2", "--because", "wrong", "--by", "eve", "--yes").status == 0
    ledger.execute("SELECT setval('reconciler_passes_id_seq', 1)")
    assert passed(command, 3, tenant("ada", "skill-3")).status == 1
    assert command("schema", "apply").status == 0
    assert passed(command, 3, tenant("ada", "skill-3")).status == 0


def test_a_time_that_is_not_over_has_no_position(ledger: Ledger) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="lies ahead"):
        ledger.execute("SELECT billing_position(clock_timestamp() + interval '1 second')")
