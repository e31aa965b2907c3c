"""Each pass is sealed, by whoever writes it and whatever the session is set to."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import apply, snapshot, tenant
from tests.conftest import SAMPLES, Command

Ledger = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"

SEALED = "SELECT pass_id, rows_digest, digest FROM reconciler_digests ORDER BY pass_id"
COMPUTED = "SELECT pass_id, rows_digest FROM reconciler_pass_digests(0, 9999) ORDER BY pass_id"
BACK_TO_VERSION_1 = (
    "DROP TRIGGER reconciler_passes_sealed ON reconciler_passes",
    "DROP FUNCTION reconciler_seal_pass(), reconciler_pass_digests(bigint, bigint, bigint, bigint)",
    "DROP TABLE reconciler_digests",
    "ALTER TABLE tenant_billing_lifecycle DROP COLUMN recognised_pass_id",
    "DELETE FROM reconciler_schema",
    "INSERT INTO reconciler_schema (version) VALUES (1)",
)


@pytest.mark.parametrize(
    "setting",
    [
        "TIME ZONE 'Asia/Kathmandu'",
        "DateStyle TO 'SQL, DMY'",
        "IntervalStyle TO 'iso_8601'",
        "bytea_output TO 'escape'",
        "extra_float_digits TO -15",
        "client_encoding TO 'LATIN1'",
        "standard_conforming_strings TO off",
    ],
)
def test_a_digest_is_the_same_whatever_the_session_is_set_to(
    ledger: Ledger, ledger_url: str, tmp_path: Path, setting: str
) -> None:
    apply(ledger_url, FIRST, SECOND)
    odd = (tenant("zoë\\x", "it's", "back\\slash", "x" * 5000), tenant("ß", suspend=True))
    apply(ledger_url, snapshot(tmp_path, "20261106T000000Z", *odd))
    ledger.execute(f"SET {setting}".encode())
    sealed = [(pass_id, rows) for pass_id, rows, _ in ledger.execute(SEALED).fetchall()]
    assert len(sealed) == 3
    assert ledger.execute(COMPUTED).fetchall() == sealed


def test_a_pass_that_is_applied_as_a_script_is_sealed_too(command: Command, ledger: Ledger) -> None:
    for file in (FIRST, SECOND):
        script = command("run", "--snapshot", file, "--dry-run", "--output", "sql").out
        statements = [line for line in script.split("\n") if not line.startswith("\\")]
        ledger.execute("\n".join(statements).encode())
    sealed = [(pass_id, rows) for pass_id, rows, _ in ledger.execute(SEALED).fetchall()]
    assert len(sealed) == 2
    assert ledger.execute(COMPUTED).fetchall() == sealed
    assert command("verify", "--ledger-only", "--deep").status == 0


def test_passes_from_before_have_no_digest_and_that_is_said(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    apply(ledger_url, FIRST)
    for statement in BACK_TO_VERSION_1:
        ledger.execute(statement.encode())
    refused = command("verify", "--ledger-only")
    assert (refused.status, refused.out) == (1, "")
    assert "schema apply" in refused.err

    assert command("run", "--snapshot", SECOND).status == 0
    done = command("verify", "--ledger-only", "--deep")
    assert (done.status, done.err) == (0, "")
    assert "1 pass without a digest" in done.out
    assert "digest of pass 2: " in done.out
