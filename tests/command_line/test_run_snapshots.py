"""`reconciler run --snapshot`: where the snapshot comes from, and when it was taken."""

import gzip
import json
from pathlib import Path

import pytest

from tests.command_line.runs import FIRST, SECOND, Ledger, ran
from tests.command_line.snapshots import apply, kubectl_list, row_counts, tenant, write
from tests.conftest import RECORDINGS, SAMPLES, Command


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
