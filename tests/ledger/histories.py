"""Random histories of a ledger: everything that can happen to it by passes, and by the portal before."""
# ruff: noqa: S608 - the names in these statements are our own

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from msgspec.structs import replace

from reconciler.core.evidence import Evidence
from reconciler.core.guard import Limits
from reconciler.core.plan import NONE, Overrides
from reconciler.core.tenant import Snapshot, Tenant, Unreadable
from reconciler.errors import Refused
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_pass, run_watched
from tests.conftest import open_database

START = datetime(2026, 11, 1, tzinfo=UTC)
NAMES = ("ada", "bea", "cleo", "dora", "edda", "flora")
SKILLS = ("mail", "wiki", "chat", "ä", "x" * 200)

TABLES = (
    *("reconciler_digests", "reconciler_state"),
    *("reconciler_rebindings", "reconciler_reopenings", "reconciler_moves"),
    *("tenant_skill_events", "tenant_suspension_events", "tenant_billing_lifecycle"),
    "reconciler_passes",
)
EVENTS = ("tenant_skill_events", "tenant_suspension_events")


class Step(NamedTuple):
    """One pass, as an operator may start it, or as the watch does."""

    snapshot: Snapshot
    limits: Limits
    decisions: Overrides


class Given:
    """A snapshot that is there already."""

    is_live = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot


