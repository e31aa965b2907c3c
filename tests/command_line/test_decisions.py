"""What an operator may decide once: rebind, reopen, allow deletions, adopt a cluster."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import (
    Json,
    content,
    kubectl_list,
    psql,
    run_by_psql,
    snapshot,
    tenant,
    write,
)
from tests.conftest import Command, Ran

Ledger = psycopg.Connection[Any]


def rows(ran: Ran) -> list[tuple[str, str, str | None]]:
    return [(row["kind"], row["tenantName"], row["skillId"]) for row in ran.report["rows"]]


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Any:
    """A pass over tenants, on a day of December."""

    def run(day: int, *tenants: Json, flags: str = "") -> Ran:
        file = snapshot(tmp_path, f"202512{day:02}T000000Z", *tenants)
        return command("run", "--snapshot", file, "--output", "json", *flags.split())

    return run


def test_a_tenant_restored_under_a_new_uid_is_billed_no_second_set_up_fee(
    run: Any, ledger: Ledger
) -> None:
    run(1, tenant("ada", "mail", "wiki", uid="old"), tenant("bea"))
    restored = tenant("ada", "mail", "crm", uid="new", created="2025-12-01T12:00:00Z")

    ran = run(2, restored, tenant("bea"), flags="--rebind")

    assert ran.status == 0
    assert rows(ran) == [("enabled", "ada", "crm"), ("disabled", "ada", "wiki")]
    assert ran.report["rebound"] == [{"tenantName": "ada", "tenantUid": "new", "previousUid": "old"}]
    assert ledger.execute(
        "SELECT tenant_uid, deleted_at, r.old_uid, r.new_uid, r.pass_id "
        "FROM tenant_billing_lifecycle l JOIN reconciler_rebindings r ON r.lifecycle_id = l.id"
    ).fetchall() == [("new", None, "old", "new", 2)]
    # Alternation holds across the rebinding: the same lifecycle, the next ordinal.
    assert rows(run(3, tenant("ada", "crm", uid="new"), tenant("bea"))) == [("disabled", "ada", "mail")]


def test_a_uid_changes_only_with_a_rebinding_on_record(run: Any, ledger: Ledger) -> None:
    run(1, tenant("ada"))
    with pytest.raises(psycopg.errors.RestrictViolation, match="cannot be changed without a rebinding"):
        ledger.execute("UPDATE tenant_billing_lifecycle SET tenant_uid = 'other'")


@pytest.fixture
def deleted(run: Any) -> Any:
    """The ledger holds bea for deleted, and she lives, with one skill more."""
    run(1, tenant("ada"), tenant("bea", "mail"), tenant("cleo"))
    run(2, tenant("ada"), tenant("cleo"))
    return [tenant("ada"), tenant("bea", "mail", "wiki"), tenant("cleo")]


def test_a_deletion_is_never_withdrawn_by_itself(run: Any, deleted: list[Json]) -> None:
    ran = run(3, *deleted)
    assert ran.status == 4
    assert [one["tenantName"] for one in ran.report["quarantined"]] == ["bea"]
    assert rows(ran) == []


def test_reopen_withdraws_a_deletion_and_keeps_it_on_record(
    run: Any, deleted: list[Json], ledger: Ledger
) -> None:
    ran = run(3, *deleted, flags="--reopen bea")

    assert ran.status == 0
    assert rows(ran) == [("enabled", "bea", "wiki")]
    # Nobody could read her since the pass before the one that missed her.
    assert ran.report["rows"][0]["notBefore"] == "2025-12-01T00:00:00Z"
    (withdrawn,) = ledger.execute(
        "SELECT l.deleted_at, r.deleted_at::date::text, r.deleted_time_source, r.deleted_pass_id, "
        "r.pass_id FROM reconciler_reopenings r JOIN tenant_billing_lifecycle l ON l.id = r.lifecycle_id"
    ).fetchall()
    assert withdrawn == (None, "2025-12-02", "observed", 2, 3)
    assert rows(run(4, *deleted)) == []


def test_there_is_nothing_to_reopen_of_a_tenant_that_was_never_deleted(
    run: Any, deleted: list[Json]
) -> None:
    ran = run(3, *deleted, flags="--reopen ada")
    assert (ran.status, ran.out) == (3, "")
    assert '--reopen "ada"' in ran.err


def test_an_end_is_withdrawn_only_with_a_reopening_on_record(
    run: Any, deleted: list[Json], ledger: Ledger
) -> None:
    del run, deleted
    with pytest.raises(psycopg.errors.RestrictViolation, match="has ended"):
        ledger.execute("UPDATE tenant_billing_lifecycle SET deleted_at = NULL WHERE tenant_name = 'bea'")


# A changed org ---------------------------------------------------------------------------------------


@pytest.fixture
def move(command: Command, tmp_path: Path) -> Any:
    """`org move` in a pass over tenants, on a day of December."""

    def move(day: int, name: str, *tenants: Json, flags: str = "--output json") -> Ran:
        file = snapshot(tmp_path, f"202512{day:02}T000000Z", *tenants)
        return command("org", "move", name, "--snapshot", file, *flags.split())

    return move


BEFORE = [
    tenant("ada", "mail"),
    tenant("bea", "mail", "wiki", created="2025-12-01T00:00:00Z", suspend=True),
]
AFTER = [
    BEFORE[0],
    tenant("bea", "mail", "wiki", created="2025-12-01T00:00:00Z", suspend=True, org="org-2"),
]


@pytest.fixture
def relabelled(run: Any) -> None:
    """The ledger knows bea under her old org, and the cluster has her under another one."""
    run(1, *BEFORE)
    ran = run(2, *AFTER)
    assert (ran.status, rows(ran)) == (4, [])


@pytest.mark.usefixtures("relabelled")
def test_a_moved_tenant_ends_under_its_old_org_and_begins_under_the_new_one(
    run: Any, move: Any, ledger: Ledger
) -> None:
    ran = move(3, "bea", *AFTER)

    assert ran.status == 0, ran.err
    assert [(row["kind"], row["zitadelOrgId"], row["skillId"]) for row in ran.report["rows"]] == [
        ("deleted", "org-1", None),
        ("created", "org-2", None),
        ("enabled", "org-2", "mail"),
        ("enabled", "org-2", "wiki"),
        ("suspended", "org-2", None),
    ]
    # Since the last pass that could read her.
    times = {(row["notBefore"], row["occurredAt"], row["timeSource"]) for row in ran.report["rows"]}
    assert times == {("2025-12-01T00:00:00Z", "2025-12-03T00:00:00Z", "observed")}
    assert ledger.execute(
        "SELECT old.tenant_uid = next.tenant_uid, old.deleted_at = next.created_at, next.deleted_at,"
        " m.pass_id"
        " FROM reconciler_moves m JOIN tenant_billing_lifecycle next ON next.id = m.lifecycle_id"
        " JOIN tenant_billing_lifecycle old ON old.id = m.previous_lifecycle_id"
    ).fetchall() == [(True, True, None, 3)]
    # From there on as ever.
    assert rows(run(4, *AFTER)) == []
    changed = tenant("bea", "mail", created="2025-12-01T00:00:00Z", org="org-2")
    assert rows(run(5, AFTER[0], changed)) == [("disabled", "bea", "wiki"), ("resumed", "bea", None)]
    assert rows(run(6, AFTER[0])) == [("deleted", "bea", None)]
    assert rows(run(7, AFTER[0], changed, flags="--reopen bea")) == []
    assert (
        ledger.execute(
            "SELECT * FROM reconciler_derived_state() EXCEPT "
            "SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_state"
        ).fetchall()
        == []
    )


@pytest.mark.usefixtures("relabelled")
def test_a_moved_tenant_is_billed_no_second_set_up_fee(command: Command, run: Any, move: Any) -> None:
    move(3, "bea", *AFTER)
    run(5, *AFTER)
    lines = json.loads(command("usage", "--month", "2025-12", "--tenant", "bea", "--output", "json").out)
    assert [(line["zitadelOrgId"], line["item"]) for line in lines["lines"]] == [("org-1", "setup_fee")]


@pytest.mark.usefixtures("relabelled")
def test_a_dry_move_writes_nothing_and_its_script_does_the_same(
    move: Any, ledger: Ledger, command: Command, ledger_url: str, tmp_path: Path
) -> None:
    dry = move(3, "bea", *AFTER, flags="--dry-run --output json")
    assert (dry.status, dry.report["lifecycleInserted"], dry.report["lifecycleDeleted"]) == (0, 1, 1)
    assert ledger.execute("SELECT FROM reconciler_moves").fetchall() == []
    script = tmp_path / "move.sql"
    script.write_text(move(3, "bea", *AFTER, flags="--dry-run --output sql").out, encoding="utf-8")
    subprocess.run([psql(), "-X", "-q", "-o", "/dev/null", "-f", script, ledger_url], check=True)
    moved = ledger.execute("SELECT lifecycle_id, previous_lifecycle_id FROM reconciler_moves").fetchall()
    assert moved == [(3, 2)]
    again = command(
        "run", "--snapshot", snapshot(tmp_path, "20251204T000000Z", *AFTER), "--output", "json"
    )
    assert (again.status, rows(again)) == (0, [])


@pytest.mark.usefixtures("relabelled")
def test_a_person_is_told_of_the_move(move: Any) -> None:
    assert "moved from org org-1 to org-2" in move(3, "bea", *AFTER, flags="").out


@pytest.mark.usefixtures("relabelled")
@pytest.mark.parametrize(("name", "tenants"), [("ada", AFTER), ("bea", BEFORE), ("nobody", AFTER)])
def test_there_is_nothing_to_move_where_the_org_is_the_same(
    move: Any, ledger: Ledger, name: str, tenants: list[Json]
) -> None:
    ran = move(3, name, *tenants)
    assert (ran.status, ran.out) == (3, "")
    assert f'org move "{name}"' in ran.err
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchall() == [(2,)]


def restored(*skills: str, uid: str, org: str) -> list[Json]:
    return [tenant("ada"), tenant("bea", *skills, uid=uid, org=org, created="2025-12-01T00:00:00Z")]


def test_a_restored_tenant_with_another_label_goes_on_and_then_moves(
    run: Any, move: Any, ledger: Ledger, command: Command
) -> None:
    run(1, *restored("mail", uid="old", org="org-1"))
    rebound = run(2, *restored("mail", "wiki", uid="new", org="org-2"), flags="--rebind")
    assert (rebound.status, rows(rebound)) == (4, [])
    assert rebound.report["rebound"][0]["tenantUid"] == "new"
    # The decision stands; what else changed waits until the org is settled.
    waiting = run(3, *restored("mail", "wiki", uid="new", org="org-2"))
    assert (waiting.status, rows(waiting)) == (4, [])
    moved = move(4, "bea", *restored("mail", "wiki", uid="new", org="org-2"))
    assert (moved.status, len(rows(moved))) == (0, 4)
    assert {row["notBefore"] for row in moved.report["rows"]} == {"2025-12-01T00:00:00Z"}
    assert ledger.execute("SELECT count(*) FROM reconciler_moves").fetchall() == [(1,)]
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_moved_tenant_that_comes_back_under_its_first_uid_may_go_on(
    run: Any, move: Any, ledger: Ledger, command: Command
) -> None:
    run(1, *restored("mail", uid="old", org="org-1"))
    move(2, "bea", *restored("mail", uid="old", org="org-2"))
    run(3, *restored("mail", uid="new", org="org-2"), flags="--rebind")
    back = run(4, *restored("mail", uid="old", org="org-2"), flags="--rebind")
    assert (back.status, rows(back)) == (0, [])
    assert rows(run(5, *restored("mail", uid="old", org="org-2"))) == []
    lives = ledger.execute(
        "SELECT tenant_uid, zitadel_org_id, deleted_at IS NULL FROM tenant_billing_lifecycle"
        " WHERE tenant_name = 'bea' ORDER BY id"
    )
    assert lives.fetchall() == [("old", "org-1", False), ("old", "org-2", True)]
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_moved_tenant_that_comes_back_unasked_is_not_billed_again(
    run: Any, move: Any, command: Command
) -> None:
    run(1, *restored("mail", uid="old", org="org-1"))
    move(2, "bea", *restored("mail", uid="old", org="org-2"))
    run(3, *restored("mail", uid="new", org="org-2"), flags="--rebind")
    back = run(4, *restored("mail", uid="old", org="org-2"))
    assert back.status == 4
    assert ("created", "bea", None) not in rows(back)
    reopened = run(5, *restored("mail", uid="old", org="org-2"), flags="--reopen bea")
    assert (reopened.status, reopened.out) == (3, "")
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_script_over_several_snapshots_may_rebind(
    command: Command, tmp_path: Path, database: str
) -> None:
    files = [
        snapshot(tmp_path, f"2025120{day}T000000Z", *restored(*skills, uid=uid, org="org-1"))
        for day, uid, skills in ((1, "old", ["mail"]), (2, "new", ["mail", "wiki"]), (3, "new", []))
    ]
    planned = command("run", "--snapshot", *files, "--rebind", "--dry-run", "--output", "sql")
    run_by_psql(command("schema", "print").out + planned.out, database)
    assert command("run", "--snapshot", *files, "--rebind").status == 0
    assert content(database) == content(command.settings["RECONCILER_DATABASE_URL"])


def test_a_withdrawn_deletion_stands_although_the_label_changed(
    run: Any, move: Any, command: Command, ledger: Ledger
) -> None:
    run(1, *restored("mail", uid="old", org="org-1"), tenant("cleo"))
    run(2, tenant("ada"), tenant("cleo"))
    lives = [*restored("mail", uid="old", org="org-2"), tenant("cleo")]
    reopened = run(3, *lives, flags="--reopen bea")
    assert (reopened.status, rows(reopened)) == (4, [])
    assert (run(4, *lives).status, rows(run(4, *lives))) == (4, [])
    assert ledger.execute("SELECT pass_id FROM reconciler_reopenings").fetchall() == [(3,)]
    assert [kind for kind, *_ in rows(move(5, "bea", *lives))] == ["deleted", "created", "enabled"]
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_move_decides_about_one_snapshot(command: Command, tmp_path: Path) -> None:
    files = [snapshot(tmp_path, f"2025120{day}T000000Z", *AFTER) for day in (1, 2)]
    ran = command("org", "move", "bea", "--snapshot", *files)
    assert ran.status == 2
    assert "org move" in ran.err


@pytest.mark.parametrize(("allowed", "status"), [(2, 3), (3, 0)])
def test_so_many_deletions_are_let_through_as_an_operator_allows(
    run: Any, allowed: int, status: int
) -> None:
    run(1, *(tenant(name) for name in "abcd"))
    assert run(2, tenant("a"), flags=f"--allow-deletions {allowed}").status == status


def test_a_file_of_another_cluster_is_refused_unless_it_is_adopted(
    command: Command, tmp_path: Path, ledger: Ledger
) -> None:
    file = write(tmp_path / "tenants-20251201T000000Z.json", kubectl_list(tenant("ada")))
    assert command("run", "--snapshot", file, "--cluster-uid", "one").status == 0

    refused = command("run", "--snapshot", file, "--cluster-uid", "two")
    assert refused.status == 3
    assert "one" in refused.err
    assert "two" in refused.err

    assert command("run", "--snapshot", file, "--cluster-uid", "two", "--adopt-cluster").status == 0
    passes = ledger.execute("SELECT cluster_uid, adopted_cluster FROM reconciler_passes ORDER BY id")
    assert passes.fetchall() == [("one", False), ("two", True)]


def test_what_was_known_of_an_adopted_cluster_is_known_again(command: Command, tmp_path: Path) -> None:
    def shown(day: int, version: str) -> Path:
        listed = {**kubectl_list(tenant("ada")), "metadata": {"resourceVersion": version}}
        return write(tmp_path / f"tenants-202512{day:02}T000000Z.json", listed)

    command("run", "--snapshot", shown(1, "100"), "--cluster-uid", "one")
    adopting = ("--adopt-cluster", "--cluster-uid")
    command("run", "--snapshot", shown(2, "50"), *adopting, "two")
    # Back to the first one, by a file without a version, and then by an older one.
    back = command("run", "--snapshot", shown(3, ""), shown(4, "70"), *adopting, "one")
    assert back.status == 0, back.err
    assert command("verify", "--ledger-only").status == 0
