"""A database in which the portal's Phase 1 made and filled the tables is adopted, not filled again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import content, run_by_psql, snapshot, tenant
from tests.conftest import Command, Ran, fresh_database

PORTAL = """
CREATE TABLE tenant_billing_lifecycle (
    tenant_name text PRIMARY KEY, zitadel_org_id text NOT NULL,
    created_at timestamptz NOT NULL, deleted_at timestamptz);
CREATE TABLE tenant_skill_events (
    id bigserial PRIMARY KEY, tenant_name text NOT NULL, skill_id text NOT NULL,
    event_kind text NOT NULL, occurred_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE tenant_suspension_events (
    id bigserial PRIMARY KEY, tenant_name text NOT NULL,
    event_kind text NOT NULL, occurred_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE platform_pricing (
    id int PRIMARY KEY, tenant_monthly_fee_chf numeric(10,2) NOT NULL,
    tenant_setup_fee_chf numeric(10,2) NOT NULL, threema_message_chf numeric(10,5) NOT NULL,
    vat_rate_chli numeric(5,2) NOT NULL);
INSERT INTO tenant_billing_lifecycle VALUES
    ('ada', 'org-1', '2026-01-01Z', NULL), ('bea', 'org-1', '2026-01-02Z', NULL),
    ('cleo', 'org-1', '2026-01-03Z', NULL), ('gone', 'org-1', '2026-01-01Z', '2026-01-05Z');
INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at) VALUES
    ('ada', 'mail', 'enabled', '2026-01-01Z'), ('ada', 'wiki', 'enabled', '2026-01-01Z'),
    ('ada', 'wiki', 'disabled', '2026-01-04Z'),
    ('bea', 'mail', 'enabled', '2026-01-02Z'), ('bea', 'mail', 'enabled', '2026-01-03Z'),
    ('gone', 'mail', 'enabled', '2026-01-01Z');
INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at) VALUES
    ('cleo', 'suspended', '2026-01-06Z');
INSERT INTO platform_pricing VALUES (1, 49, 199, 0.03, 8.10);
"""

FIXED = {
    "tenant_billing_lifecycle": "tenant_name, zitadel_org_id, created_at, deleted_at",
    "tenant_skill_events": "id, tenant_name, skill_id, event_kind, occurred_at",
    "tenant_suspension_events": "id, tenant_name, event_kind, occurred_at",
    "platform_pricing": "id, tenant_monthly_fee_chf, tenant_setup_fee_chf, threema_message_chf, "
    "vat_rate_chli",
}

SAME = (
    tenant("ada", "mail", created="2026-01-01T00:00:00Z"),
    tenant("bea", "mail", created="2026-01-02T00:00:00Z"),
    tenant("cleo", suspend=True, created="2026-01-03T00:00:00Z"),
)


@pytest.fixture
def portal(database: str, tmp_path: Path) -> Command:
    """The command, on the portal's database."""
    with psycopg.connect(database) as connection:
        connection.execute(PORTAL)
    return Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})


def run(portal: Command, day: int, *tenants: dict[str, Any], flags: str = "") -> Ran:
    file = snapshot(portal.folder, f"202602{day:02}T000000Z", *tenants)
    return portal("run", "--snapshot", file, "--output", "json", *flags.split())


def kinds(ran: Ran) -> list[tuple[str, str, str | None]]:
    return [(row["kind"], row["tenantName"], row["skillId"]) for row in ran.report["rows"]]


def rows_of_the_portal(url: str) -> dict[str, list[Any]]:
    with psycopg.connect(url) as connection:
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()  # noqa: S608
            for table, columns in FIXED.items()
        }


