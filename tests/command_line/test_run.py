"""`reconciler run --snapshot`: each way to give a snapshot, each output, each exit status."""

import gzip
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from reconciler.ledger.postgres import LOCK_KEY
from tests.command_line.snapshots import (
    COUNTS,
    apply,
    content,
    kubectl_list,
    psql,
    row_counts,
    snapshot,
    tenant,
    write,
)
from tests.conftest import RECORDINGS, SAMPLES, Command, Ran

Ledger = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"
OBSERVED = "2026-11-22T16:00:00Z"

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


def ran(
    command: Command, *arguments: str | Path, status: int = 0, stdin: bytes = b"", **settings: str
) -> Ran:
    done = command("run", *arguments, stdin=stdin, **settings)
    assert done.status == status, (done.status, done.out, done.err)
    return done


def kinds(rows: list[dict[str, Any]]) -> list[tuple[str | None, ...]]:
    return [(row["tenantName"], row["kind"], row["skillId"]) for row in rows]


# JSON ----------------------------------------------------------------------------------------------


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


# Exit status ---------------------------------------------------------------------------------------


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


# Where the snapshot comes from, and when it was taken ----------------------------------------------


@pytest.mark.parametrize("form", ["json", "yaml", "gzip"])
def test_a_dash_is_stdin_which_was_taken_now(command: Command, ledger: Ledger, form: str) -> None:
    file = RECORDINGS / "kubectl" / f"kubectl-get.{'yaml' if form == 'yaml' else 'json'}"
    given = gzip.compress(file.read_bytes()) if form == "gzip" else file.read_bytes()
    ran(command, "--snapshot", "-", stdin=given, status=4)
    seconds = ledger.execute("SELECT extract(epoch FROM now() - observed_at) FROM reconciler_passes")
    ((age,),) = seconds.fetchall()
    assert 0 < age < 60


@pytest.mark.parametrize(
    ("arguments", "status", "instant"),
    [
        ((), 2, None),
        (("--observed-at", "2026-11-20T01:00:00+01:00"), 0, "2026-11-20T00:00:00Z"),
        (("--observed-at", "now"), 0, "20"),
        (("--observed-at", "yesterday"), 2, None),
        (("--observed-at", "2026-11-20T00:00:00"), 2, None),
    ],
)
def test_a_single_file_without_a_time_in_its_name_needs_one(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], status: int, instant: str | None
) -> None:
    file = write(tmp_path / "tenants.json", kubectl_list(tenant("ada")))
    done = ran(command, "--snapshot", file, *arguments, "--output", "json", status=status)
    if instant is None:
        assert "--observed-at" in done.err
    else:
        assert done.report["snapshot"]["observedAt"].startswith(instant)


@pytest.mark.parametrize("arguments", [(FIRST, SECOND), (SECOND, FIRST), (SAMPLES,)])
def test_several_files_are_taken_oldest_first_whatever_their_order(
    command: Command, arguments: tuple[Path, ...]
) -> None:
    reports = ran(command, "--snapshot", *arguments, "--output", "json").reports
    assert [report["snapshot"]["observedAt"][:10] for report in reports] == ["2026-11-01", "2026-11-04"]
    assert [report["lifecycleInserted"] for report in reports] == [8, 3]


def test_a_folder_holds_json_yaml_and_both_compressed(command: Command, tmp_path: Path) -> None:
    one = json.dumps(kubectl_list(tenant("ada"))).encode()
    folder = tmp_path / "dumps"
    folder.mkdir()
    for name, data in {
        "20261102T000000Z.json": one,
        "2026-11-03T00:00:00Z.yaml": one,
        "x-20261104T000000Z.json.gz": gzip.compress(one),
        "2026-11-05T01:00:00.5+01:00.yml.gz": gzip.compress(one),
        "README.md": b"not a snapshot",
    }.items():
        (folder / name).write_bytes(data)
    reports = ran(command, "--snapshot", folder, "--output", "json").reports
    assert [report["snapshot"]["observedAt"] for report in reports] == [
        "2026-11-02T00:00:00Z",
        "2026-11-03T00:00:00Z",
        "2026-11-04T00:00:00Z",
        "2026-11-05T00:00:00.500000Z",
    ]


