"""Random histories of a ledger: everything that can happen to it by passes, and by the portal before."""
# ruff: noqa: S608 - the names in these statements are our own

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from msgspec import Raw
from msgspec.structs import replace

from reconciler.core.cases import NONE, Overrides
from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect, read_tenants
from reconciler.core.tenant import Snapshot
from reconciler.errors import Refused
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_pass, run_watched
from tests.apiserver import Json, Tenants
from tests.conftest import open_database
from tests.outcome import Given
from tests.simulation import Clock, Habits, Life
from tests.simulation.life import MOVED, ODD_TIME, TORN, UNLABELLED
from tests.simulation.truth import ORG_LABEL

START = datetime(2026, 11, 1, tzinfo=UTC)
NAMES = ("ada", "bea", "cleo", "dora", "edda", "flora")

TABLES = (
    *("reconciler_digests", "reconciler_state", "reconciler_adoptions"),
    *("reconciler_rebindings", "reconciler_reopenings", "reconciler_moves", "reconciler_overrides"),
    *("tenant_skill_events", "tenant_suspension_events", "tenant_billing_lifecycle"),
    "reconciler_passes",
)
EVENTS = ("tenant_skill_events", "tenant_suspension_events")

HABITS: Final = Habits(
    writes={
        "patch_packages": 6,
        "apply_packages": 2,
        "switch_suspension": 5,
        "remove_a_field": 1,
        "create": 4,
        "delete": 3,
        "recreate": 2,
        "break_it": 1,
        "change_org": 1,
        "come_back": 3,
        "forge_times": 1,
        "clear_times": 0.5,
    },
    population=(2, 6),
    linger=(0.5, 86_400),
    odd=(UNLABELLED, MOVED, ODD_TIME, *TORN),
    healing=86_400,
)


class Step(NamedTuple):
    """One pass, as an operator may start it, or as the watch does."""

    snapshot: Snapshot
    limits: Limits
    decisions: Overrides


