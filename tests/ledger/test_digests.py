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
    "DROP FUNCTION reconciler_seal_pass(), reconciler_pass_digests",
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


def test_a_chain_of_version_2_still_verifies_and_is_continued(
    command: Command, ledger: Ledger, ledger_url: str
) -> None:
    apply(ledger_url, FIRST)
    ledger.execute("ALTER TABLE reconciler_digests DISABLE TRIGGER USER")
    ledger.execute(
        "UPDATE reconciler_digests d SET encoding = 1, rows_digest = r.rows_digest,"
        " digest = sha256(r.rows_digest)"
        " FROM reconciler_pass_digests(1, 1, -1, -1, 1) r WHERE d.rows_digest <> r.rows_digest"
    )
    ledger.execute("ALTER TABLE reconciler_digests ENABLE TRIGGER USER")
    assert command("run", "--snapshot", SECOND).status == 0
    encodings = ledger.execute("SELECT encoding FROM reconciler_digests ORDER BY pass_id").fetchall()
    assert encodings == [(1,), (2,)]
    done = command("verify", "--ledger-only", "--deep")
    assert (done.status, done.err) == (0, "")

    ledger.execute("ALTER TABLE tenant_billing_lifecycle DISABLE TRIGGER USER")
    ledger.execute(
        "UPDATE tenant_billing_lifecycle SET zitadel_org_id = 'another'"
        " WHERE id IN (SELECT min(id) FROM tenant_billing_lifecycle GROUP BY created_pass_id)"
    )
    found = command("verify", "--ledger-only", "--deep")
    assert found.status == 5
    assert "reconciler_passes 1\n" in found.out, "of encoding 1"
    assert "reconciler_passes 2\n" in found.out, "of encoding 2"


def test_two_pairs_of_texts_never_have_the_same_bytes(ledger: Ledger) -> None:
    """As (shop, o'brien) and (shop'o, brien) once had."""
    pairs = [("shop", "o'brien"), ("shop'o", "brien"), ("a", None), ("a", "NULL"), (None, "a")]
    old, new = (
        {
            ledger.execute("SELECT reconciler_encoded(%s, '%%L%%L', %s, %s)", [number, *pair]).fetchone()
            for pair in pairs
        }
        for number in (1, 2)
    )
    assert len(new) == len(pairs)
    assert len(old) < len(pairs)
    as_it_was = ledger.execute(
        "SELECT reconciler_encoded(1, 'end %s%L', '5', E'it''s\\\\'),"
        " convert_to(format('end %s%L', 5, E'it''s\\\\'), 'UTF8')"
    ).fetchone()
    assert as_it_was is not None
    assert as_it_was[0] == as_it_was[1]
