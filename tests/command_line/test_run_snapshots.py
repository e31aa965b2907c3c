"""`reconciler run --snapshot`: where the snapshot comes from, and when it was taken."""

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.command_line.runs import FIRST, SECOND, Ledger, ran
from tests.command_line.snapshots import apply, kubectl_list, row_counts, snapshot, tenant, write
from tests.conftest import RECORDINGS, SAMPLES, Command


@pytest.mark.parametrize("form", ["json", "yaml", "gzip"])
def test_a_dash_is_stdin_which_must_be_dated(command: Command, ledger: Ledger, form: str) -> None:
    file = RECORDINGS / "kubectl" / f"kubectl-get.{'yaml' if form == 'yaml' else 'json'}"
    given = gzip.compress(file.read_bytes()) if form == "gzip" else file.read_bytes()
    assert "--observed-at" in ran(command, "--snapshot", "-", stdin=given, status=2).err
    ran(command, "--snapshot", "-", "--observed-at", "now", stdin=given, status=4)
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


def day(folder: Path, number: int, *skills: str) -> Path:
    return snapshot(folder, f"202611{number:02}T000000Z", tenant("ada", *skills))


def test_a_dump_that_was_never_read_is_told_from_one_that_is_in(
    command: Command, ledger: Ledger, tmp_path: Path
) -> None:
    first, late, last = (day(tmp_path, number, *["mail"] * (number % 2)) for number in (1, 2, 3))
    ran(command, "--snapshot", first, last)
    before = row_counts(ledger)
    done = ran(command, "--snapshot", first, late, last, status=3)
    assert late.name in done.err.splitlines()[-1]
    assert first.name not in done.err.splitlines()[-1]
    assert row_counts(ledger) == before
    ran(command, "--dry-run", "--snapshot", first, late, last, status=3)
    ran(command, "--snapshot", first, last)


def test_the_newer_dumps_are_read_all_the_same(command: Command, ledger: Ledger, tmp_path: Path) -> None:
    ran(command, "--snapshot", day(tmp_path, 2), "--observed-at", "2026-11-02T00:00:00Z")
    done = ran(command, "--snapshot", day(tmp_path, 1, "mail"), day(tmp_path, 3), status=3)
    assert "tenants-20261101T000000Z.json" in done.err
    assert row_counts(ledger)["reconciler_passes"] == 2


def test_a_dump_is_known_by_its_content_under_another_name_and_compressed(
    command: Command, tmp_path: Path
) -> None:
    first, last = day(tmp_path, 1, "mail"), day(tmp_path, 3)
    ran(command, "--snapshot", first, last)
    packed = tmp_path / "moved-20261101T000000Z.json.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    ran(command, "--snapshot", packed, last)
    changed = tmp_path / "changed" / first.name
    changed.parent.mkdir()
    changed.write_text(first.read_text().replace("mail", "wiki"))
    assert str(changed) in ran(command, "--snapshot", changed, last, status=3).err


def test_dumps_that_an_older_version_read_are_known_by_name_and_time(
    command: Command, ledger: Ledger, tmp_path: Path
) -> None:
    first, last = day(tmp_path, 1, "mail"), day(tmp_path, 3)
    ran(command, "--snapshot", first, last)
    ledger.execute("ALTER TABLE reconciler_passes DISABLE TRIGGER USER")
    ledger.execute("UPDATE reconciler_passes SET content_digest = NULL")
    ran(command, "--snapshot", first, last)
    ran(command, "--snapshot", first, day(tmp_path, 2), last, status=3)


def test_a_closed_stdin_is_told_in_one_line(command: Command) -> None:
    shell = 'exec "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *command.program, *["run", "--snapshot", "-", "--observed-at", "now"]],
        capture_output=True,
        text=True,
        cwd=command.folder,
        env=command.environment(),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == 'reconciler: cannot read "stdin": it is closed\n'