class World:
    """A cluster in which everything happens, and an operator who decides this and that."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.now = START
        self.there: dict[str, Tenant] = {}
        self._gone: list[Tenant] = []
        self._cluster = "cluster-1"
        self._version = 100
        self._uids = 0
        self._paid: dict[str, str] = {}

    def portal(self, connection: "psycopg.Connection[Any]") -> None:
        """What the portal's hooks wrote before the first pass, not always in good order."""
        behind = ["SET session_replication_role = replica"]
        rules = connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conname LIKE '%\\_is\\_explained'"
        ).fetchall()
        behind += [f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, _ in rules]
        for name in self.chance.sample(NAMES, 3):
            created = START - timedelta(days=self.chance.randint(5, 9))
            ended = self.chance.random() < 0.2
            end = "NULL" if not ended else f"'{START - timedelta(days=1)}'"
            behind.append(
                "INSERT INTO tenant_billing_lifecycle"
                " (tenant_name, zitadel_org_id, created_at, deleted_at)"
                f" VALUES ('{name}', 'org', '{created}', {end})"
            )
            skills = self.chance.sample(SKILLS, 2)
            for skill in skills:
                kinds = self.chance.choice((["enabled"], ["enabled", "disabled"], ["enabled"] * 2))
                for hours, kind in enumerate(kinds):
                    at = created + timedelta(hours=hours)
                    behind.append(
                        "INSERT INTO tenant_skill_events"
                        " (tenant_name, skill_id, event_kind, occurred_at)"
                        f" VALUES ('{name}', '{skill}', '{kind}', '{at}')"
                    )
            if self.chance.random() < 0.5:
                behind.append(
                    "INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at)"
                    f" VALUES ('{name}', 'suspended', '{created + timedelta(days=1)}')"
                )
            if not ended or self.chance.random() < 0.5:
                self.there[name] = self._tenant(name, created_at=created)
        behind += [f"ALTER TABLE {table} ADD CONSTRAINT {name} {rule}" for table, name, rule in rules]
        behind.append("SET session_replication_role = DEFAULT")
        behind.append(
            "INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at)"
            " SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_derived_state()"
        )
        for statement in behind:
            connection.execute(statement.encode())

    def steps(self, count: int) -> Iterator[Step]:
        """Passes, each after a change of this and that."""
        for _ in range(count):
            self.now += timedelta(
                seconds=self.chance.randint(1, 3) * self.chance.choice((0.5, 60, 86_400))
            )
            rebind, adopt = self._happen()
            missing = set(self.chance.sample(NAMES, 4)) if self.chance.random() < 0.1 else set[str]()
            snapshot = self._snapshot(missing)
            decisions = Overrides(
                rebind=rebind or self.chance.random() < 0.1,
                reopen=frozenset(self._revived()),
                move=frozenset(self._relabelled()),
            )
            is_watched = decisions == NONE and self.chance.random() < 0.5
            yield Step(
                self._watched(snapshot) if is_watched else snapshot,
                Limits(
                    brake_floor=2,
                    allow_deletions=self.chance.choice((None, None, 10)),
                    adopt_cluster=adopt,
                ),
                decisions,
            )

    def _happen(self) -> tuple[bool, bool]:
        for name in NAMES:
            one = self.there.pop(name, None)
            match self.chance.choice(
                ("stay", "stay", "change", "change", "go", "again", "back", "back")
            ):
                case "stay" if one is not None:
                    self.there[name] = one
                case "change" if one is not None and one.deleted_at is None:
                    self.there[name] = self._tenant(name, uid=one.uid, created_at=one.created_at)
                case "back" if self._gone:
                    back = self.chance.choice(self._gone)
                    if back.name not in self.there and back.name >= name:
                        self.there[back.name] = back
                case "go":
                    pass
                case _:
                    self.there[name] = self._tenant(name)
            if one is not None and (name not in self.there or self.there[name].uid != one.uid):
                self._gone.append(replace(one, deleted_at=None))
        restored = self.chance.random() < 0.1
        if restored:
            # A backup comes back: the same tenants under other uids, in what may be another cluster.
            self._cluster = self.chance.choice((self._cluster, "cluster-2", "cluster-3"))
            self._version = self.chance.randint(1, 300)
            self.there = {
                name: replace(one, uid=self._uid(), created_at=self._second())
                for name, one in self.there.items()
            }
            for one in self.there.values():
                self._paid[one.uid] = one.org
        return restored, restored or self.chance.random() < 0.05

    def _revived(self) -> list[str]:
        """Whose deletion may be withdrawn: somebody who is back; or who never was gone, by mistake."""
        gone = {one.uid for one in self._gone}
        back = [name for name, one in self.there.items() if one.uid in gone]
        names = back if self.chance.random() < 0.9 else NAMES
        return self.chance.sample(sorted(names), 1) if names and self.chance.random() < 0.6 else []

    def _relabelled(self) -> list[str]:
        """Whose org is settled: somebody who bears another label; or none that did, by mistake."""
        names = [one.name for one in self.there.values() if self._paid[one.uid] != one.org]
        if self.chance.random() < 0.05:
            names = sorted(self.there)
        names = self.chance.sample(names, 1) if names and self.chance.random() < 0.7 else []
        for name in names:
            one = self.there[name]
            self._paid[one.uid] = one.org
        return names

    def _tenant(
        self, name: str, *, uid: str | None = None, created_at: datetime | None = None
    ) -> Tenant:
        def some_time() -> datetime | None:
            return self.chance.choice((None, self._second(), self.now - timedelta(days=1)))

        uid = uid or self._uid()
        org = "org" if self.chance.random() < 0.85 else "other-org"
        self._paid.setdefault(uid, org)
        return Tenant(
            uid=uid,
            name=name,
            org=org,
            created_at=created_at or self._second(),
            skills=tuple(sorted(self.chance.sample(SKILLS, self.chance.randint(0, 4)))),
            suspended=self.chance.random() < 0.4,
            suspended_at=some_time(),
            deleted_at=self._second() if self.chance.random() < 0.1 else None,
            evidence=Evidence(packages=some_time(), suspend=some_time()),
        )

    def _snapshot(self, missing: set[str]) -> Snapshot:
        self._version += self.chance.randint(0, 5)
        shown = [one for name, one in self.there.items() if name not in missing]
        sick = {one.name for one in shown if self.chance.random() < 0.07}
        whose = self.chance.choice(("both", "both", "uid", "name", "none"))
        return Snapshot(
            tenants=[one for one in shown if one.name not in sick],
            unreadable=[
                Unreadable(
                    uid=one.uid if whose in ("both", "uid") else None,
                    name=one.name if whose in ("both", "name") else None,
                    reason="spec: x",
                )
                for one in shown
                if one.name in sick
            ],
            asked_at=self.now,
            observed_at=self.now + timedelta(seconds=self.chance.random()),
            source="random",
            cluster_uid=self._cluster,
            resource_version=str(self._version),
        )

    def _watched(self, listed: Snapshot) -> Snapshot:
        """One of its tenants, or one that is gone, as the watch would tell it."""
        uids = {one.uid for one in (*self.there.values(), *self._gone[-3:])}
        uid = self.chance.choice(sorted(uids) or ["nobody"])
        return replace(
            listed,
            tenants=[one for one in listed.tenants if one.uid == uid],
            unreadable=[one for one in listed.unreadable if one.uid == uid],
            asked_at=listed.observed_at,
            source="watch",
            scope=frozenset({uid}),
        )

    def _uid(self) -> str:
        self._uids += 1
        return f"uid-{self._uids}"

    def _second(self) -> datetime:
        """A moment ago, as Kubernetes writes it."""
        return (self.now - timedelta(seconds=self.chance.random() * 2)).replace(microsecond=0)


def live_through(url: str, seed: int, passes: int) -> Sequence[Step]:
    """Makes a ledger by one history; the steps that were written, oldest first."""
    world, written = World(seed), list[Step]()
    if world.chance.random() < 0.4:
        with psycopg.connect(url, autocommit=True) as connection:
            world.portal(connection)
    with closing(open_database(url)) as database:
        ledger = PostgresLedger(database)
        for step in world.steps(passes):
            with suppress(Refused):
                if step.snapshot.scope is None:
                    run_pass(Given(step.snapshot), ledger, step.limits, step.decisions)
                    written.append(step)
                elif run_watched([step.snapshot], ledger, step.limits):
                    written.append(step)
    return written


def forget(connection: "psycopg.Connection[Any]") -> None:
    """An empty ledger again, behind the back of the triggers."""
    connection.execute("SET session_replication_role = replica")
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}".encode())
    connection.execute("SET session_replication_role = DEFAULT")
