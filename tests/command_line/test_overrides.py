"""What an operator decided in a pass: on record with who, when and why. A move has its own time."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import Json, psql, snapshot, tenant
from tests.conftest import Command, Ran

Ledger = psycopg.Connection[Any]
ALL = "SELECT override, tenant_name, because, decided_by, pass_id FROM reconciler_overrides o"
LEFT = " LEFT JOIN tenant_billing_lifecycle l ON l.id = o.lifecycle_id ORDER BY o.id"


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Any:
    """A pass over tenants, on a day of December; or the command that moves one of them."""

    def run(
        day: int, *tenants: Json, by: tuple[str, ...] = (), words: tuple[str, ...] = ("run",)
    ) -> Ran:
        file = snapshot(tmp_path, f"202512{day:02}T000000Z", *tenants)
        return command(*words, "--snapshot", file, "--output", "json", *by)

    return run


def labelled(*skills: str, label: int, packages: int | None = None, org: str = "org-2") -> Json:
    """bea under another org since a day of December, with skills that changed on another one."""
    shown = tenant("bea", *skills, org=org, created="2025-12-01T00:00:00Z")
    entry = {"manager": "portal", "operation": "Update", "apiVersion": "pieced.ch/v1alpha1"}
    fields: list[tuple[int, Json]] = [
        (label, {"f:metadata": {"f:labels": {"f:pieced.ch/zitadel-org-id": {}}}})
    ]
    if packages is not None:
        fields.append((packages, {"f:spec": {"f:packages": {}}}))
    shown["metadata"]["managedFields"] = [
        {**entry, "time": f"2025-12-{day:02}T09:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": owned}
        for day, owned in fields
    ]
    return shown


@pytest.fixture
def relabelled(run: Any) -> None:
    """The label changed on the 7th, a pass of the 8th saw it, and until the 15th nobody decided."""
    run(1, tenant("bea", "mail", created="2025-12-01T00:00:00Z"))
    assert run(8, labelled("mail", label=7)).status == 4


@pytest.mark.usefixtures("relabelled")
def test_a_move_is_dated_by_the_label_and_what_changed_since_belongs_to_the_new_org(
    run: Any, ledger: Ledger, command: Command
) -> None:
    words = ("org", "move", "bea")
    because = ("--by", "Kim", "--because", "contract 4711")
    ran = run(15, labelled("wiki", label=7, packages=10), words=words, by=because)
    assert ran.status == 0, ran.err
    at = {"notBefore": "2025-12-01T00:00:00Z", "timeSource": "managed-fields"}
    assert [
        (row["kind"], row["zitadelOrgId"], row["skillId"], row["occurredAt"][8:10])
        for row in ran.report["rows"]
        if at.items() <= row.items()
    ] == [
        ("deleted", "org-1", None, "07"),
        ("created", "org-2", None, "07"),
        ("enabled", "org-2", "mail", "07"),
        ("enabled", "org-2", "wiki", "10"),
        ("disabled", "org-2", "mail", "10"),
    ]
    assert ledger.execute(ALL + LEFT).fetchall() == [("move", "bea", "contract 4711", "Kim", 3)]
    checked = command("verify", "--ledger-only", "--deep")
    assert checked.status == 0, checked.out
    usage = command("usage", "--month", "2025-12", "--tenant", "bea", "--output", "json")
    days = {
        (line["zitadelOrgId"], line["item"], line["skillId"]): line["days"]
        for line in json.loads(usage.out)["lines"]
    }
    assert days["org-1", "skill", "mail"] == 6
    assert days["org-2", "skill", "mail"] == 4
    assert days["org-2", "skill", "wiki"] == 6


@pytest.mark.usefixtures("relabelled")
@pytest.mark.parametrize(
    ("effective", "outside", "not_before"),
    [("2025-12-05T12:00:00Z", False, "2025-12-01T00:00:00Z"), ("2025-12-01T00:00:00Z", True, None)],
)
def test_an_operator_who_knows_better_gives_the_time(
    run: Any, command: Command, effective: str, *, outside: bool, not_before: str | None
) -> None:
    words = ("org", "move", "bea", "--effective", effective)
    ran = run(15, labelled("mail", label=7), words=words, by=("--by", "Kim"))
    assert {(row["occurredAt"], row["notBefore"], row["timeSource"]) for row in ran.report["rows"]} == {
        (effective, not_before or effective, "operator")
    }
    found = json.loads(command("history", "bea", "--output", "json").out)["lifecycles"]
    (override,) = [one for lifecycle in found for one in lifecycle["overrides"]]
    assert (override["effectiveAt"], override["outside"]) == (effective, outside)
    text = command("history", "bea").out
    assert f"move by Kim (database user postgres), as of {effective}" in text
    assert ("outside of the interval" in text) is outside
    assert command("verify", "--ledger-only", "--deep").status == 0


@pytest.mark.usefixtures("relabelled")
@pytest.mark.parametrize("effective", ["2025-11-30T23:59:59Z", "2025-12-15T00:00:01Z"])
def test_a_time_that_the_ledger_excludes_is_refused_and_named(
    run: Any, ledger: Ledger, effective: str
) -> None:
    ran = run(15, labelled("mail", label=7), words=("org", "move", "bea", "--effective", effective))
    assert (ran.status, ran.out) == (3, "")
    assert "--effective" in ran.err
    assert "2025-12-01T00:00:00Z" in ran.err
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchall() == [(2,)]


@pytest.mark.usefixtures("relabelled")
def test_the_script_of_a_dry_move_writes_the_same(
    command: Command, ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    file = snapshot(tmp_path, "20251215T000000Z", labelled("wiki", label=7, packages=10))
    move = ("org", "move", "bea", "--snapshot", file, "--by", "Kim's", "--dry-run", "--output", "sql")
    script = tmp_path / "move.sql"
    script.write_text(command(*move).out, encoding="utf-8")
    subprocess.run([psql(), "-X", "-q", "-o", "/dev/null", "-f", script, ledger_url], check=True)
    assert ledger.execute(ALL + LEFT).fetchall() == [("move", "bea", None, "Kim's", 3)]
    assert ledger.execute(
        "SELECT skill_id, event_kind, ordinal FROM tenant_skill_events WHERE pass_id = 3 ORDER BY 1, 3"
    ).fetchall() == [("mail", "enabled", 1), ("mail", "disabled", 2), ("wiki", "enabled", 1)]
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_every_decision_of_a_pass_is_on_record_and_shown(
    run: Any, ledger: Ledger, command: Command
) -> None:
    run(1, *map(tenant, ("ada", "bea", "cleo")))
    run(2, tenant("ada"), tenant("bea", uid="new"), tenant("cleo"), by=("--rebind", "--by", "Ann"))
    run(3, tenant("ada"), tenant("cleo"))
    run(
        4, *map(tenant, ("ada", "cleo")), tenant("bea", uid="new"), by=("--reopen", "bea", "--by", "Ben")
    )
    run(5, tenant("ada"), by=("--allow-deletions", "2", "--by", "Cas", "--because", "they left"))
    assert ledger.execute(ALL + LEFT).fetchall() == [
        ("rebind", "bea", None, "Ann", 2),
        ("reopen", "bea", None, "Ben", 4),
        ("allow-deletions", "bea", "they left", "Cas", 5),
        ("allow-deletions", "cleo", "they left", "Cas", 5),
    ]
    text = command("history", "bea").out
    for line in ("rebind by Ann", "reopen by Ben", "allow-deletions by Cas"):
        assert line in text
    assert ": they left" in text
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_cluster_that_is_adopted_is_on_record_with_all_who_lived_then(
    command: Command, tmp_path: Path, ledger: Ledger
) -> None:
    def run(day: int, cluster: str, *tenants: Json, by: tuple[str, ...] = ()) -> Ran:
        file = snapshot(tmp_path, f"202512{day:02}T000000Z", *tenants)
        return command("run", "--snapshot", file, "--cluster-uid", cluster, *by)

    assert run(1, "one", *map(tenant, ("ada", "bea", "cleo"))).status == 0
    assert run(2, "one", *map(tenant, ("ada", "bea"))).status == 0
    assert run(3, "two", *map(tenant, ("ada", "bea"))).status == 3
    adopted = run(3, "two", *map(tenant, ("ada", "bea")), by=("--adopt-cluster", "--by", "Kim"))
    assert adopted.status == 0, adopted.err
    assert ledger.execute(ALL + LEFT).fetchall() == [("adopt-cluster", None, None, "Kim", 3)]
    assert "adopt-cluster by Kim" in command("history", "ada").out
    assert "adopt-cluster" not in command("history", "cleo").out
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_a_deletion_that_nobody_had_to_allow_is_nobody_s_decision(run: Any, ledger: Ledger) -> None:
    run(1, *map(tenant, ("ada", "bea", "cleo")))
    run(2, *map(tenant, ("ada", "bea")), by=("--allow-deletions", "5"))
    assert ledger.execute(ALL + LEFT).fetchall() == []


def test_without_a_name_the_user_of_the_system_is_on_record(run: Any, ledger: Ledger) -> None:
    run(1, tenant("ada", uid="old"))
    run(2, tenant("ada", uid="new"), by=("--rebind",))
    ((by,),) = ledger.execute("SELECT decided_by FROM reconciler_overrides").fetchall()
    assert by not in ("", "unknown")


def test_the_database_says_when_and_as_whom_and_nobody_changes_it(run: Any, ledger: Ledger) -> None:
    run(1, tenant("ada", uid="old"))
    run(2, tenant("ada", uid="new"), by=("--rebind",))
    ledger.execute(
        "INSERT INTO reconciler_overrides"
        " (pass_id, override, lifecycle_id, decided_by, decided_at, database_user)"
        " VALUES (2, 'rebind', 1, 'x', '2000-01-01', 'somebody')"
    )
    assert ledger.execute(
        "SELECT count(*) FROM reconciler_overrides WHERE database_user = session_user"
        " AND decided_at > now() - interval '1 hour'"
    ).fetchall() == [(2,)]
    with pytest.raises(psycopg.errors.RestrictViolation):
        ledger.execute("UPDATE reconciler_overrides SET decided_by = 'y'")
