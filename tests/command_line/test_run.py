"""`reconciler run --snapshot`: what it prints, and each exit status."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.command_line.runs import FIRST, SECOND, Ledger, kinds, ran
from tests.command_line.snapshots import COUNTS, apply, snapshot, tenant
from tests.conftest import SAMPLES, Command

# JSON

KEYS = {
    "": {
        *("message", "dryRun", "tenantsExamined", "lifecycleInserted", "lifecycleDeleted"),
        *("eventsInserted", "suspensionEventsInserted"),
        *("quarantined", "held", "rebound", "snapshot", "rows"),
    },
    "quarantined": {"tenantName", "reason"},
    "held": {"tenantName", "tenantUid"},
    "snapshot": {"clusterUid", "resourceVersion", "observedAt"},
    "rows": {
        *("kind", "tenantName", "tenantUid", "zitadelOrgId", "skillId"),
        *("occurredAt", "notBefore", "timeSource", "observedAt"),
    },
}


@pytest.fixture
def known(command: Command, ledger_url: str, tmp_path: Path) -> Command:
    """The command, over a ledger that knows five tenants, and files for what may come next."""
    five = [tenant(name, "mail") for name in ("ada", "bea", "cleo", "dora", "edda")]
    files = {
        "20261102T000000Z": five,
        "20261103T000000Z": five[:4],  # one deleted
        "20261104T000000Z": five[:1],  # four deleted: more than half
        "20261105T000000Z": [*five[:4], tenant("edda", 7)],  # one quarantined
        "20261106T000000Z": [tenant("ada", 7)],  # one quarantined, four deleted
        "20261107T000000Z": [],
    }
    written = [snapshot(tmp_path, time, *tenants) for time, tenants in files.items()]
    apply(ledger_url, written[0])
    return command


def test_the_json_object_has_exactly_the_keys_of_the_contract_dry_or_not(known: Command) -> None:
    for dry, is_dry in ((("--dry-run",), True), ((), False)):
        report = ran(
            known, *dry, "--snapshot", "tenants-20261106T000000Z.json", "--output", "json", status=3
        ).report
        assert set(report) == KEYS[""]
        assert set(report["snapshot"]) == KEYS["snapshot"]
        assert [set(one) for one in report["quarantined"]] == [KEYS["quarantined"]]
        assert [set(one) for one in report["held"]] == [KEYS["held"]] * 4
        assert report["dryRun"] is is_dry
        assert report["rebound"] == report["rows"] == []
        assert report["tenantsExamined"] == 1
        assert isinstance(report["message"], str)


def test_rows_are_complete_and_ordered_dry_or_not(command: Command, ledger_url: str) -> None:
    apply(ledger_url, FIRST)
    dry = ran(command, "--dry-run", "--snapshot", SECOND, "--output", "json").report
    real = ran(command, "--snapshot", SECOND, "--output", "json").report
    assert kinds(real["rows"]) == [
        ("alpenapotheke-davos", "created", None),
        ("alpenapotheke-davos", "enabled", "forms"),
        ("alpenapotheke-davos", "enabled", "vault"),
        ("baeckerei-toggenburg", "deleted", None),
        ("baeckerei-toggenburg", "created", None),
        ("baeckerei-toggenburg", "enabled", "mail"),
        ("baeckerei-toggenburg", "enabled", "shop"),
        ("baeckerei-toggenburg", "enabled", "threema"),
        ("bergbahn-arosa", "enabled", "calendar"),
        ("druckerei-zofingen", "suspended", None),
        ("kaeserei-emmental", "enabled", "search"),
        ("kaeserei-emmental", "disabled", "wiki"),
        ("spitex-thun", "deleted", None),
        ("treuhand-winterthur", "created", None),
        ("velokurier-basel", "deleted", None),
        ("weingut-lavaux", "resumed", None),
    ]
    assert [real[count] for count in COUNTS] == [3, 3, 8, 2]
    assert real["rows"] == dry["rows"]
    for row in real["rows"]:
        assert set(row) == KEYS["rows"]
        assert row["observedAt"] == real["snapshot"]["observedAt"] == "2026-11-04T06:00:00Z"
        assert all(row[time].endswith("Z") for time in ("occurredAt", "notBefore"))
        assert row["notBefore"] <= row["occurredAt"] <= row["observedAt"]


def test_the_rows_of_a_real_run_are_what_was_written(command: Command, ledger: Ledger) -> None:
    reports = ran(command, "--snapshot", SAMPLES, "--output", "json").reports
    said = [
        (row["kind"], row["tenantUid"], row["skillId"], row["occurredAt"][:19], row["timeSource"])
        for report in reports
        for row in report["rows"]
    ]
    written = ledger.execute("""
        SELECT kind, uid, skill, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'), source FROM (
            SELECT 'created', tenant_uid, NULL, created_at, created_time_source
            FROM tenant_billing_lifecycle
            UNION ALL SELECT 'deleted', tenant_uid, NULL, deleted_at, deleted_time_source
            FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL
            UNION ALL SELECT event_kind, tenant_uid, skill_id, occurred_at, time_source
            FROM tenant_skill_events
            UNION ALL SELECT event_kind, tenant_uid, NULL, occurred_at, time_source
            FROM tenant_suspension_events
        ) AS row (kind, uid, skill, at, source)""").fetchall()
    assert sorted(map(str, said)) == sorted(map(str, written))


def test_a_second_run_right_after_the_first_has_every_count_zero_and_no_rows(command: Command) -> None:
    ran(command, "--snapshot", FIRST)
    report = ran(command, "--snapshot", FIRST, "--output", "json").report
    assert [report[count] for count in COUNTS] == [0, 0, 0, 0]
    assert report["rows"] == []
    assert report["tenantsExamined"] == 8


def test_a_refused_or_failed_pass_prints_no_object(known: Command) -> None:
    snapshot(known.folder, "20261101T000000Z")
    for argument, status in (("tenants-20261101T000000Z.json", 3), ("tenants-20261108T000000Z.json", 1)):
        done = ran(known, "--snapshot", argument, "--output", "json", status=status)
        assert done.out == ""
        assert len(done.err.splitlines()) == 1


# Text


def test_text_is_aligned_and_ends_with_the_counts(command: Command, ledger_url: str) -> None:
    apply(ledger_url, FIRST)
    lines = ran(command, "--snapshot", SECOND).out.splitlines()
    assert all(word in lines[-1] for word in ("9 tenants", "3 created", "1 suspended", "3 deleted"))
    rows = [line for line in lines if line.startswith("  ")]
    assert len(rows) == 16
    assert len({row.index("2026-11-0") for row in rows}) == 1
    assert "\x1b" not in "".join(lines)


def test_text_shows_no_control_characters_of_names(command: Command, hostile: list[Path]) -> None:
    out = ran(command, "--snapshot", hostile[0]).out
    assert all(line.isprintable() for line in out.split("\n"))


@pytest.mark.parametrize(("settings", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_text_is_coloured_on_a_terminal_only(
    command: Command, settings: dict[str, str], *, coloured: bool
) -> None:
    ours, its = pty.openpty()
    subprocess.run(
        [*command.program, "run", "--dry-run", "--snapshot", str(FIRST)],
        stdout=its,
        stderr=subprocess.PIPE,
        env={**command.environment(), **settings},
        check=True,
    )
    os.close(its)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:  # so Linux says that the other end is closed
        os.close(ours)
    assert (b"\x1b[32m" in seen) is coloured
    assert b"created" in seen


def test_results_go_to_stdout_and_logs_to_stderr(command: Command, database: str) -> None:
    done = ran(command, "--snapshot", FIRST, "--output", "json", RECONCILER_DATABASE_URL=database)
    assert done.report["lifecycleInserted"] == 8
    assert "schema" in done.err
    quiet = ran(
        command, "--snapshot", FIRST, SECOND, "--log-level", "error", RECONCILER_DATABASE_URL=database
    )
    assert quiet.err == ""


# Exit status


@pytest.mark.parametrize(
    ("time", "flags", "status"),
    [
        ("20261102", "", 0),
        ("20261103", "", 0),
        ("20261103", "--dry-run", 0),
        ("20261103", "--dry-run --detailed-exitcode", 10),
        ("20261102", "--dry-run --detailed-exitcode", 0),
        ("20261105", "", 4),
        ("20261105", "--quarantine-exit 0", 0),
        ("20261105", "--quarantine-exit 5", 5),
        ("20261105", "--dry-run --detailed-exitcode", 4),
        ("20261104", "", 3),
        ("20261104", "--dry-run --detailed-exitcode", 3),
        ("20261104", "--allow-deletions 3", 3),
        ("20261104", "--allow-deletions 4", 0),
        ("20261107", "", 3),
        ("20261106", "", 3),  # held and quarantined: the lowest
        ("20261106", "--allow-deletions 4", 4),
        ("20261103", "--detailed-exitcode", 2),
        ("20261103", "--output yaml", 2),
        ("20261103", "--quarantine", 2),  # no abbreviations
        ("20261109", "", 1),
    ],
)
def test_the_exit_status_tells_what_came_of_it(
    known: Command, time: str, flags: str, status: int
) -> None:
    ran(known, "--snapshot", f"tenants-{time}T000000Z.json", *flags.split(), status=status)


def test_what_is_held_back_waits_and_the_rest_is_written(known: Command, ledger: Ledger) -> None:
    file = snapshot(known.folder, "20261104T000000Z", tenant("ada", "wiki"), tenant("flora"))
    report = ran(known, "--snapshot", file, "--output", "json", status=3).report
    assert [one["tenantName"] for one in report["held"]] == ["bea", "cleo", "dora", "edda"]
    assert kinds(report["rows"]) == [
        ("ada", "enabled", "wiki"),
        ("ada", "disabled", "mail"),
        ("flora", "created", None),
    ]
    deleted = ledger.execute(
        "SELECT count(*) FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"
    )
    assert deleted.fetchone() == (0,)