def test_a_single_older_file_is_refused_and_nothing_is_written(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    apply(ledger_url, SECOND)
    before = row_counts(ledger)
    done = ran(command, "--snapshot", FIRST, status=3)
    assert FIRST.name in done.err
    assert row_counts(ledger) == before
    ran(command, "--snapshot", FIRST, "--dry-run", status=3)


def test_of_several_files_the_older_ones_are_skipped_and_named(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    apply(ledger_url, FIRST)
    reports = ran(command, "--snapshot", SAMPLES, "--output", "json")
    assert FIRST.name in reports.err
    assert reports.report["lifecycleInserted"] == 3
    before = row_counts(ledger)
    again = ran(command, "--snapshot", FIRST, SECOND)
    assert FIRST.name in again.err
    assert SECOND.name in again.err
    assert again.out == ""
    assert row_counts(ledger) == before


def test_a_file_of_another_cluster_is_refused_until_it_is_adopted(command: Command) -> None:
    ran(command, "--snapshot", FIRST, "--cluster-uid", "one")
    ran(command, "--snapshot", SECOND, "--cluster-uid", "other", status=3)
    ran(command, "--snapshot", SECOND, "--dry-run")  # of no named cluster: the ledger's own
    adopted = ran(
        command, "--snapshot", SECOND, "--cluster-uid", "other", "--adopt-cluster", "--output", "json"
    )
    assert adopted.report["lifecycleInserted"] == 3
    assert adopted.report["snapshot"]["clusterUid"] == "other"


# Dry -----------------------------------------------------------------------------------------------


def without_mode(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**report, "message": None, "dryRun": None} for report in reports]


def test_a_dry_run_over_a_chain_prints_what_the_real_run_does(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    apply(ledger_url, FIRST)
    third = snapshot(command.folder, "20261105T000000Z", tenant("alpenklinik-davos", "mail"))
    fourth = snapshot(command.folder, "20261106T000000Z", tenant("neu", "wiki", "mail", suspend=True))
    files = (SECOND, third, fourth, snapshot(command.folder, "20261107T000000Z", tenant("neu")))
    chain = ("--snapshot", *files, "--allow-deletions", "100", "--output", "json")
    before = content(ledger_url)
    dry = ran(command, "--dry-run", *chain).reports
    assert content(ledger_url) == before
    real = ran(command, *chain).reports
    assert len(real) == 4
    assert without_mode(dry) == without_mode(real)
    assert row_counts(ledger)["reconciler_passes"] == 5


def test_a_dry_run_works_before_any_table_exists(command: Command, database: str) -> None:
    reports = [
        ran(command, *dry, "--snapshot", SAMPLES, "--output", "json", RECONCILER_DATABASE_URL=database)
        for dry in (("--dry-run",), ())
        if dry or _tables(database) == 0
    ]
    assert without_mode(reports[0].reports) == without_mode(reports[1].reports)
    assert _tables(database) > 0


def _tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def reader(ledger_url: str) -> Iterator[str]:
    """The URL of a role that may only read."""
    role = f"reader_{uuid4().hex}"
    with psycopg.connect(ledger_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        yield ledger_url.replace("postgres@", f"{role}@", 1)
        owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_that_may_only_read_can_run_dry(command: Command, ledger_url: str, reader: str) -> None:
    apply(ledger_url, FIRST)
    command.settings["RECONCILER_DATABASE_URL"] = reader
    report = ran(command, "--dry-run", "--snapshot", SECOND, "--output", "json").report
    assert len(report["rows"]) == 16
    refused = ran(command, "--snapshot", SECOND, status=1)
    assert len(refused.err.splitlines()) == 1


def test_a_dry_run_takes_no_lock(command: Command, ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.execute(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")
        ran(command, "--dry-run", "--snapshot", FIRST, "--lock-timeout", "1s")
        done = ran(command, "--snapshot", FIRST, "--lock-timeout", "1s", status=1)
        assert "--lock-timeout" in done.err


# SQL -----------------------------------------------------------------------------------------------

HOSTILE = [
    *(
        "it's",
        '"quoted"',
        "back\\slash",
        "\\'; DROP TABLE reconciler_passes; --",
        "$$",
        "$1",
        "%s",
        ":x",
    ),
    *(
        "new\nline",
        "carriage\rreturn",
        "tab\t",
        "\x1b[31mred\x1b[0m",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
    ),
    *("日本語", "🦊", "café", "cafe\u0301", "NULL", "{a,b}", "(1,2)", "E'\\n'", "\\N", "\\.", "\ufeff"),
    "x" * 3000,
]


@pytest.fixture
def hostile(tmp_path: Path) -> list[Path]:
    names = [name[:200] for name in HOSTILE]
    return [
        snapshot(
            tmp_path / "hostile",
            "20261102T000000Z",
            *(tenant(name, *HOSTILE, org=name[:60], uid=f"u{name}"[:100]) for name in names),
        ),
        snapshot(
            tmp_path / "hostile",
            "20261103T000000Z",
            *(
                tenant(name, *HOSTILE[::2], "new", org=name[:60], uid=f"u{name}"[:100], suspend=True)
                for name in names
            ),
        ),
        snapshot(
            tmp_path / "hostile",
            "20261104T000000Z",
            *(
                tenant(
                    name, *HOSTILE, org=name[:60], uid=f"v{name}"[:100], created="2026-11-03T12:00:00Z"
                )
                for name in names
            ),
        ),
    ]


@pytest.mark.parametrize("case", ["samples", "malformed", "hostile"])
def test_sql_run_by_psql_gives_the_ledger_that_applying_gives(
    command: Command, ledger_url: str, database: str, hostile: list[Path], case: str
) -> None:
    cases: dict[str, tuple[list[Path], list[str], int]] = {
        "samples": ([FIRST, SECOND], [], 0),
        "malformed": ([RECORDINGS / "malformed" / "kubectl-get.json"], ["--observed-at", OBSERVED], 4),
        "hostile": (hostile, ["--allow-deletions", "100"], 0),
    }
    files, arguments, status = cases[case]
    by_sql = Command(command.folder, settings={"RECONCILER_DATABASE_URL": database})
    run_by_psql(command("schema", "print").out, database)
    for file in files:
        ran(command, "--snapshot", file, *arguments, status=status)
        flags = ["--dry-run", "--output", "sql", *arguments]
        planned = ran(by_sql, "--snapshot", file, *flags, status=status)
        assert all(line.isprintable() for line in planned.out.split("\n"))
        run_by_psql(planned.out, database)
    assert content(database) == content(ledger_url)


def test_sql_of_a_whole_chain_runs_at_once(
    command: Command, ledger_url: str, database: str, hostile: list[Path]
) -> None:
    chain: list[str | Path] = ["--snapshot", *hostile, "--allow-deletions", "100"]
    planned = ran(command, "--dry-run", *chain, "--output", "sql")
    ran(command, *chain)
    run_by_psql(command("schema", "print").out + planned.out, database)
    assert content(database) == content(ledger_url)


def test_sql_runs_only_on_the_ledger_it_was_planned_for(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    planned = ran(command, "--dry-run", "--snapshot", FIRST, "--output", "sql").out
    ran(command, "--snapshot", FIRST, "--output", "sql")
    before = row_counts(ledger)
    done = _psql(planned, ledger_url)
    assert done.returncode != 0
    assert "plan again" in done.stderr
    assert row_counts(ledger) == before


def run_by_psql(script: str, url: str) -> None:
    done = _psql(script, url)
    assert done.returncode == 0, done.stderr


def _psql(script: str, url: str) -> "subprocess.CompletedProcess[str]":
    """Under settings as unlike ours as a person's may be."""
    odd = {"PGCLIENTENCODING": "LATIN1", "PGOPTIONS": "-c timezone=Asia/Tokyo -c datestyle=german,dmy"}
    return subprocess.run(
        [psql(), "-X", "-q", "-d", url],
        input=script,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **odd},
        check=False,
    )


# Text ----------------------------------------------------------------------------------------------


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
