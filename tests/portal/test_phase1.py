"""The portal's Phase 1 and the ledger in one database: in either order, and at the next boot."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from tests.conftest import Command
from tests.portal.portal import BEGAN, PHASE_1, Connection, Portal, facts, passed

INVOICES = (
    "invoice_lines",
    "invoice_number_counters",
    "invoice_reminders",
    "invoices",
    "org_payment_methods",
)


@pytest.fixture
def look(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def command(tmp_path: Path, database: str) -> Command:
    return Command(tmp_path, settings={"RECONCILER_DATABASE_URL": database})


@pytest.mark.parametrize("variant", PHASE_1)
def test_six_weeks_of_hooks_are_adopted_and_only_true_differences_are_written(
    variant: str, database: str, look: Connection, command: Command
) -> None:
    look.execute(PHASE_1[variant].encode())
    portal = Portal(look)
    ended = portal.six_weeks(seed=7)
    began_anew = {
        name
        for name, created_at in look.execute(
            "SELECT tenant_name, deleted_at FROM tenant_billing_lifecycle WHERE deleted_at IS NOT NULL"
        ).fetchall()
        if name in portal.cluster
    }
    # One hook was missed: what it would have written is the only difference of the others.
    one = next(name for name in sorted(portal.cluster) if name not in began_anew)
    portal.cluster[one].skills ^= {"crm"}
    kind = "enabled" if "crm" in portal.cluster[one].skills else "disabled"
    snapshot = portal.snapshot(ended + timedelta(hours=1))

    dry = passed(database, snapshot, dry=True)
    applied = command("schema", "apply")
    assert applied.status == 0, applied.err
    ran = passed(database, snapshot)

    assert facts(dry) == facts(ran)
    assert [fact for fact in facts(ran) if fact[1] not in began_anew] == [(kind, one, "crm")]
    # The hooks kept one row a name: a tenant that is back under an old one begins with all that it has.
    assert {name for kind, name, _ in facts(ran) if kind == "created"} == began_anew
    assert facts(passed(database, portal.snapshot(ended + timedelta(hours=2)))) == []
    verified = command("verify", "--ledger-only", "--deep")
    assert verified.status == 0, verified.out + verified.err
    look.execute(PHASE_1[variant].encode())
    assert command("schema", "apply").status == 0
    assert facts(passed(database, portal.snapshot(ended + timedelta(hours=3)))) == []


@pytest.mark.parametrize("variant", ["a", "c"])
def test_invoice_tables_of_the_portal_are_left_alone_in_one_line_each(
    variant: str, look: Connection, command: Command
) -> None:
    look.execute(PHASE_1[variant].encode())
    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_name = ANY(%s) ORDER BY 1, 2"
    )
    before = look.execute(columns, ([*INVOICES],)).fetchall()
    applied = command("schema", "apply")
    assert applied.status == 0, applied.err
    said = [line for line in applied.out.splitlines() if line.endswith("left as it is")]
    assert [line.partition(":")[0] for line in said] == list(INVOICES)
    assert look.execute(columns, ([*INVOICES],)).fetchall() == before
    assert look.execute("SELECT to_regproc('billing_freeze')").fetchone() == (None,)
    # Nor does the way back take them away.
    assert command("schema", "drop", "--yes").status == 0
    assert look.execute(columns, ([*INVOICES],)).fetchall() == before


@pytest.mark.parametrize("variant", PHASE_1)
def test_after_the_ledger_alone_the_portal_boots_and_makes_its_own_invoices(
    variant: str, database: str, look: Connection, command: Command
) -> None:
    assert command("schema", "apply", "--tables", "ledger").status == 0
    assert look.execute("SELECT to_regclass('invoices')").fetchone() == (None,)
    for _ in range(2):
        look.execute(PHASE_1[variant].encode())
    again = command("schema", "apply")
    assert again.status == 0, again.err
    assert "left as it is" not in again.out  # it was said before, and is remembered
    portal = Portal(look)
    assert facts(passed(database, portal.snapshot(BEGAN))) == []


def test_empty_invoice_tables_of_ours_make_room_for_the_portal_s(
    look: Connection, command: Command
) -> None:
    assert command("schema", "apply").status == 0
    with pytest.raises(errors.UndefinedColumn):
        look.execute(PHASE_1["a"].encode())
    assert command("schema", "apply", "--tables", "ledger").status == 0
    look.execute(PHASE_1["a"].encode())
    assert command("schema", "apply").status == 0


def test_invoice_tables_of_ours_with_rows_are_not_removed(look: Connection, command: Command) -> None:
    assert command("schema", "apply").status == 0
    look.execute("INSERT INTO invoice_number_counters (series, last_number) VALUES ('2026', 1)")
    refused = command("schema", "apply", "--tables", "ledger")
    assert (refused.status, refused.out) == (2, "")
    assert "invoice_number_counters: has 1 rows" in refused.err
    assert look.execute("SELECT to_regclass('invoices') IS NULL").fetchone() == (False,)
