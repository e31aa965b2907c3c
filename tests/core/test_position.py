"""A list is applied at its own position: what was watched since stays as it is, all else is compared."""

from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.guard import Limits, guard
from reconciler.core.plan import Plan, plan
from reconciler.core.position import is_overtaken, position
from reconciler.core.tenant import KnownState, LastPass, Newer, Setback, Snapshot
from reconciler.errors import OutdatedSnapshot, Refused, WentBack
from tests.core.examples import LAST, S, at, known, lifecycle, said, snapshot, tenant, unreadable

WRITTEN = [lifecycle("A", "aare", "mail"), lifecycle("B", "brienz", "mail"), lifecycle("N", "chur")]


def overtaken(**changed: Any) -> KnownState:
    """The ledger has listed at 100, and watched changes up to 120: of aare, and a new chur."""
    state = known(WRITTEN, last=replace(LAST, observed_at=at(90), has_version=True), version="120")
    newer = Newer(uids=frozenset({"A", "C", "N"}), names=frozenset({"aare", "chur"}))
    return replace(replace(state, listed_version=100, newer=newer), **changed)


def listed(version: int, *tenants: object, after: int | None = 100, asked: datetime = S) -> Snapshot:
    shown = snapshot(tenants, version=str(version), observed=asked)  # type: ignore[arg-type]
    return replace(shown, after=after)


def made(of: Snapshot, state: KnownState, *, adopt: bool = False) -> Plan:
    return guard(plan(of, state), state, Limits(adopt_cluster=adopt))


def test_a_tenant_of_which_newer_changes_are_written_is_left_out_and_all_others_are_compared() -> None:
    stale = (tenant("A", "aare"), tenant("B", "brienz", "wiki"), tenant("C", "chur"))
    planned = made(listed(110, *stale), overtaken())
    assert said(planned) == ["brienz/B enabled wiki", "brienz/B disabled mail"]
    assert planned.snapshot.size == 3


def test_who_is_missing_from_an_overtaken_list_is_deleted_unless_watched_since() -> None:
    planned = made(listed(110, tenant("D", "davos")), overtaken())
    assert said(planned) == ["brienz/B deleted", "davos/D created"]


def test_who_cannot_be_read_in_an_overtaken_list_is_not_frozen_if_watched_since() -> None:
    stale = (unreadable("A", "aare"), tenant("B", "brienz", "mail"))
    planned = made(listed(110, *stale), overtaken())
    assert (said(planned), planned.quarantined) == ([], ())


def test_the_instants_of_the_ledger_never_run_backwards() -> None:
    planned = made(listed(110, tenant("B", "brienz")), overtaken())
    assert planned.snapshot.observed_at == at(90)
    assert planned.snapshot.asked_at == at(59)
    (row,) = [row for _, row in planned.rows()]
    assert (row.at.not_before, row.at.occurred_at) == (at(0), at(90))


def test_where_the_clock_went_back_no_resource_version_makes_up_for_it() -> None:
    """Else a change would have the time of the last pass, and an interval that does not hold it."""
    shown = listed(130, tenant("B", "brienz"))
    watched = replace(shown, scope=frozenset({"B"}), after=None)
    for one in (shown, watched):
        waited = replace(one, after_instant=S)
        assert made(waited, overtaken()).snapshot.observed_at == at(90)
        with pytest.raises(OutdatedSnapshot, match="was set back, correct it"):
            made(replace(one, after_instant=at(90)), overtaken())


def test_a_file_is_not_moved_to_a_later_instant() -> None:
    with pytest.raises(OutdatedSnapshot, match="older than the last pass"):
        made(replace(listed(130), after=None), overtaken())


def test_a_server_that_shows_less_than_it_had_shown_has_gone_back() -> None:
    with pytest.raises(WentBack, match="--adopt-cluster"):
        made(listed(110, after=115), overtaken())
    assert made(listed(110, after=115), overtaken(), adopt=True).adopts_cluster


def test_a_list_that_another_list_has_overtaken_is_gathered_again() -> None:
    with pytest.raises(OutdatedSnapshot, match="try again"):
        made(listed(110), overtaken(listed_version=115))


def test_a_list_is_gathered_again_where_nobody_knows_whom_the_newer_changes_are_about() -> None:
    with pytest.raises(OutdatedSnapshot, match="try again"):
        made(listed(110), overtaken(newer=None))


def test_a_cluster_that_was_only_overtaken_is_not_adopted() -> None:
    with pytest.raises(Refused, match="was not restored"):
        made(listed(110), overtaken(), adopt=True)


@pytest.mark.parametrize(
    ("of", "is_so"),
    [
        (listed(110), True),
        (listed(120), False),
        (listed(99), False),
        (listed(110, after=115), False),
        (replace(listed(110), cluster_uid="cluster-2"), False),
        (replace(listed(110), scope=frozenset({"A"})), False),
        (replace(listed(110), resource_version="x"), False),
    ],
)
def test_only_a_list_between_two_positions_is_overtaken(of: Snapshot, *, is_so: bool) -> None:
    assert is_overtaken(of, overtaken()) is is_so


def test_the_first_list_follows_nothing_and_the_next_says_since_when_it_does_not_know() -> None:
    alone = replace(listed(110), gapless=False)
    first = plan(alone, KnownState()).snapshot
    assert (first.gapless, first.gap_since) == (None, None)
    last = LastPass(id=2, asked_at=at(30), observed_at=at(31))
    later = plan(alone, known(last=last)).snapshot
    assert (later.gapless, later.gap_since) == (False, at(30))
    seen = plan(replace(alone, gapless=True), known(last=last)).snapshot
    assert (seen.gapless, seen.gap_since) == (True, None)


def test_the_position_is_the_highest_and_not_the_last() -> None:
    state = overtaken()
    assert position(state).version == 120


SETBACK = Setback(found_at=at(70), version=90, ledger_version=115)


def test_once_a_server_has_gone_back_nothing_of_it_is_let_through_until_an_operator_decides() -> None:
    state = overtaken(setback=SETBACK)
    later = listed(500, tenant("B", "brienz", "mail"))
    change = replace(later, scope=frozenset({"B"}), after=None)
    for shown in (later, change):
        with pytest.raises(Refused, match=r"12:01:10Z .* \(resourceVersion 90 after 115\)") as refused:
            made(shown, state)
        assert not isinstance(refused.value, WentBack | OutdatedSnapshot)
    assert made(later, state, adopt=True).adopts_cluster
    assert position(state).version is None
