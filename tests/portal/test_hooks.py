"""Hooks of the portal that are still on after the adoption."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors

from tests.conftest import Command
from tests.portal.portal import BEGAN, PHASE_1, Life, Portal, facts, passed

SNAPSHOT = BEGAN + timedelta(days=1)


@pytest.fixture
def portal(database: str) -> Iterator[Portal]:
    """Adopted, with one tenant that has a skill."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(PHASE_1["d"].encode())
        portal = Portal(connection, keeps_lives=True)
        portal.created("ada", BEGAN, "uid-of-ada")
        portal.switched("ada", "mail", BEGAN)
        assert facts(passed(database, portal.snapshot(SNAPSHOT))) == []
        yield portal


HOOKS = {
    "a creation": "INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at)"
    " VALUES ('new', 'org', now())",
    "the creation of one that is there": "INSERT INTO tenant_billing_lifecycle"
    " (tenant_name, zitadel_org_id, created_at) VALUES ('ada', 'org', now())",
    "a deletion": "UPDATE tenant_billing_lifecycle SET deleted_at = now()"
    " WHERE tenant_name = 'ada' AND deleted_at IS NULL",
    "a skill": "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind)"
    " VALUES ('ada', 'wiki', 'enabled')",
    "a suspension": "INSERT INTO tenant_suspension_events (tenant_name, event_kind)"
    " VALUES ('ada', 'suspended')",
}


@pytest.mark.parametrize("statement", HOOKS.values(), ids=HOOKS)
def test_what_a_hook_writes_is_refused_with_a_hint_and_nothing_else_is(
    statement: str, portal: Portal, database: str
) -> None:
    with pytest.raises(errors.RestrictViolation) as refusal:
        portal.connection.execute(statement.encode())
    told = refusal.value.diag
    assert told.message_primary is not None
    assert "only the reconciler writes here" in told.message_primary
    assert told.message_hint is not None
    assert told.message_hint.startswith("Switch off the portal's hook that writes to tenant_")
    # In one transaction with an operation on a tenant, a savepoint is enough.
    with portal.connection.transaction():
        portal.connection.execute("CREATE TABLE operation ()")
        with pytest.raises(errors.RestrictViolation), portal.connection.transaction():
            portal.connection.execute(statement.encode())
    assert portal.connection.execute("SELECT to_regclass('operation') IS NULL").fetchone() == (False,)
    assert facts(passed(database, portal.snapshot(SNAPSHOT + timedelta(hours=1)))) == []


def test_a_hook_that_names_the_portal_s_key_fails_with_the_message_of_the_migration_page(
    portal: Portal,
) -> None:
    portal.keeps_lives = False
    with pytest.raises(errors.InvalidColumnReference, match="ON CONFLICT"):
        portal.created("new", BEGAN, "uid-of-new")


def test_a_row_that_a_hook_wrote_before_this_version_is_healed_by_the_next_pass(
    portal: Portal, database: str, command: Command
) -> None:
    look = portal.connection
    look.execute("ALTER TABLE tenant_billing_lifecycle DISABLE TRIGGER USER")
    portal.created("late", SNAPSHOT, "uid-of-late")
    look.execute("ALTER TABLE tenant_billing_lifecycle ENABLE TRIGGER USER")
    portal.cluster["late"].skills.add("wiki")
    portal.cluster["other"] = Life("uid-of-other", "org", SNAPSHOT)
    snapshot = portal.snapshot(SNAPSHOT + timedelta(hours=1))
    verify = Command(command.folder, settings={"RECONCILER_DATABASE_URL": database})
    found = verify("verify", "--ledger-only")
    assert found.status == 5
    assert "state-missing" in found.out

    dry = passed(database, snapshot, dry=True)
    ran = passed(database, snapshot)

    assert facts(dry) == facts(ran) == [("enabled", "late", "wiki"), ("created", "other", None)]
    assert look.execute(
        "SELECT tenant_uid FROM tenant_billing_lifecycle WHERE tenant_name = 'late'"
    ).fetchall() == [("uid-of-late",)]
    assert facts(passed(database, portal.snapshot(SNAPSHOT + timedelta(hours=2)))) == []
    unsealed = verify("verify", "--ledger-only", "--deep")
    assert unsealed.status == 5, unsealed.out
    assert "adoption" in unsealed.out
    assert verify("schema", "apply").status == 0
    healed = verify("verify", "--ledger-only", "--deep")
    assert healed.status == 0, healed.out