def test_the_first_pass_recognises_what_the_portal_wrote(portal: Command, database: str) -> None:
    before = rows_of_the_portal(database)

    ran = run(portal, 1, *SAME)

    assert (ran.status, kinds(ran)) == (0, [])
    assert rows_of_the_portal(database) == before
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "SELECT tenant_name, tenant_uid FROM tenant_billing_lifecycle ORDER BY 1"
        ).fetchall() == [
            ("ada", "uid-of-ada"),
            ("bea", "uid-of-bea"),
            ("cleo", "uid-of-cleo"),
            ("gone", None),
        ]
        events = connection.execute(
            "SELECT lifecycle_id, tenant_uid, pass_id, ordinal FROM tenant_skill_events"
        )
        assert set(events.fetchall()) == {(None, None, None, None)}


def test_only_true_differences_are_written(portal: Command) -> None:
    after = (
        tenant("ada", "wiki", created="2026-01-01T00:00:00Z"),
        tenant("bea", "mail", created="2026-01-02T00:00:00Z"),
        tenant("cleo", created="2026-01-03T00:00:00Z"),
        tenant("gone", "mail", created="2026-01-10T00:00:00Z"),
    )
    planned = run(portal, 1, *after, flags="--dry-run")
    ran = run(portal, 1, *after)
    expected = [
        ("enabled", "ada", "wiki"),
        ("disabled", "ada", "mail"),
        ("resumed", "cleo", None),
        ("created", "gone", None),
        ("enabled", "gone", "mail"),
    ]
    assert kinds(ran) == expected
    assert planned.report["rows"] == [
        {**row, "tenantUid": row["tenantUid"]} for row in ran.report["rows"]
    ]
    assert kinds(run(portal, 2, *after)) == []
    # And from there on as ever.
    assert kinds(run(portal, 3, *SAME, after[3])) == [
        ("enabled", "ada", "mail"),
        ("disabled", "ada", "wiki"),
        ("suspended", "cleo", None),
    ]


def test_a_deletion_of_the_portal_that_is_withdrawn_says_whose_it_was(
    portal: Command, database: str
) -> None:
    back = tenant("gone", "mail", created="2026-01-01T00:00:00Z")
    assert run(portal, 1, *SAME, back).status == 4
    assert run(portal, 2, *SAME, back, flags="--reopen gone").status == 0
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "SELECT tenant_uid, deleted_at, recognised_pass_id = (SELECT max(id) FROM reconciler_passes)"
            " FROM tenant_billing_lifecycle WHERE tenant_name = 'gone'"
        ).fetchall() == [("uid-of-gone", None, True)]


def test_a_history_that_contradicts_itself_is_reported_and_stops_nothing(portal: Command) -> None:
    ran = run(portal, 1, *SAME)
    assert ran.status == 0
    assert "bea mail enabled without its opposite before it" in ran.err


def test_a_tenant_of_the_portal_that_is_gone_ends(portal: Command) -> None:
    assert kinds(run(portal, 1, *SAME[:2])) == [("deleted", "cleo", None)]


def test_the_portals_rows_may_be_told_like_all_others(portal: Command) -> None:
    run(portal, 1, *SAME)
    told = portal("history", "bea").out
    assert told.count("written by the portal") == 3  # her creation, and twice the same skill


def test_a_tenant_of_the_portal_may_be_moved_to_another_org(portal: Command, database: str) -> None:
    moved = (*SAME[:2], tenant("cleo", suspend=True, created="2026-01-03T00:00:00Z", org="org-2"))
    assert run(portal, 1, *moved).status == 4
    file = snapshot(portal.folder, "20260202T000000Z", *moved)
    ran = portal("org", "move", "cleo", "--snapshot", file, "--output", "json")
    assert (ran.status, kinds(ran)) == (
        0,
        [("deleted", "cleo", None), ("created", "cleo", None), ("suspended", "cleo", None)],
    )
    assert kinds(run(portal, 3, *moved)) == []
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "SELECT zitadel_org_id, tenant_uid, deleted_at IS NULL FROM tenant_billing_lifecycle "
            "WHERE tenant_name = 'cleo' ORDER BY id"
        ).fetchall() == [("org-1", "uid-of-cleo", False), ("org-2", "uid-of-cleo", True)]