class World:
    """A cluster in which everything happens, and an operator who decides this and that."""

    def __init__(self, seed: int) -> None:
        self.clock = Clock(START - timedelta(days=10))
        self.tenants = Tenants(
            api_version="pieced.ch/v1", kind="PiecedTenant", org_label=ORG_LABEL, now=self.clock
        )
        self.life = Life(tenants=self.tenants, seed=seed, clock=self.clock, habits=HABITS, keys=NAMES)
        self.chance = self.life.chance
        self._cluster = "cluster-1"
        self._paid: dict[str, str] = {}
        """The org under which each uid was seen first."""

    def portal(self, connection: "psycopg.Connection[Any]") -> None:
        """What the portal's hooks wrote before the first pass, not always in good order."""
        behind = ["SET session_replication_role = replica"]
        rules = connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conname LIKE '%\\_is\\_explained'"
        ).fetchall()
        behind += [f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, _ in rules]
        for _ in range(3):
            self.clock.now += timedelta(days=1)
            self.life.fill(1)
            behind += self._noted(self.tenants.log[-1].resource)
        behind += [f"ALTER TABLE {table} ADD CONSTRAINT {name} {rule}" for table, name, rule in rules]
        behind.append("SET session_replication_role = DEFAULT")
        behind.append(
            "INSERT INTO reconciler_state (lifecycle_id, skills, suspended, changed_at)"
            " SELECT lifecycle_id, skills, suspended, changed_at FROM reconciler_derived_state()"
        )
        behind.append(
            "INSERT INTO reconciler_adoptions (lifecycles, skill_events, suspension_events, rows_digest)"
            " SELECT * FROM reconciler_adopted_rows()"
        )
        for statement in behind:
            connection.execute(statement.encode())

    def _noted(self, resource: Json) -> Iterator[str]:
        name, created = resource["metadata"]["name"], self.clock.now.replace(microsecond=0)
        org = resource["metadata"]["labels"][ORG_LABEL]
        is_ended = self.chance.random() < 0.2
        end = f"'{START - timedelta(days=1)}'" if is_ended else "NULL"
        yield (
            "INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at, deleted_at)"
            f" VALUES ('{name}', '{org}', '{created}', {end})"
        )
        for skill in resource["spec"]["packages"]:
            kinds = self.chance.choice((["enabled"], ["enabled", "disabled"], ["enabled"] * 2))
            for hours, kind in enumerate(kinds):
                at = created + timedelta(hours=hours)
                yield (
                    "INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)"
                    f" VALUES ('{name}', '{skill}', '{kind}', '{at}')"
                )
        if self.chance.random() < 0.5:
            yield (
                "INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at)"
                f" VALUES ('{name}', 'suspended', '{created + timedelta(days=1)}')"
            )
        if is_ended and self.chance.random() < 0.5:
            self.life.remove(name)

    def steps(self, count: int) -> Iterator[Step]:
        """Passes, each after a change of this and that."""
        self.clock.now = max(self.clock.now, START)
        for _ in range(count):
            is_restored = self._happen()
            missing = set(self.chance.sample(NAMES, 4)) if self.chance.random() < 0.1 else set[str]()
            snapshot = self._snapshot(missing)
            decisions = Overrides(
                rebind=is_restored or self.chance.random() < 0.1,
                reopen=frozenset(self._revived()),
                move=frozenset(self._relabelled()),
            )
            is_watched = decisions == NONE and self.chance.random() < 0.5
            yield Step(
                self._watched(snapshot) if is_watched else snapshot,
                Limits(
                    brake_floor=2,
                    allow_deletions=self.chance.choice((None, None, 10)),
                    adopt_cluster=is_restored or self.chance.random() < 0.05,
                ),
                decisions,
            )

    def _happen(self) -> bool:
        """Some writes; whether a backup came back, with other uids, in what may be another cluster."""
        seconds = self.chance.randint(1, 3) * self.chance.choice((0.5, 60, 86_400))
        until = self.clock.now + timedelta(seconds=seconds)
        for _ in range(self.chance.randint(0, 6)):
            self.life.act()
        while self.life.advance(until):
            pass
        is_restored = self.chance.random() < 0.1
        if is_restored:
            self._cluster = self.chance.choice((self._cluster, "cluster-2", "cluster-3"))
            self.life.restore_under_other_uids()
        return is_restored

    def _revived(self) -> list[str]:
        """Whose deletion may be withdrawn: somebody who is back; or who never was gone, by mistake."""
        names = [
            name
            for name, one in sorted(self.tenants.current.items())
            if self.life.back.get(name) == one["metadata"]["uid"]
        ]
        if self.chance.random() < 0.1:
            names = list(NAMES)
        return self.chance.sample(names, 1) if names and self.chance.random() < 0.6 else []

    def _relabelled(self) -> list[str]:
        """Whose org is settled: somebody who bears another label; or none that did, by mistake."""
        orgs = {
            name: (one["metadata"]["uid"], one["metadata"].get("labels", {}).get(ORG_LABEL))
            for name, one in self.tenants.current.items()
        }
        names = sorted(name for name, (uid, org) in orgs.items() if self._paid.get(uid, org) != org)
        if self.chance.random() < 0.05:
            names = sorted(orgs)
        names = self.chance.sample(names, 1) if names and self.chance.random() < 0.7 else []
        for name in names:
            uid, org = orgs[name]
            self._paid[uid] = org
        return names

    def _snapshot(self, missing: set[str]) -> Snapshot:
        observed_at = self.clock.now + timedelta(seconds=self.chance.random())
        shown = [one for name, one in sorted(self.tenants.current.items()) if name not in missing]
        items = [Raw(json.dumps(one).encode()) for one in shown]
        fingerprints = [*map(Dialect().printer.item, items)]
        tenants, unreadable = read_tenants(items, observed_at, Dialect(), fingerprints)
        for one in tenants:
            self._paid.setdefault(one.uid, one.org)
        whose = self.chance.choice(("both", "both", "uid", "name", "none"))
        return Snapshot(
            tenants=tenants,
            unreadable=[
                replace(
                    one,
                    uid=one.uid if whose in ("both", "uid") else None,
                    name=one.name if whose in ("both", "name") else None,
                )
                for one in unreadable
            ],
            asked_at=self.clock.now,
            observed_at=observed_at,
            source="random",
            cluster_uid=self._cluster,
            resource_version=str(self.tenants.revision),
        )

    def _watched(self, listed: Snapshot) -> Snapshot:
        """One of its tenants, or one that is gone, as the watch would tell it."""
        uids = {event.resource["metadata"]["uid"] for event in self.tenants.log[-20:]}
        uid = self.chance.choice(sorted(uids) or ["nobody"])
        return replace(
            listed,
            tenants=[one for one in listed.tenants if one.uid == uid],
            unreadable=[one for one in listed.unreadable if one.uid == uid],
            asked_at=listed.observed_at,
            source="watch",
            scope=frozenset({uid}),
        )


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
