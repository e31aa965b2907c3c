"""When a row happened: evidence inside [P, S] is believed, and what is cut to its second is moved in."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest

from reconciler.core.evidence import Evidence
from reconciler.core.kinds import Kind
from reconciler.core.plan import Plan, plan
from reconciler.core.tenant import Lifecycle, Tenant
from reconciler.core.times import Moment, TimeSource, when
from tests.core.examples import CREATED, LAST, P, S, at, known, lifecycle, snapshot, tenant

STATUS, FIELDS = TimeSource.STATUS, TimeSource.MANAGED_FIELDS
DELETION, SUCCESSOR = TimeSource.DELETION, TimeSource.SUCCESSOR
TICK = timedelta(microseconds=1)

SINCE, UNTIL = at(0.3), at(10.5)


@pytest.mark.parametrize(
    ("evidence", "occurred", "source"),
    [
        ({}, UNTIL, "observed"),
        ({STATUS: None}, UNTIL, "observed"),
        # Inside
        ({STATUS: at(5)}, at(5), "status"),
        ({STATUS: SINCE}, SINCE, "status"),
        ({STATUS: SINCE + TICK}, SINCE + TICK, "status"),
        ({STATUS: UNTIL}, UNTIL, "status"),
        # In P's own second: moved to P
        ({STATUS: SINCE - TICK}, SINCE, "status"),
        ({STATUS: at(0)}, SINCE, "status"),
        # Outside
        ({STATUS: at(0) - TICK}, UNTIL, "observed"),
        ({STATUS: at(-1)}, UNTIL, "observed"),
        ({STATUS: UNTIL + TICK}, UNTIL, "observed"),
        ({STATUS: at(11)}, UNTIL, "observed"),
        # The first that lies inside
        ({STATUS: at(6), FIELDS: at(5)}, at(6), "status"),
        ({STATUS: None, FIELDS: at(5)}, at(5), "managed-fields"),
        ({STATUS: at(-5), FIELDS: at(5)}, at(5), "managed-fields"),
        ({STATUS: at(-5), FIELDS: at(15)}, UNTIL, "observed"),
        # Unless the other is later, and lies inside as well
        ({STATUS: at(5), FIELDS: at(5)}, at(5), "status"),
        ({STATUS: at(5), FIELDS: at(5) + TICK}, at(5) + TICK, "managed-fields"),
        ({STATUS: at(5), FIELDS: at(15)}, at(5), "status"),
        # What does not date this kind of row
        ({DELETION: at(5), SUCCESSOR: at(5)}, UNTIL, "observed"),
    ],
)
def test_the_first_evidence_that_lies_inside_is_believed(
    evidence: Mapping[TimeSource, datetime | None], occurred: datetime, source: str
) -> None:
    believed = when(Kind.SUSPENDED, evidence, SINCE, UNTIL)
    assert believed == Moment(occurred, SINCE, TimeSource(source))


def test_a_snapshot_that_our_clock_dates_before_the_last_one_leaves_no_interval_turned_round() -> None:
    turned = when(Kind.SUSPENDED, {STATUS: SINCE}, UNTIL, SINCE)
    assert turned == Moment(SINCE, SINCE, TimeSource.OBSERVED)


@pytest.mark.parametrize(
    ("stated", "exact"),
    [(at(5), at(5)), (at(0), SINCE), (at(-100), SINCE), (at(11), UNTIL)],
)
def test_a_time_that_the_cluster_states_is_exact_once_it_is_moved_inside(
    stated: datetime, exact: datetime
) -> None:
    moved = when(Kind.DELETED, {DELETION: stated}, SINCE, UNTIL)
    assert moved == Moment(exact, exact, DELETION)


def test_no_row_lies_before_the_ones_that_its_lifecycle_has() -> None:
    one = Moment(at(5), at(1), STATUS)
    assert one.not_earlier(at(4)) == one
    assert one.not_earlier(at(5)) == one
    assert one.not_earlier(at(6)) == Moment(at(6), at(1), STATUS)


def test_no_row_lies_after_the_end_of_its_lifecycle() -> None:
    one = Moment(at(5), at(1), STATUS)
    assert one.not_after(at(6)) == one
    assert one.not_after(at(5)) == one
    assert one.not_after(at(4)) == Moment(at(4), at(1), STATUS)
    assert one.not_after(at(0)) == Moment(at(0), at(0), STATUS)


class Case(NamedTuple):
    """What was known, what the snapshot shows, and of one row of the plan: when, and how we know."""

    known: Sequence[Lifecycle]
    snapshot: Sequence[Tenant]
    kind: str
    occurred: datetime
    not_before: datetime
    source: str


A, SUSPENDED = lifecycle("A"), lifecycle("A", suspended=True)
TIMES = {
    # First sight
    "created": Case([], [tenant("A")], "created", CREATED, CREATED, "creation"),
    "created by a clock ahead of ours": Case(
        [], [tenant("A", created=at(64))], "created", S, S, "creation"
    ),
    "enabled at first sight": Case(
        [], [tenant("A", "aare", "mail")], "enabled", CREATED, CREATED, "creation"
    ),
    "suspended at first sight": Case(
        [], [tenant("A", suspended=True, suspended_at=at(-9))], "suspended", at(-9), CREATED, "status"
    ),
    "suspended before its creation": Case(
        [], [tenant("A", suspended=True, suspended_at=at(-1001))], "suspended", S, CREATED, "observed"
    ),
    "suspended at first sight, nobody knows when": Case(
        [], [tenant("A", suspended=True)], "suspended", S, CREATED, "observed"
    ),
    "deleted at first sight": Case(
        [], [tenant("A", deleted=at(3))], "deleted", at(3), at(3), "deletion"
    ),
    "deleted before its creation": Case(
        [], [tenant("A", deleted=at(-1001))], "deleted", CREATED, CREATED, "deletion"
    ),
    "deleted after the snapshot, at first sight": Case(
        [], [tenant("A", deleted=at(61))], "deleted", S, S, "deletion"
    ),
    "suspended after its deletion": Case(
        [],
        [tenant("A", suspended=True, suspended_at=at(9), deleted=at(3))],
        *("suspended", at(3), CREATED, "status"),
    ),
    "suspended at an unknown time before its deletion": Case(
        [], [tenant("A", suspended=True, deleted=at(3))], "suspended", at(3), CREATED, "observed"
    ),
    # Later on
    "enabled": Case([A], [tenant("A", "aare", "mail")], "enabled", S, P, "observed"),
    "disabled": Case([lifecycle("A", "aare", "mail")], [tenant("A")], "disabled", S, P, "observed"),
    "resumed": Case([SUSPENDED], [tenant("A")], "resumed", S, P, "observed"),
    "resumed, with the suspension's time still there": Case(
        [SUSPENDED], [tenant("A", suspended_at=at(9))], "resumed", S, P, "observed"
    ),
    "suspended": Case(
        [A], [tenant("A", suspended=True, suspended_at=at(9))], "suspended", at(9), P, "status"
    ),
    "suspended, with an old time": Case(
        [A], [tenant("A", suspended=True, suspended_at=at(-9))], "suspended", S, P, "observed"
    ),
    "suspended, with a time to come": Case(
        [A], [tenant("A", suspended=True, suspended_at=at(61))], "suspended", S, P, "observed"
    ),
    "suspended, without a time": Case([A], [tenant("A", suspended=True)], "suspended", S, P, "observed"),
    # With evidence
    "enabled in a list that is owned whole": Case(
        [A], [tenant("A", "aare", "mail", evidence=Evidence(at(9)))], *("enabled", at(9), P, FIELDS)
    ),
    "enabled by who has touched it after the snapshot": Case(
        [A], [tenant("A", "aare", "mail", evidence=Evidence(at(61)))], *("enabled", S, P, "observed")
    ),
    "enabled by who has not touched it since the last pass": Case(
        [A], [tenant("A", "aare", "mail", evidence=Evidence(at(-9)))], *("enabled", S, P, "observed")
    ),
    "enabled in a set": Case(
        [A],
        [tenant("A", "aare", "mail", evidence=Evidence(None, {"mail": at(9), "wiki": at(7)}))],
        *("enabled", at(9), P, FIELDS),
    ),
    "enabled in a set, of which the evidence tells nothing": Case(
        [A],
        [tenant("A", "aare", "mail", evidence=Evidence(None, {"wiki": at(7)}))],
        *("enabled", S, P, "observed"),
    ),
    "disabled in a list that is owned whole": Case(
        [lifecycle("A", "aare", "mail", "wiki")],
        [tenant("A", "aare", "wiki", evidence=Evidence(at(9)))],
        *("disabled", at(9), P, FIELDS),
    ),
    "disabled in a set": Case(
        [lifecycle("A", "aare", "mail", "wiki")],
        [tenant("A", "aare", "wiki", evidence=Evidence(None, {"mail": at(9), "wiki": at(9)}))],
        *("disabled", S, P, "observed"),
    ),
    "resumed by whom we know": Case(
        [SUSPENDED],
        [tenant("A", evidence=Evidence(at(7), None, at(9)))],
        *("resumed", at(9), P, FIELDS),
    ),
    "suspended by whom we know, and the status says when": Case(
        [A],
        [tenant("A", suspended=True, suspended_at=at(8), evidence=Evidence(suspend=at(7)))],
        *("suspended", at(8), P, "status"),
    ),
    "suspended by whom we know after the status was noted, for a suspension before": Case(
        [A],
        [tenant("A", suspended=True, suspended_at=at(8), evidence=Evidence(suspend=at(9)))],
        *("suspended", at(9), P, FIELDS),
    ),
    "suspended by whom we know, and the status is old": Case(
        [A],
        [tenant("A", suspended=True, suspended_at=at(-8), evidence=Evidence(suspend=at(9)))],
        *("suspended", at(9), P, FIELDS),
    ),
    "enabled at first sight, whatever the evidence": Case(
        [],
        [tenant("A", "aare", "mail", evidence=Evidence(at(-9)))],
        *("enabled", CREATED, CREATED, "creation"),
    ),
    "deleted, whatever the evidence": Case(
        [A],
        [tenant("A", deleted=at(9), evidence=Evidence(at(7), None, at(8)))],
        *("deleted", at(9), at(9), "deletion"),
    ),
    # The end
    "deleted": Case([A], [tenant("A", deleted=at(9))], "deleted", at(9), at(9), "deletion"),
    "deleted before the last pass": Case(
        [A], [tenant("A", deleted=at(-9))], "deleted", P, P, "deletion"
    ),
    "deleted after the snapshot": Case([A], [tenant("A", deleted=at(61))], "deleted", S, S, "deletion"),
    "absent": Case([A], [], "deleted", S, P, "observed"),
    "replaced": Case([A], [tenant("B", created=at(9))], "deleted", at(9), P, "successor"),
    "replaced by what is older than the last pass": Case(
        [A], [tenant("B", created=at(-9))], "deleted", S, P, "observed"
    ),
    "replaced by what is newer than the snapshot": Case(
        [A], [tenant("B", created=at(61))], "deleted", S, P, "observed"
    ),
    # After passes that could not read it, P is when the last one asked that could
    "enabled while it could not be read": Case(
        [lifecycle("A", read=at(-60))],
        [tenant("A", "aare", "mail")],
        *("enabled", S, at(-60), "observed"),
    ),
    "suspended while it could not be read": Case(
        [lifecycle("A", read=at(-60))],
        [tenant("A", suspended=True, suspended_at=at(-30))],
        *("suspended", at(-30), at(-60), "status"),
    ),
    "deleted while it could not be read": Case(
        [lifecycle("A", read=at(-60))],
        [tenant("A", deleted=at(-30))],
        *("deleted", at(-30), at(-30), "deletion"),
    ),
    "absent since it could not be read": Case(
        [lifecycle("A", read=at(-60))], [], "deleted", S, at(-60), "observed"
    ),
    # The rows that it has
    "deleted in the last pass's own second, after a row of that pass": Case(
        [lifecycle("A", changed=at(1))], [tenant("A", deleted=P)], "deleted", at(1), P, "deletion"
    ),
    "suspended in the last pass's own second, in which it was resumed": Case(
        [lifecycle("A", changed=at(1))],
        [tenant("A", suspended=True, suspended_at=P)],
        *("suspended", at(1), P, "status"),
    ),
}


@pytest.mark.parametrize("case", TIMES.values(), ids=TIMES)
def test_a_row_says_when_it_happened_and_how_that_is_known(case: Case) -> None:
    planned = plan(snapshot(case.snapshot), known(case.known))
    assert moment_of(planned, case.kind) == (case.occurred, case.not_before, case.source)


def moment_of(planned: Plan, kind: str) -> tuple[datetime, datetime, str]:
    (found,) = [row.at for _, row in planned.rows() if row.kind == kind]
    return found.occurred_at, found.not_before, found.source.value


def test_a_tenant_of_the_portal_reaches_back_to_its_last_row_before_the_first_pass() -> None:
    before = known([lifecycle(None, changed=at(-99))], last=None)
    planned = plan(snapshot([tenant("A", "aare", "mail")]), before)
    assert moment_of(planned, "enabled") == (S, at(-99), "observed")


def test_a_snapshot_of_a_clock_behind_ours_counts_as_of_the_last_pass() -> None:
    planned = plan(snapshot([tenant("A", "aare", "mail")], observed=at(-2)), known([A]))
    assert planned.snapshot.observed_at == LAST.observed_at
    assert moment_of(planned, "enabled") == (LAST.observed_at, P, "observed")
