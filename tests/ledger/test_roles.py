"""The three roles have just what they need."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.command_line.snapshots import snapshot, tenant
from tests.conftest import Command

Ledger = psycopg.Connection[Any]


@pytest.fixture
def roles(command: Command, ledger: Ledger) -> Iterator[dict[str, str]]:
    """The names of the roles, by what they are for."""
    names = {kind: f"{kind}_{uuid4().hex}" for kind in ("runner", "reader", "operator")}
    for name in names.values():
        ledger.execute(f"CREATE ROLE {name} LOGIN")
    flags = [text for kind, name in names.items() for text in (f"--grant-{kind}", name)]
    assert command("schema", "apply", *flags).status == 0
    yield names
    for name in names.values():
        ledger.execute(f"DROP OWNED BY {name}")
        ledger.execute(f"DROP ROLE {name}")


def acting_as(ledger_url: str, role: str) -> str:
    return ledger_url.replace("postgres@", f"{role}@")


PASSES = (
    [tenant("ada", "mail", "wiki"), tenant("bea"), tenant("cleo"), tenant("dora")],
    [tenant("ada", "mail", suspend=True), tenant("bea", uid="again"), tenant("cleo")],
)


@pytest.mark.parametrize("kind", ["runner", "operator"])
def test_who_runs_passes_needs_no_rights_of_the_owner(
    kind: str, command: Command, ledger_url: str, roles: dict[str, str], tmp_path: Path
) -> None:
    url = acting_as(ledger_url, roles[kind])
    for day, tenants in enumerate(PASSES, start=1):
        file = snapshot(tmp_path, f"2025120{day}T000000Z", *tenants)
        ran = command("run", "--snapshot", file, RECONCILER_DATABASE_URL=url)
        assert (ran.status, ran.err) == (0, "")


def test_the_reader_plans_and_tells_but_cannot_write(
    command: Command, ledger_url: str, roles: dict[str, str], tmp_path: Path
) -> None:
    url = acting_as(ledger_url, roles["reader"])
    file = snapshot(tmp_path, "20251201T000000Z", tenant("ada", "mail"))
    assert command("run", "--snapshot", file, "--dry-run", RECONCILER_DATABASE_URL=url).status == 0
    assert command("coverage", RECONCILER_DATABASE_URL=url).status == 0
    assert command("verify", "--snapshot", file, "--deep", RECONCILER_DATABASE_URL=url).status == 0
    refused = command("run", "--snapshot", file, RECONCILER_DATABASE_URL=url)
    assert refused.status == 1
    assert "permission denied" in refused.err


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("runner", "UPDATE tenant_skill_events SET skill_id = 'x'"),
        ("runner", "DELETE FROM tenant_suspension_events"),
        ("runner", "TRUNCATE tenant_skill_events"),
        ("runner", "UPDATE tenant_billing_lifecycle SET created_at = now()"),
        ("runner", "SELECT FROM org_payment_methods"),
        ("runner", "UPDATE platform_pricing SET tenant_monthly_fee_chf = 0"),
        ("runner", "CREATE TABLE mine (id int)"),
        ("runner", "INSERT INTO reconciler_digests VALUES (1, sha256('x'), sha256('x'))"),
        ("reader", "INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('x', 1)"),
        ("reader", "SELECT FROM org_payment_methods"),
        ("reader", "DELETE FROM reconciler_state"),
        ("operator", "SELECT FROM org_payment_methods"),
        ("operator", "DELETE FROM tenant_skill_events"),
    ],
)
def test_a_role_may_not(kind: str, statement: str, ledger_url: str, roles: dict[str, str]) -> None:
    with (
        psycopg.connect(acting_as(ledger_url, roles[kind])) as connection,
        pytest.raises(InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_the_reader_counts_the_days_and_sees_the_prices(
    command: Command, ledger_url: str, roles: dict[str, str], tmp_path: Path
) -> None:
    command("run", "--snapshot", snapshot(tmp_path, "20251201T000000Z", tenant("ada", "mail")))
    url = acting_as(ledger_url, roles["reader"])
    for arguments in (
        ("usage", "--month", "2025-11", "--prices", "--bounds", "--as-of", "now"),
        ("pricing", "show"),
        ("org", "list"),
    ):
        ran = command(*arguments, RECONCILER_DATABASE_URL=url)
        assert (ran.status, ran.err) == (0, "")
    assert command("pricing", "set", "--vat-rate-chli", "1", RECONCILER_DATABASE_URL=url).status == 1


def test_the_operator_s_decisions_are_on_record_with_the_role(
    command: Command, ledger: Ledger, ledger_url: str, roles: dict[str, str]
) -> None:
    url = acting_as(ledger_url, roles["operator"])
    for arguments in (
        ("pricing", "set", "--tenant-monthly-fee-chf", "49"),
        ("pricing", "skill", "set", "mail", "0.5"),
        ("pricing", "skill", "remove", "mail"),
        ("org", "show", "org-1", "--create"),
        ("org", "set", "org-1", "--pay-by-invoice", "true"),
    ):
        ran = command(*arguments, RECONCILER_DATABASE_URL=url)
        assert ran.status == 0, ran.err
    found = ledger.execute("SELECT database_user, count(*) FROM reconciler_decisions GROUP BY 1")
    assert found.fetchall() == [(roles["operator"], 5)]


def test_the_operator_sets_prices(ledger_url: str, roles: dict[str, str]) -> None:
    with psycopg.connect(acting_as(ledger_url, roles["operator"])) as connection:
        connection.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49")
        connection.execute("INSERT INTO skill_pricing (skill_id, daily_price_chf) VALUES ('x', 1)")


def test_a_role_that_does_not_exist_is_named(command: Command) -> None:
    ran = command("schema", "apply", "--grant-runner", "nobody-knows")
    assert ran.status == 1
    assert "CREATE ROLE" in ran.err
