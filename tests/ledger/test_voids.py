"""A void leaves the ledger as it was before the passes that it withdraws, whatever they did."""
# ruff: noqa: S608 - the names in these statements are our own

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
import pytest

from reconciler.errors import Refused
from reconciler.ledger import voids
from reconciler.ledger.postgres import Database
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_pass, run_watched
from tests.conftest import open_database
from tests.ledger.histories import TABLES, Step, World, forget
from tests.ledger.test_verify_healthy import found
from tests.outcome import Given

NAMELESS = """
    SELECT FROM reconciler_passes
    WHERE quarantined @> '[{"tenantName": null}]' OR quarantined @> '[{"tenantUid": null}]'"""
"""Passes that do not say in full whom they could not read."""
Connection = psycopg.Connection[Any]
HISTORIES = int(os.environ.get("TEST_HISTORIES", "100"))
"""How many; `make histories` takes thousands."""
SHARE = 25
SHARES = [
    pytest.param(first, marks=[pytest.mark.long] if first else [])
    for first in range(0, HISTORIES, SHARE)
]
PASSES = 12
WHAT_IS_WITHDRAWN = (
    *("tenant_billing_lifecycle", "tenant_skill_events", "tenant_suspension_events"),
    *("reconciler_passes", "reconciler_digests", "reconciler_overrides"),
    *("reconciler_rebindings", "reconciler_reopenings", "reconciler_moves"),
)


class Content(NamedTuple):
    """What is in the ledger."""

    rows: AbstractSet[str]
    """Every row, without those columns of the state that the next pass needs only to date a change."""
    unread: Mapping[int, tuple[datetime, bool]]
    """Since when a lifecycle could not be read, and whether its deletion is held back."""


def content(connection: Connection) -> Content:
    rows = " UNION ALL ".join(
        f"SELECT '{table} ' || (to_jsonb(r) - '{{fingerprint,settled_at,read_at,held}}'::text[])::text"
        f" FROM {table} r"
        for table in (*TABLES, "reconciler_setbacks")
    )
    unread = connection.execute(
        "SELECT lifecycle_id, read_at, held FROM reconciler_state WHERE read_at IS NOT NULL OR held"
    )
    return Content(
        {row for (row,) in connection.execute(rows.encode())},
        {lifecycle: (read_at, held) for lifecycle, read_at, held in unread},
    )


def assert_restored(now: Content, before: Content, *, is_told: bool) -> None:
    """The same rows; and whoever could not be read still cannot, since then or a little earlier."""
    assert now.rows ^ before.rows == set()
    for lifecycle, (read_at, held) in before.unread.items():
        since, is_held = now.unread[lifecycle]
        assert since <= read_at
        assert is_held or not held
    if is_told:
        assert {one for one, (_, held) in now.unread.items() if held} == {
            one for one, (_, held) in before.unread.items() if held
        }


def step(ledger: PostgresLedger, one: Step) -> None:
    """A pass, if it is not refused."""
    with suppress(Refused):
        if one.snapshot.scope is None:
            run_pass(Given(one.snapshot), ledger, one.limits, one.decisions)
        else:
            run_watched([one.snapshot], ledger, one.limits)


def last_pass(connection: Connection) -> int:
    ((last,),) = connection.execute("SELECT coalesce(max(id), 0) FROM reconciler_passes").fetchall()
    return int(last)


def void(database: Database, first_pass: int, *, dry_run: bool = False) -> None:
    voids.void(database, first_pass, because="tried", by="a test", dry_run=dry_run)


@pytest.mark.parametrize("first", SHARES)
def test_the_ledger_is_as_the_pass_before_left_it(
    ledger_url: str, ledger: Connection, first: int
) -> None:
    """And goes on from there; everything that was withdrawn is on record."""
    told = 0
    for seed in range(first, min(first + SHARE, HISTORIES)):
        forget(ledger)
        world = World(seed)
        if seed % 3 == 0:
            world.portal(ledger)
        steps = list(world.steps(PASSES))
        with closing(open_database(ledger_url)) as database:
            passes = PostgresLedger(database)
            at = {last_pass(ledger): content(ledger)}
            for one in steps[: PASSES - 2]:
                step(passes, one)
                at.setdefault(last_pass(ledger), content(ledger))
            written = sorted(at)
            for voided in sorted({written[-1], world.chance.choice(written), written[0]} - {0})[::-1]:
                before = content(ledger)
                void(database, voided, dry_run=True)
                assert content(ledger) == before, f"history {seed}: dry run"
                void(database, voided)
                left = at[max((one for one in written if one < voided), default=0)]
                is_told = not ledger.execute(NAMELESS).fetchall()
                told += is_told
                assert_restored(content(ledger), left, is_told=is_told)
                assert [one for one in found(ledger_url) if not one.of.is_note] == [], f"history {seed}"
            for one in steps[PASSES - 2 :]:
                step(passes, one)
                assert [one for one in found(ledger_url) if not one.of.is_note] == [], f"history {seed}"
    assert told
    names = {table for (table,) in ledger.execute("SELECT table_name FROM reconciler_voided_rows")}
    assert names == {*WHAT_IS_WITHDRAWN}
