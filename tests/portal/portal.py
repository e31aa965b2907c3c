"""A portal whose hooks have been writing: the statements of `db.ts`, and what became of its cluster."""
# ruff: noqa: S608 - the names in these statements are our own

import random
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from reconciler.core.guard import Limits
from reconciler.core.plan import Plan
from reconciler.core.tenant import Snapshot, Tenant
from reconciler.ledger.postgres_ledger import DryRunLedger, PostgresLedger
from reconciler.passes import Ledger, run_pass
from tests.conftest import open_database

Connection = psycopg.Connection[Any]
Facts = list[tuple[str, str, str | None]]

PHASE_1 = {
    variant: (Path(__file__).parent / f"phase1-{variant}.sql").read_text(encoding="utf-8")
    for variant in ("a", "c", "d")
}
BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
SKILLS = ("mail", "wiki", "chat", "crm")


@dataclass
class Life:
    """A tenant of the cluster."""

    uid: str
    org: str
    created_at: datetime
    skills: set[str] = field(default_factory=set)
    suspended: bool = False


@dataclass
class Portal:
    """The hooks, and the cluster that they follow."""

    connection: Connection
    keeps_lives: bool = False
    """A name that lives again gets a row of its own."""
    cluster: dict[str, Life] = field(default_factory=dict)

    def created(self, name: str, at: datetime, uid: str) -> None:
        life = Life(uid, f"org-{len(name)}", at)
        again = "" if self.keeps_lives else " ON CONFLICT (tenant_name) DO NOTHING"
        self.cluster[name] = life
        self.connection.execute(
            "INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at)"
            f" VALUES (%s, %s, %s){again}".encode(),
            (name, life.org, at),
        )

    def deleted(self, name: str, at: datetime) -> None:
        del self.cluster[name]
        self.connection.execute(
            "UPDATE tenant_billing_lifecycle SET deleted_at = %s"
            " WHERE tenant_name = %s AND deleted_at IS NULL",
            (at, name),
        )

    def switched(self, name: str, skill: str, at: datetime) -> None:
        skills = self.cluster[name].skills
        kind = "disabled" if skill in skills else "enabled"
        skills ^= {skill}
        self.connection.execute(
            "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
            " VALUES (%s, %s, %s, %s)",
            (name, skill, kind, at),
        )

    def suspended(self, name: str, at: datetime) -> None:
        life = self.cluster[name]
        life.suspended = not life.suspended
        self.connection.execute(
            "INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at)"
            " VALUES (%s, %s, %s)",
            (name, "suspended" if life.suspended else "resumed", at),
        )

    def six_weeks(self, seed: int, tenants: int = 12) -> datetime:
        """Hook rows of tenants that come, change, go and come again. Returns when that ends."""
        chance = random.Random(seed)  # noqa: S311 - it is to be the same each time
        names = [f"tenant-{number}" for number in range(tenants)]
        at, number = BEGAN, 0
        while at < BEGAN + timedelta(weeks=6):
            name = chance.choice(names)
            number += 1
            if name not in self.cluster:
                self.created(name, at, f"uid-{number}")
                for skill in chance.sample(SKILLS, 2):
                    self.switched(name, skill, at)
            elif chance.random() < 0.15:
                self.deleted(name, at)
            elif chance.random() < 0.25:
                self.suspended(name, at)
            else:
                self.switched(name, chance.choice(SKILLS), at)
            at += timedelta(hours=chance.randint(1, 9))
        return at

    def snapshot(self, observed_at: datetime) -> Snapshot:
        tenants = [
            Tenant(
                uid=life.uid,
                name=name,
                org=life.org,
                created_at=life.created_at,
                skills=tuple(sorted(life.skills)),
                suspended=life.suspended,
            )
            for name, life in sorted(self.cluster.items())
        ]
        return Snapshot(tenants=tenants, asked_at=observed_at, observed_at=observed_at, source="cluster")


class Given:
    """A snapshot as a source."""

    is_live = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot


def passed(url: str, snapshot: Snapshot, *, dry: bool = False) -> Plan:
    """The plan of a pass, as the command makes it, with the deletions let through."""
    with closing(open_database(url)) as database:
        ledger: PostgresLedger | DryRunLedger = (
            DryRunLedger(database) if dry else PostgresLedger(database)
        )
        ledger.prepare()
        return run_pass(Given(snapshot), _as_ledger(ledger), Limits(allow_deletions=1000)).plan


def _as_ledger(ledger: Ledger) -> Ledger:
    return ledger


def facts(plan: Plan) -> Facts:
    """Its rows, without their times."""
    return [(row.kind.value, change.lifecycle.name, row.value) for change, row in plan.rows()]
