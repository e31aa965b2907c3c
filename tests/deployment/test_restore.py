"""The restore drill of the runbook: the database comes back older than the last pass."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.command_line.snapshots import Json, content, snapshot, tenant
from tests.conftest import Command, database_url


@pytest.fixture
def days(tmp_path: Path) -> list[Path]:
    """Five days of dumps: `chat` is there on the third only; then `cleo` goes and `dora` comes."""

    def named(name: str, *skills: str, created: str = "2026-09-01T00:00:00Z") -> Json:
        return tenant(name, *skills, created=created)

    ada, cleo = named("ada", "mail"), named("cleo")
    dora = named("dora", "wiki", created="2026-10-04T09:00:00Z")
    seen = (
        [ada, cleo],
        [named("ada", "mail", "wiki"), cleo],
        [named("ada", "mail", "wiki", "chat"), cleo],
        [named("ada", "mail", "wiki"), dora],
        [named("ada", "wiki"), dora],
    )
    return [
        snapshot(tmp_path, f"202610{day:02}T120000Z", *tenants) for day, tenants in enumerate(seen, 1)
    ]


@pytest.fixture
def restored(command: Command, days: list[Path], ledger_url: str, postgres: str) -> Iterator[str]:
    """The ledger as it was on the second day; in the one that was lost are all five."""
    assert command("run", "--snapshot", *days[:2]).status == 0
    name = f"restored_{uuid4().hex}"
    source = ledger_url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())
        assert command("run", "--snapshot", *days[2:]).status == 0
        yield database_url(postgres, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_the_first_pass_makes_up_for_the_gap_with_intervals_as_wide_as_it(
    command: Command, days: list[Path], restored: str
) -> None:
    dry = command("run", "--dry-run", "--snapshot", days[4], RECONCILER_DATABASE_URL=restored)
    assert dry.status == 0
    assert command("run", "--snapshot", days[4], RECONCILER_DATABASE_URL=restored).status == 0
    with psycopg.connect(restored) as ledger:
        rows = ledger.execute(
            "SELECT tenant_name, skill_id, event_kind, not_before::date::text, occurred_at::date::text"
            " FROM tenant_skill_events WHERE pass_id = 3 ORDER BY 1, 2"
        ).fetchall()
        ended = ledger.execute(
            "SELECT deleted_not_before::date::text, deleted_at::date::text"
            " FROM tenant_billing_lifecycle WHERE tenant_name = 'cleo'"
        ).fetchall()
    # `chat` came and went within the gap: that is what cannot be known.
    assert rows == [
        ("ada", "mail", "disabled", "2026-10-02", "2026-10-05"),
        ("dora", "wiki", "enabled", "2026-10-04", "2026-10-04"),
    ]
    assert ended == [("2026-10-02", "2026-10-05")]
    told = command("coverage", "--coverage-gap", "2d", RECONCILER_DATABASE_URL=restored)
    assert "2026-10-02T12:00:00Z  to  2026-10-05T12:00:00Z" in told.out
    verified = command("verify", "--deep", "--snapshot", days[4], RECONCILER_DATABASE_URL=restored)
    assert verified.status == 0, verified.out


def test_dumps_that_were_kept_bring_back_all_that_was_lost(
    command: Command, days: list[Path], ledger_url: str, restored: str
) -> None:
    assert command("run", "--snapshot", *days, RECONCILER_DATABASE_URL=restored).status == 0
    assert content(restored) == content(ledger_url)


def test_dumps_that_come_after_the_first_live_pass_come_too_late(
    command: Command, days: list[Path], restored: str
) -> None:
    assert command("run", "--snapshot", days[4], RECONCILER_DATABASE_URL=restored).status == 0
    late = command("run", "--snapshot", *days, RECONCILER_DATABASE_URL=restored)
    assert late.status == 3
    assert days[2].name in late.err
    assert days[0].name not in late.err.splitlines()[-1]