def oddities() -> tuple[dict[str, Any], ...]:
    """All that may have become of the portal's tenants, one of which it holds for deleted."""
    return (
        tenant("ada", "wiki", created="2026-01-01T00:00:00Z"),
        tenant("cleo", suspend=True, created="2026-01-03T00:00:00Z", org="org-2"),
        tenant("gone", "mail", created="2026-01-01T00:00:00Z"),
        tenant("new", "mail", created="2026-01-20T00:00:00Z"),
    )


@pytest.fixture
def twin(postgres: str) -> Iterator[str]:
    """Another database of the portal with the same in it."""
    for url in fresh_database(postgres, "template1"):
        with psycopg.connect(url) as connection:
            connection.execute(PORTAL)
        yield url


@pytest.mark.parametrize("command", [("run", "--allow-deletions", "9"), ("org", "move", "cleo")])
def test_before_the_adoption_a_dry_run_and_its_script_do_as_the_run_does(
    portal: Command, database: str, twin: str, command: tuple[str, ...]
) -> None:
    file = snapshot(portal.folder, "20260201T000000Z", *oddities())
    pass_: tuple[str | Path, ...] = (*command, "--snapshot", file)
    dry = portal(*pass_, "--dry-run", "--output", "json")
    run_by_psql(portal(*pass_, "--dry-run", "--output", "sql").out, twin)
    real = portal(*pass_, "--output", "json")
    assert real.report["rows"]
    assert real.status == 4
    assert dry.status == real.status
    for told in ("rows", "quarantined", "held"):
        assert dry.report[told] == real.report[told]
    assert content(twin) == content(database)


def test_after_the_adoption_nobody_writes_like_the_portal(portal: Command, database: str) -> None:
    run(portal, 1, *SAME)
    with (
        psycopg.connect(database) as connection,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        connection.execute(
            "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind) "
            "VALUES ('ada', 'x', 'enabled')"
        )


def test_the_portals_rows_of_a_name_that_lived_twice_count_for_the_life_in_which_they_lie(
    database: str, tmp_path: Path
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(PORTAL.replace("tenant_name text PRIMARY KEY", "tenant_name text NOT NULL"))
        connection.execute("""
            INSERT INTO tenant_billing_lifecycle VALUES ('gone', 'org-1', '2026-01-15Z', NULL);
            INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at) VALUES
                ('gone', 'wiki', 'enabled', '2026-01-15Z'), ('gone', 'mail', 'enabled', '2026-01-20Z'),
                ('gone', 'mail', 'disabled', '2026-01-21Z');
            INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at) VALUES
                ('gone', 'suspended', '2026-01-04Z')""")
    command = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})
    again = tenant("gone", "wiki", created="2026-01-15T00:00:00Z")

    assert kinds(run(command, 1, *SAME, again)) == []
    assert kinds(run(command, 2, *SAME, tenant("gone", created="2026-01-15T00:00:00Z"))) == [
        ("disabled", "gone", "wiki")
    ]

    with psycopg.connect(database) as connection:
        days = connection.execute(
            "SELECT skill_id, days FROM billing_skill_days('2026-01-01', '2026-02-01', 'UTC')"
            " WHERE tenant_name = 'gone' ORDER BY lifecycle_id, skill_id"
        )
        # Until it was suspended; then from its second creation on.
        assert days.fetchall() == [("mail", 3), ("mail", 1), ("wiki", 17)]
    shown = command("history", "gone", "--output", "json").report
    assert [
        [event["skillId"] for event in life["rows"] if event.get("skillId")]
        for life in shown["lifecycles"]
    ] == [["mail"], ["wiki", "mail", "mail", "wiki"]]
    verified = command("verify", "--ledger-only", "--deep")
    assert verified.status == 0, verified.out
    assert "portal-outside" not in verified.out
