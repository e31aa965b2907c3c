"""A pass that does not read the tenants that have not changed is the pass that reads all of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from reconciler.core.cases import Case
from reconciler.core.guard import Limits
from reconciler.core.plan import Plan
from reconciler.core.tenant import Snapshot
from reconciler.errors import ReconcilerError, SnapshotError
from reconciler.ledger.postgres_ledger import DryRunLedger, PostgresLedger
from reconciler.passes import run_pass, run_watched
from tests.conftest import TEMPLATE, fresh_database, open_database
from tests.core.examples import at, snapshot, tenant
from tests.ledger.histories import Step, World, forget
from tests.outcome import Given

Connection = psycopg.Connection[Any]
HISTORIES = int(os.environ.get("TEST_HISTORIES", "16"))
SHARE = 4
PASSES = 30

WHAT_IT_IS = (
    """SELECT tenant_name, tenant_uid, zitadel_org_id, created_at, deleted_at, deleted_time_source,
              created_pass_id, deleted_pass_id FROM tenant_billing_lifecycle ORDER BY id""",
    """SELECT tenant_name, skill_id, event_kind, occurred_at, not_before, time_source, pass_id, ordinal
       FROM tenant_skill_events ORDER BY id""",
    """SELECT tenant_name, event_kind, occurred_at, not_before, time_source, pass_id, ordinal
       FROM tenant_suspension_events ORDER BY id""",
    """SELECT lifecycle_id, skills, suspended, changed_at, read_at, held, fingerprint
       FROM reconciler_state ORDER BY lifecycle_id""",
    """SELECT id, source, tenants_examined, quarantined, held_back, adopted_cluster
       FROM reconciler_passes ORDER BY id""",
)


@pytest.fixture
def other_url(postgres: str) -> Iterator[str]:
    yield from fresh_database(postgres, TEMPLATE)


def unread(shown: Snapshot, known: frozenset[bytes]) -> Snapshot:
    """The snapshot as a source makes it that does not read what has a known fingerprint."""
    same = [one for one in shown.tenants if one.fingerprint in known]
    return replace(
        shown,
        tenants=[one for one in shown.tenants if one not in same],
        unchanged=frozenset(one.fingerprint for one in same if one.fingerprint is not None),
    )


def plan_of(step: Step, ledger: PostgresLedger | DryRunLedger, *, reads_all: bool) -> Plan | None:
    if step.snapshot.scope is not None:
        made = run_watched([step.snapshot], ledger, step.limits)
        return made[0].plan if made else None
    known = frozenset[bytes]() if reads_all else ledger.fingerprints()
    return run_pass(Given(unread(step.snapshot, known)), ledger, step.limits, step.decisions).plan


def planned(step: Step, ledger: PostgresLedger | DryRunLedger, *, reads_all: bool) -> tuple[object, ...]:
    """What a pass writes, or the error that it ends with."""
    try:
        made = plan_of(step, ledger, reads_all=reads_all)
    except ReconcilerError as error:
        return (type(error),)
    return () if made is None else (made.changes, made.quarantined, made.held, made.snapshot.size)


def written(url: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [connection.execute(query.encode()).fetchall() for query in WHAT_IT_IS]


@pytest.mark.parametrize("first", range(0, HISTORIES, SHARE))
def test_the_ledger_is_the_same_whether_all_are_read_or_only_what_changed(
    ledger_url: str, other_url: str, first: int
) -> None:
    skipped = 0
    for seed in range(first, min(first + SHARE, HISTORIES)):
        for url in (ledger_url, other_url):
            with psycopg.connect(url, autocommit=True) as connection:
                forget(connection)
        skipped += lived_through_twice(ledger_url, other_url, seed)
        assert written(ledger_url) == written(other_url), f"history {seed}"
    assert skipped > SHARE * PASSES / 4


def lived_through_twice(url: str, other_url: str, seed: int) -> int:
    """Makes both ledgers by one history, the second without reading what has not changed.

    Returns how many tenants were not read.
    """
    worlds, skipped = (World(seed), World(seed)), 0
    if seed % 2:
        for world, one in zip(worlds, (url, other_url), strict=True):
            with psycopg.connect(one, autocommit=True) as connection:
                world.portal(connection)
    with closing(open_database(url)) as first, closing(open_database(other_url)) as second:
        # The one that remembers nothing reads no more than a watched change needs.
        remembers = seed // 2 % 2 == 0
        whole, partly = PostgresLedger(first), PostgresLedger(second, remembers=remembers)
        for number, step in enumerate(worlds[0].steps(PASSES)):
            if number % 3 == 0:
                # As in a run of its own, which has to read what is known.
                whole, partly = PostgresLedger(first), PostgresLedger(second, remembers=remembers)
            if step.snapshot.scope is None:
                skipped += len(unread(step.snapshot, partly.fingerprints()).unchanged)
                dry = planned(step, DryRunLedger(second), reads_all=False)
                assert dry == planned(step, DryRunLedger(first), reads_all=True), (seed, number)
            some = planned(step, partly, reads_all=False)
            assert some == planned(step, whole, reads_all=True), (seed, number)
    return skipped


def listed(version: int, skills: str, hour: int) -> Snapshot:
    """Anna with these skills, one a letter, beside Bert, who never changes."""
    anna = replace(tenant("A", "anna", *skills), fingerprint=f"anna has {skills}".ljust(24).encode())
    bert = replace(tenant("B", "bert", "b"), fingerprint=b"bert".ljust(24))
    return snapshot([anna, bert], observed=at(hour * 3600), version=str(version))


def watched(version: int, skills: str, hour: int) -> Snapshot:
    one = listed(version, skills, hour)
    return replace(one, tenants=one.tenants[:1], scope=frozenset({"A"}), source="watch")


class Meanwhile:
    """A list, and what another replica writes while it is read for the first time."""

    def __init__(
        self, shown: Snapshot, ledger: PostgresLedger, happens: Callable[[], object], *, is_live: bool
    ) -> None:
        self.is_live = is_live
        self.gathered: list[Snapshot] = []
        self._shown, self._ledger, self._happens = shown, ledger, happens

    def snapshot(self) -> Snapshot:
        self.gathered.append(unread(self._shown, self._ledger.fingerprints()))
        if len(self.gathered) == 1:
            self._happens()
        return self.gathered[-1]


def events(ledger: Connection) -> list[tuple[str, str]]:
    return ledger.execute(
        "SELECT skill_id, event_kind FROM tenant_skill_events WHERE tenant_uid = 'A' ORDER BY id"
    ).fetchall()


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    ("version", "gatherings", "then"),
    [
        # Before the list, which shows that it was undone again: Anna has to be read.
        (11, 2, [("x", "enabled"), ("x", "disabled")]),
        # After the list, which says nothing of Anna any more.
        (15, 1, [("x", "enabled")]),
    ],
)
def test_what_another_replica_writes_meanwhile_is_not_taken_for_unchanged(
    ledger_url: str, ledger: Connection, version: int, gatherings: int, then: object, *, is_live: bool
) -> None:
    with closing(open_database(ledger_url)) as ours, closing(open_database(ledger_url)) as theirs:
        run_pass(Given(listed(10, "a", 0)), PostgresLedger(ours), Limits())

        def happens() -> None:
            run_watched([watched(version, "ax", 1)], PostgresLedger(theirs), Limits())

        again = PostgresLedger(ours)
        shown = replace(listed(12, "a", 2), after=10)
        source = Meanwhile(shown, again, happens, is_live=is_live)
        made = run_pass(source, again, Limits())
    assert [len(one.unchanged) for one in source.gathered] == [2, 1][:gatherings]
    assert made.plan.snapshot.size == 2
    assert events(ledger) == [("a", "enabled"), *then]  # type: ignore[misc]


def test_the_same_facts_under_another_fingerprint_are_renewed_by_a_list(
    ledger_url: str, ledger: Connection
) -> None:
    with closing(open_database(ledger_url)) as database:
        pass_over = PostgresLedger(database)
        first, again = listed(10, "a", 0), listed(11, "a", 1)
        run_pass(Given(first), pass_over, Limits())
        anna = replace(again.tenants[0], fingerprint=b"anna, read otherwise".ljust(24))
        made = run_pass(Given(replace(again, tenants=[anna, again.tenants[1]])), pass_over, Limits())
        assert [(change.case, change.rows) for change in made.plan.changes] == [(Case.UNCHANGED, ())]
        assert anna.fingerprint in PostgresLedger(database).fingerprints()
        # A watched change that changes nothing leaves no record, and none of this.
        other = replace(anna, fingerprint=b"anna, watched".ljust(24))
        one = replace(watched(12, "a", 2), tenants=[other])
        assert run_watched([one], pass_over, Limits())[0].id is None
        assert anna.fingerprint in PostgresLedger(database).fingerprints()
    assert ledger.execute("SELECT max(id) FROM reconciler_passes").fetchall() == [(2,)]


def test_a_uid_or_a_name_that_occurs_twice_is_found_though_one_of_them_is_not_read(
    ledger_url: str,
) -> None:
    with closing(open_database(ledger_url)) as database:
        pass_over = PostgresLedger(database)
        shown = listed(10, "a", 0)
        run_pass(Given(shown), pass_over, Limits())
        for uid, name, field in (
            ("A", "anna", 'metadata.uid "A"'),
            ("C", "anna", 'metadata.name "anna"'),
        ):
            twice = replace(shown, tenants=[*shown.tenants, tenant(uid, name, "z")])
            for ledger in (pass_over, PostgresLedger(database), DryRunLedger(database)):
                with pytest.raises(SnapshotError, match=field):
                    run_pass(Given(unread(twice, ledger.fingerprints())), ledger, Limits())
