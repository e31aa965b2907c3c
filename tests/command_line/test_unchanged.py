"""A run reads only the tenants that have changed, unless it is told to read all."""

from typing import Any

import psycopg

from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command

Connection = psycopg.Connection[Any]


def test_a_fingerprint_that_lies_is_found_by_verify_and_mended_by_reading_all(
    command: Command, ledger: Connection
) -> None:
    before, changed = tenant("anna", "mail"), tenant("anna", "mail", "wiki")
    first = snapshot(command.folder, "20251101T000000Z", before)
    assert command("run", "--snapshot", first).status == 0
    # The fingerprint of what comes next, beside the facts of what was.
    second = snapshot(command.folder, "20251102T000000Z", changed)
    script = command("run", "--snapshot", second, "--dry-run", "--output", "sql").out
    (print_of_next,) = {part for part in script.split("'") if part.startswith("\\x")}
    ledger.execute("UPDATE reconciler_state SET fingerprint = %s::bytea", [print_of_next])
    assert command("run", "--snapshot", second).out.endswith("1 tenant examined: no change\n")
    third = snapshot(command.folder, "20251103T000000Z", changed)
    found = command("verify", "--snapshot", third, "--output", "json")
    assert found.status == 5
    assert [(one["rule"], one["tenantName"]) for one in found.report["findings"]] == [
        ("fingerprint", "anna")
    ]
    mended = command("run", "--snapshot", third, "--read-all", "--output", "json").report
    assert [(row["kind"], row["skillId"]) for row in mended["rows"]] == [("enabled", "wiki")]
    assert command("verify", "--snapshot", third).status == 0


def test_another_label_for_the_org_reads_all_once(command: Command, ledger: Connection) -> None:
    files = [
        snapshot(command.folder, f"2025110{day}T000000Z", tenant("anna", "mail")) for day in (1, 2, 3)
    ]
    assert command("run", "--snapshot", files[0]).status == 0
    prints = "SELECT encode(fingerprint, 'hex') FROM reconciler_state"
    before = ledger.execute(prints).fetchall()
    relabelled = command(
        "run", "--snapshot", files[1], "--org-label", "another/label", "--output", "json"
    )
    assert relabelled.status == 4
    assert relabelled.report["quarantined"][0]["tenantName"] == "anna"
    assert ledger.execute(prints).fetchall() == [(None,)]
    assert command("run", "--snapshot", files[2]).status == 0
    assert ledger.execute(prints).fetchall() == before
