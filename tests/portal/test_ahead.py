"""Rows of the portal that cannot be true: they count as of the adoption, and stop nobody."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command, Ran
from tests.ledger.test_portal import PORTAL, SAME, kinds

ROWS = {
    "a creation ahead": (
        "INSERT INTO tenant_billing_lifecycle VALUES ('dora', 'org-1', now() + interval '9 days', NULL)",
        "dora: created_at",
    ),
    "a creation at infinity": (
        "INSERT INTO tenant_billing_lifecycle VALUES ('dora', 'org-1', 'infinity', NULL)",
        "dora: created_at",
    ),
    "a deletion before the creation": (
        "INSERT INTO tenant_billing_lifecycle VALUES ('dora', 'org-1', '2026-01-05Z', '2026-01-01Z')",
        "dora: deleted_at",
    ),
    "a deletion ahead": (
        (
            "UPDATE tenant_billing_lifecycle SET deleted_at = now() + interval '1 year'"
            " WHERE tenant_name = 'gone'"
        ),
        "gone: deleted_at",
    ),
    "a deletion at infinity": (
        "UPDATE tenant_billing_lifecycle SET deleted_at = 'infinity' WHERE tenant_name = 'cleo'",
        "cleo: deleted_at",
    ),
    "an event ahead": (
        (
            "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
            " VALUES ('ada', 'crm', 'enabled', now() + interval '2 days')"
        ),
        "ada: occurred_at",
    ),
    "an event of an ended life ahead": (
        (
            "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
            " VALUES ('gone', 'mail', 'disabled', now() + interval '2 days')"
        ),
        "gone: occurred_at",
    ),
    "a suspension ahead": (
        (
            "INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at)"
            " VALUES ('bea', 'suspended', now() + interval '1 hour')"
        ),
        "bea: occurred_at",
    ),
    "a kind in other letters": (
        (
            "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
            " VALUES ('ada', 'crm', ' Enabled', '2026-01-03Z')"
        ),
        "ada: event_kind",
    ),
}


@pytest.fixture
def portal(database: str, tmp_path: Path) -> Iterator[tuple[Command, "psycopg.Connection[Any]"]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(PORTAL)
        yield Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database}), connection


def run(command: Command, minutes: int, *tenants: dict[str, Any], flags: str = "") -> Ran:
    """A pass over a snapshot of that many minutes from now."""
    instant = f"{datetime.now(UTC) + timedelta(minutes=minutes):%Y%m%dT%H%M%SZ}"
    file = snapshot(command.folder, instant, *tenants)
    return command("run", "--snapshot", file, "--output", "json", *flags.split())


@pytest.mark.parametrize(("statement", "told"), ROWS.values(), ids=ROWS)
def test_it_counts_as_of_the_adoption(
    portal: tuple[Command, "psycopg.Connection[Any]"], statement: str, told: str
) -> None:
    command, connection = portal
    connection.execute(statement.encode())
    planned = run(command, 1, *SAME, flags="--dry-run")
    adopted = command("schema", "apply")
    assert (adopted.status, told in adopted.err) == (0, True), adopted.err

    ran = run(command, 1, *SAME)
    assert (ran.status, planned.status) == (0, 0), ran.err
    assert kinds(planned) == kinds(ran)
    assert kinds(run(command, 2, *SAME)) == []

    verified = command("verify", "--ledger-only", "--deep")
    assert verified.status == 0, verified.out
    # Nothing is left that is billed in times to come.
    ahead = connection.execute(
        "SELECT count(*) FROM billing_usage(current_date + 3, current_date + 33)"
    ).fetchone()
    assert ahead == (0,)
    # And what was written is still known.
    corrections = connection.execute("SELECT jsonb_array_length(corrections) FROM reconciler_adoptions")
    assert corrections.fetchall() == [(1,)]


def test_events_ahead_keep_their_order(portal: tuple[Command, "psycopg.Connection[Any]"]) -> None:
    command, connection = portal
    connection.execute(
        "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at) VALUES"
        " ('ada', 'crm', 'disabled', now() + interval '2 days'),"
        " ('ada', 'crm', 'enabled', now() + interval '1 day')"
    )
    assert kinds(run(command, 1, *SAME)) == []
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_an_end_with_an_event_ahead_of_it_can_be_withdrawn(
    portal: tuple[Command, "psycopg.Connection[Any]"],
) -> None:
    command, connection = portal
    connection.execute(
        "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
        " VALUES ('gone', 'crm', 'enabled', now() + interval '9 days')"
    )
    back = tenant("gone", "mail", created="2026-01-01T00:00:00Z")
    assert run(command, 1, *SAME, back).status == 4
    reopened = run(command, 2, *SAME, back, flags="--reopen gone")
    assert reopened.status == 0, reopened.err
    assert kinds(run(command, 3, *SAME, back)) == []
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_who_is_quarantined_may_have_an_event_ahead(
    portal: tuple[Command, "psycopg.Connection[Any]"],
) -> None:
    command, connection = portal
    connection.execute(
        "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
        " VALUES ('ada', 'crm', 'enabled', now() + interval '9 days')"
    )
    unread = tenant("ada", 7, created="2026-01-01T00:00:00Z")
    assert run(command, 1, unread, *SAME[1:]).status == 4
    verified = command("verify", "--ledger-only", "--deep")
    assert verified.status == 0, verified.out
    read = tenant("ada", "mail", created="2026-01-01T00:00:00Z")
    assert kinds(run(command, 2, read, *SAME[1:])) == [("disabled", "ada", "crm")]
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_creation_by_a_clock_that_was_ahead_is_not_after_its_events(
    portal: tuple[Command, "psycopg.Connection[Any]"],
) -> None:
    command, connection = portal
    began = datetime.now(UTC).replace(microsecond=0)
    connection.execute(
        "INSERT INTO tenant_billing_lifecycle VALUES ('dora', 'org-1', now() + interval '20 s', NULL)"
    )
    assert command("schema", "apply").status == 0
    dora = tenant("dora", "mail", created=f"{began:%Y-%m-%dT%H:%M:%SZ}")
    assert kinds(run(command, 1, *SAME, dora)) == [("enabled", "dora", "mail")]
    verified = command("verify", "--ledger-only", "--deep")
    assert verified.status == 0, verified.out
