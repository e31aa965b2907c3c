"""What stands between a plan and the ledger: in doubt nothing is deleted, or nothing is written."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from reconciler.core.cases import Case
from reconciler.core.guard import Limits, fence, guard
from reconciler.core.kinds import Kind
from reconciler.core.plan import Plan, plan
from reconciler.core.tenant import Clocks, KnownState, Lifecycle, Snapshot, Tenant
from reconciler.core.times import BEHIND_TOLERANCE, FUTURE_TOLERANCE
from reconciler.errors import OutdatedSnapshot, Refused
from tests.core.examples import LAST, P, at, known, lifecycle, said, snapshot, tenant, unreadable
from tests.outcome import outcome

TICK = timedelta(microseconds=1)
DEFAULT = Limits()


def guarded(shown: Snapshot, state: KnownState, limits: Limits = DEFAULT) -> Plan:
    return guard(plan(shown, state), state, limits)


def crowd(live: int) -> KnownState:
    return known([lifecycle(f"U{number}", f"t{number:03}") for number in range(live)])


def without(state: KnownState, weak: int) -> list[Tenant]:
    """The crowd as a snapshot shows it, without that many of it."""
    return [tenant(uid, one.name) for uid, one in list(state.live.items())[weak:]]


# --- The brake: (live tenants, how many of them vanish), and whether they are held back ---


@pytest.mark.parametrize(
    ("live", "weak", "held"),
    [
        # More than 5
        (20, 5, False),
        (20, 6, True),
        (50, 5, False),
        (50, 6, True),
        # More than 10 %, where that is more
        (60, 6, False),
        (60, 7, True),
        (69, 6, False),
        (69, 7, True),
        (70, 7, False),
        (100, 10, False),
        (100, 11, True),
        # More than half of several
        (3, 1, False),
        (3, 2, True),
        (4, 2, False),
        (4, 3, True),
        (7, 3, False),
        (7, 4, True),
        (8, 4, False),
        (8, 5, True),
        (10, 5, False),
        # All of them: the snapshot is empty, and the ledger is not
        (1, 1, True),
        (2, 2, True),
        (5, 5, True),
        # Nothing vanishes
        (0, 0, False),
        (1, 0, False),
        (20, 0, False),
    ],
)
def test_the_brake_holds_all_weak_deletions_or_none(live: int, weak: int, *, held: bool) -> None:
    state = crowd(live)
    planned = guarded(snapshot(without(state, weak)), state)
    assert len(planned.held) == (weak if held else 0)
    assert planned.counts()[Kind.DELETED] == (0 if held else weak)


def test_a_single_tenant_may_vanish_where_the_snapshot_is_not_empty() -> None:
    planned = guarded(snapshot([tenant("N", "new")]), crowd(1))
    assert said(planned) == ["new/N created", "t000/U0 deleted"]
    assert planned.held == ()


def test_two_of_two_are_more_than_half_of_several() -> None:
    planned = guarded(snapshot([tenant("N", "new")]), crowd(2))
    assert said(planned) == ["new/N created"]
    assert [one.uid for one in planned.held] == ["U0", "U1"]


def test_a_snapshot_with_nothing_but_a_malformed_tenant_is_not_empty() -> None:
    planned = guarded(snapshot([unreadable("X", "odd")]), crowd(1))
    assert said(planned) == ["t000/U0 deleted"]


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (Limits(), 5),
        (Limits(brake_floor=0), 2),
        (Limits(brake_floor=0, brake_percent=0), 0),
        (Limits(brake_floor=0, brake_percent=12.5), 2),
        (Limits(brake_percent=30), 6),
        (Limits(brake_floor=8), 8),
        (Limits(brake_floor=15), 10),
        (Limits(brake_percent=100), 10),
    ],
)
def test_both_settings_of_the_brake_count_and_half_of_the_tenants_is_too_many_with_any(
    limits: Limits, most: int
) -> None:
    state = crowd(20)
    counted = [len(guarded(snapshot(without(state, weak)), state, limits).held) for weak in range(13)]
    assert counted == [0 if weak <= most else weak for weak in range(13)]


@pytest.mark.parametrize(("live", "weak", "held"), [(4, 2, 0), (4, 3, 3), (60, 6, 0), (60, 7, 7)])
def test_tenants_of_the_portal_count_as_live_and_are_held_as_well(
    live: int, weak: int, held: int
) -> None:
    state = known([lifecycle(None, f"t{number:02}") for number in range(live)])
    left = [tenant(f"U{number}", f"t{number:02}") for number in range(weak, live)]
    planned = guarded(snapshot(left), state)
    assert [one.name for one in planned.held] == [f"t{number:02}" for number in range(held)]


def test_deletions_that_were_committed_are_not_held_however_many() -> None:
    state = crowd(20)
    gone = [tenant(one.uid, one.name, deleted=at(9)) for one in without(state, 0)]
    planned = guarded(snapshot(gone), state)
    assert planned.held == ()
    assert planned.counts() == {Kind.DELETED: 20}


def test_committed_deletions_do_not_count_towards_the_brake() -> None:
    state = crowd(20)
    left = without(state, 5)
    gone = [tenant(one.uid, one.name, deleted=at(9)) for one in left[:4]]
    planned = guarded(snapshot([*gone, *left[4:]]), state)
    assert planned.held == ()
    assert planned.counts() == {Kind.DELETED: 9}


@pytest.mark.parametrize(
    ("allowed", "live", "weak", "held"),
    [
        (6, 20, 7, True),
        (7, 20, 7, False),
        (8, 20, 7, False),
        (0, 20, 7, True),
        # What the brake lets through needs no permission
        (0, 20, 5, False),
        # An empty snapshot
        (0, 1, 1, True),
        (1, 1, 1, False),
        (19, 20, 20, True),
        (20, 20, 20, False),
    ],
)
def test_an_operator_lets_up_to_so_many_through(
    allowed: int,
    live: int,
    weak: int,
    *,
    held: bool,
) -> None:
    state = crowd(live)
    planned = guarded(snapshot(without(state, weak)), state, Limits(allow_deletions=allowed))
    assert len(planned.held) == (weak if held else 0)
    assert planned.counts()[Kind.DELETED] == (0 if held else weak)


# --- The rest of the pass ---


BRAKED: Sequence[Lifecycle] = [
    lifecycle("A", "aare", "mail"),
    lifecycle("B", "birs"),
    lifecycle("C", "cher"),
    lifecycle("D", "doubs"),
    lifecycle("E", "emme"),
]
"""Of these, A is replaced, B and C vanish, D is deleted, and E goes on."""
SHOWN = [
    tenant("A2", "aare", "wiki"),
    tenant("D", "doubs", deleted=at(9)),
    tenant("E", "emme", "mail"),
    tenant("N", "new"),
]
REST = ["doubs/D deleted", "emme/E enabled mail", "new/N created"]


def test_the_rest_of_a_braked_pass_is_written_and_a_held_tenants_successor_waits_with_it() -> None:
    planned = guarded(snapshot(SHOWN), known(BRAKED))
    assert said(planned) == REST
    assert [(one.name, one.uid) for one in planned.held] == [("aare", "A"), ("birs", "B"), ("cher", "C")]
    held = [change.lifecycle.uid for change in planned.changes if change.case is Case.HELD]
    assert held == ["A", "B", "C"]


def test_what_was_held_is_known_as_before_and_as_last_read_before_this_pass() -> None:
    after = outcome(guarded(snapshot(SHOWN), known(BRAKED)), known(BRAKED))
    assert [after.live[uid] for uid in "ABC"] == [
        lifecycle("A", "aare", "mail", read=P, held=True),
        lifecycle("B", "birs", read=P, held=True),
        lifecycle("C", "cher", read=P, held=True),
    ]


def test_once_it_is_let_through_the_successor_begins() -> None:
    after = outcome(guarded(snapshot(SHOWN), known(BRAKED)), known(BRAKED))
    planned = guarded(snapshot(SHOWN), after, Limits(allow_deletions=3))
    assert said(planned) == [
        *("aare/A deleted", "aare/A2 created", "aare/A2 enabled wiki"),
        *("birs/B deleted", "cher/C deleted"),
    ]
    assert {row.at.not_before for _, row in planned.rows() if row.kind is Kind.DELETED} == {P}


def test_a_held_tenant_that_is_there_again_goes_on_as_if_nothing_had_been() -> None:
    state = crowd(3)
    after = outcome(guarded(snapshot([]), state), state)
    planned = guarded(snapshot(without(state, 0), observed=at(120)), after)
    assert said(planned) == []
    assert outcome(planned, after).live == state.live


def test_a_second_run_right_after_the_first_lets_nothing_through_that_the_first_held() -> None:
    state = crowd(6)
    shown = snapshot([*without(state, 4), *(tenant(f"N{n}", f"new{n}") for n in range(10))])
    first = guarded(shown, state)
    assert len(first.held) == 4
    second = guarded(shown, outcome(first, state))
    assert said(second) == []
    assert [one.name for one in second.held] == [one.name for one in first.held]


def test_where_a_resource_tells_neither_uid_nor_name_nothing_is_deleted() -> None:
    everything = guarded(snapshot(SHOWN), known(BRAKED), Limits(allow_deletions=3))
    assert everything.counts()[Kind.DELETED] == 4
    planned = guarded(snapshot([*SHOWN, unreadable(None, None)]), known(BRAKED))
    assert said(planned) == ["emme/E enabled mail", "new/N created"]
    after = outcome(planned, known(BRAKED))
    assert {uid: one.read_at for uid, one in after.live.items()} == {
        **dict.fromkeys("ABCD", P),
        **dict.fromkeys("EN"),
    }


def test_the_portals_tenant_that_is_not_deleted_then_has_no_uid_yet_either() -> None:
    state = known([lifecycle(None)])
    planned = guarded(snapshot([tenant("A", deleted=at(9)), unreadable(None, None)]), state)
    assert [change.case for change in planned.changes] == [Case.SPARED]
    assert outcome(planned, state).lifecycles == [lifecycle(None, read=P)]


@pytest.mark.parametrize("resource", [unreadable("X", None), unreadable(None, "odd")])
def test_a_resource_that_tells_one_of_the_two_stops_no_deletion(resource: Tenant) -> None:
    planned = guarded(snapshot([tenant("N", "new"), resource]), crowd(1))
    assert said(planned) == ["new/N created", "t000/U0 deleted"]


# --- The fence ---


def test_another_clusters_snapshot_is_refused_naming_both() -> None:
    with pytest.raises(Refused, match=r"cluster-2.*cluster-1.*--adopt-cluster") as refusal:
        guarded(snapshot([], cluster="cluster-2"), known(cluster="cluster-1"))
    # Another pass would not change that.
    assert not isinstance(refusal.value, OutdatedSnapshot)
    assert refusal.value.exit_status == 3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("cluster-1", "cluster-1"), (None, "cluster-1"), ("cluster-1", None), (None, None)],
)
def test_a_file_that_names_no_cluster_is_of_the_ledgers_own(
    ours: str | None, theirs: str | None
) -> None:
    planned = guarded(snapshot([tenant("A")], cluster=theirs), known(cluster=ours))
    assert said(planned) == ["aare/A created"]
    assert not planned.adopts_cluster
    assert outcome(planned, known(cluster=ours)).cluster_uid == (ours or theirs)


def test_an_adopted_cluster_continues_the_state_of_the_one_before() -> None:
    state = known([lifecycle("A", "aare", "mail")], cluster="cluster-1", version="900")
    shown = snapshot([tenant("A", "aare", "mail", "wiki")], cluster="cluster-2", version="7")
    planned = guarded(shown, state, Limits(adopt_cluster=True))
    assert said(planned) == ["aare/A enabled wiki"]
    assert planned.adopts_cluster
    after = outcome(planned, state)
    assert (after.cluster_uid, after.cluster_version) == ("cluster-2", 7)
    with pytest.raises(Refused, match=r"cluster-1.*cluster-2"):
        guarded(snapshot([], cluster="cluster-1", version="901"), after)


def test_an_adopted_clusters_resource_versions_are_not_compared_with_those_of_the_one_before() -> None:
    state = known([lifecycle("A")], cluster="cluster-1", version="900")
    shown = snapshot([tenant("A")], cluster="cluster-2", version=None)
    after = outcome(guarded(shown, state, Limits(adopt_cluster=True)), state)
    later = guarded(snapshot([tenant("A")], observed=at(90), cluster="cluster-2", version="7"), after)
    assert said(later) == []


@pytest.mark.parametrize(
    ("last", "version", "is_older"),
    [
        ("100", "99", True),
        ("100", "100", False),
        ("100", "101", False),
        # They are numbers, not texts
        ("9", "10", False),
        ("10", "9", True),
        ("99999999999999999999", "100000000000000000000", False),
        ("100000000000000000000", "99999999999999999999", True),
        # What is no number tells nothing
        ("100", "99a", False),
        ("100", "-1", False),
        ("100", "", False),
        ("100", None, False),
        ("x100", "99", False),
        (None, "99", False),
        (None, None, False),
    ],
)
def test_a_lower_resource_version_is_older_and_an_equal_one_is_not(
    last: str | None,
    version: str | None,
    *,
    is_older: bool,
) -> None:
    shown, state = snapshot([], version=version), known(version=last)
    if is_older:
        with pytest.raises(OutdatedSnapshot, match=rf"{version}.*{last}.*--adopt-cluster"):
            guarded(shown, state)
    else:
        guarded(shown, state)
    adopted = guarded(shown, state, Limits(adopt_cluster=True))
    assert adopted.adopts_cluster is is_older


@pytest.mark.parametrize(
    ("observed", "is_older"),
    [
        (at(60), False),
        (LAST.observed_at, False),
        (LAST.observed_at - timedelta(seconds=5), False),
        (LAST.observed_at - timedelta(seconds=5) - TICK, True),
        (LAST.observed_at - timedelta(days=5), True),
    ],
)
@pytest.mark.parametrize("version", [None, "99a", "100", "101"])
@pytest.mark.parametrize("limits", [DEFAULT, Limits(adopt_cluster=True)], ids=["", "adopting"])
def test_more_than_five_seconds_before_the_last_pass_is_older_whatever_the_resource_version_says(
    observed: datetime,
    *,
    is_older: bool,
    version: str | None,
    limits: Limits,
) -> None:
    shown, state = snapshot([], observed=observed, version=version), known(version="100")
    if is_older:
        with pytest.raises(OutdatedSnapshot):
            guarded(shown, state, limits)
    else:
        guarded(shown, state, limits)


def test_before_the_first_pass_nothing_is_older() -> None:
    planned = guarded(snapshot([tenant("A")], version="1", observed=at(-9999)), known(last=None))
    assert said(planned) == ["aare/A created"]


@pytest.mark.parametrize("digest", [None, "0" * 64])
def test_a_snapshot_ahead_of_every_clock_is_refused(digest: str | None) -> None:
    seen = replace(snapshot([tenant("A")]), digest=digest)
    now = seen.observed_at - FUTURE_TOLERANCE
    exact = KnownState(clocks=Clocks(latest=now))
    assert fence(plan(seen, exact), exact, Limits())
    behind = KnownState(clocks=Clocks(latest=now - timedelta(seconds=1)))
    with pytest.raises(Refused, match="ahead of this machine's clock") as refused:
        fence(plan(seen, behind), behind, Limits(adopt_cluster=True))
    assert ("--observed-at" in str(refused.value)) is (digest is not None)


def test_a_server_far_behind_two_clocks_that_agree_is_refused() -> None:
    seen = snapshot([tenant("A")])
    now = seen.observed_at + BEHIND_TOLERANCE
    at_most = KnownState(clocks=Clocks(latest=now, agreed=now))
    assert fence(plan(seen, at_most), at_most, Limits())
    later = now + timedelta(seconds=1)
    # Of two clocks that differ nobody knows which one is right.
    apart = KnownState(clocks=Clocks(latest=later))
    assert fence(plan(seen, apart), apart, Limits())
    ahead = KnownState(clocks=Clocks(latest=later, agreed=later))
    with pytest.raises(Refused, match=r"behind this machine's clock .* set the API server's clock"):
        fence(plan(seen, ahead), ahead, Limits(adopt_cluster=True))
