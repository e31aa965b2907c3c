"""A watched change is a snapshot of one tenant: the same plan, judged inside its scope only."""

from datetime import datetime
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from reconciler.core.cases import NONE, Case, cases
from reconciler.core.evidence import Evidence
from reconciler.core.guard import Limits, guard
from reconciler.core.plan import Plan, plan
from reconciler.core.position import is_news
from reconciler.core.reading import Dialect, NotTheList
from reconciler.core.state_cache import StateCache
from reconciler.core.tenant import KnownState, Snapshot, Tenant, Unreadable
from reconciler.core.times import TimeSource
from reconciler.core.watch_events import WatchFailed, read_event
from tests.core.examples import S, at, known, lifecycle, said, snapshot, tenant, unreadable
from tests.outcome import outcome


def watched(
    shown: Tenant | Unreadable | None, uid: str = "A", *, observed: datetime = S, version: str = "9"
) -> Snapshot:
    one = snapshot([shown] if shown else [], observed=observed)
    return replace(one, scope=frozenset({uid}), resource_version=version, source="watch")


def test_nobody_outside_the_scope_is_missing() -> None:
    state = known([lifecycle("A", "aare", "mail"), lifecycle("B", "brienz", "mail")])
    assert said(plan(watched(tenant("A", "aare", "mail", "wiki")), state)) == ["aare/A enabled wiki"]
    assert said(plan(watched(None), state)) == ["aare/A deleted"]
    found = cases(watched(None), state, NONE)
    assert [one.case for one in found] == [Case.VANISHED, Case.OUT_OF_SCOPE]


def test_a_pass_over_many_is_the_passes_over_each() -> None:
    state = known([lifecycle("A", "aare", "mail"), lifecycle("B", "brienz"), lifecycle("C", "chur")])
    shown = [tenant("A", "aare", "wiki"), tenant("B", "brienz", suspended=True), tenant("D", "davos")]
    whole = said(plan(snapshot(shown), state))
    each = [said(plan(watched(one, one.uid), state)) for one in shown]
    each.append(said(plan(watched(None, "C"), state)))
    assert sorted(whole) == sorted(row for rows in each for row in rows)


def test_a_tenant_that_is_watched_while_unreadable_is_frozen_alone() -> None:
    state = known([lifecycle("A", "aare", "mail"), lifecycle("B", "brienz")])
    planned = plan(watched(unreadable("A", "aare")), state)
    assert said(planned) == []
    assert [change.lifecycle.uid for change in planned.changes] == ["A"]


def test_a_newcomer_under_an_old_name_ends_the_old_one() -> None:
    kept = StateCache(known([lifecycle("A", "aare", "mail"), lifecycle("B", "brienz")]))
    shown = watched(tenant("N", "aare", created=at(30)), "N")
    planned = plan(shown, kept.known(shown))
    assert said(planned) == ["aare/A deleted", "aare/N created"]


def follow(kept: StateCache, *changes: Snapshot) -> list[Plan]:
    plans = []
    for change in changes:
        plans.append(guard(plan(change, kept.known(change)), kept.known(change), Limits()))
        kept.forward(plans[-1])
    return plans


def test_a_flap_between_two_lists_is_recorded_with_its_seconds() -> None:
    def owned(second: int, *skills: str) -> Tenant:
        return tenant("A", "aare", *skills, evidence=Evidence(packages=at(second)))

    kept = StateCache(known([lifecycle("A", "aare", "mail")]))
    # Both arrive late, together: after the connection was lost, say.
    plans = follow(
        kept,
        watched(owned(10, "mail", "wiki"), observed=at(50), version="9"),
        watched(owned(20, "mail"), observed=at(50), version="10"),
    )
    moments = [row.at for planned in plans for _, row in planned.rows()]
    assert [moment.occurred_at for moment in moments] == [at(10), at(20)]
    assert {moment.source for moment in moments} == {TimeSource.MANAGED_FIELDS}
    # What comes next came after what evidence dates.
    assert [moment.not_before for moment in moments] == [at(0), at(10)]


def test_a_row_without_evidence_proves_nothing_of_the_next() -> None:
    kept = StateCache(known([lifecycle("A", "aare", "mail", "wiki")]))
    plans = follow(
        kept,
        watched(tenant("A", "aare", "mail"), observed=at(50), version="9"),
        watched(tenant("A", "aare", "mail", "crm"), observed=at(51), version="10"),
    )
    moments = [row.at for planned in plans for _, row in planned.rows()]
    assert [moment.not_before for moment in moments] == [at(0), at(0)]


def test_what_happens_to_a_watched_newcomer_came_after_its_creation() -> None:
    kept = StateCache(known())
    plans = follow(
        kept,
        watched(tenant("N", "neu", created=at(30)), "N", observed=at(31), version="9"),
        watched(tenant("N", "neu", "mail", created=at(30)), "N", observed=at(50), version="10"),
    )
    (enabled,) = [row.at for _, row in plans[1].rows()]
    assert (enabled.not_before, enabled.occurred_at) == (at(30), at(50))


@pytest.mark.parametrize(("version", "news"), [("9", False), ("10", False), ("11", True), ("x", True)])
def test_what_is_not_newer_than_the_last_pass_is_no_news(version: str, *, news: bool) -> None:
    assert is_news(watched(None, version=version), known(version="10")) is news


def test_versions_of_two_clusters_are_not_compared() -> None:
    elsewhere = replace(watched(None, version="9"), cluster_uid="cluster-2")
    assert is_news(elsewhere, known(version="10"))


def vanished(kept: StateCache, count: int, start: int = 0) -> list[Plan]:
    return follow(
        kept,
        *(
            watched(None, f"u{number}", observed=at(60 + number), version=str(100 + number))
            for number in range(start, start + count)
        ),
    )


def test_watched_deletions_without_a_timestamp_count_together_over_an_hour() -> None:
    kept = StateCache(known([lifecycle(f"u{number}", f"t{number}") for number in range(30)]))
    plans = vanished(kept, 6)
    assert [len(planned.held) for planned in plans] == [0, 0, 0, 0, 0, 1]
    # An hour later the first five are forgotten; the one that is held stays held.
    later = replace(watched(None, "u7", version="200"), observed_at=at(4000))
    (planned,) = follow(kept, later)
    assert said(planned) == ["t7/u7 deleted"]


def test_a_list_counts_what_was_watched_within_the_hour() -> None:
    kept = StateCache(known([lifecycle(f"u{number}", f"t{number}") for number in range(30)]))
    vanished(kept, 3)
    left = [tenant(f"u{number}", f"t{number}") for number in range(6, 30)]
    listed = snapshot(left, observed=at(100))
    planned = guard(plan(listed, kept.known(listed)), kept.known(listed), Limits())
    assert len(planned.held) == 3


def test_a_watched_pass_does_not_advance_what_a_list_has_seen() -> None:
    before = known([lifecycle("A", "aare", "mail")])
    after = outcome(plan(watched(tenant("A", "aare", "wiki")), before), before)
    assert after.listed_at == before.listed_at
    assert isinstance(after, KnownState)


def event(kind: str, **metadata: Any) -> bytes:
    tenant = {
        "apiVersion": "pieced.ch/v1alpha1",
        "kind": "PiecedTenant",
        "metadata": {
            "name": "aare",
            "uid": "A",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-22T11:00:00Z",
            "labels": {"pieced.ch/zitadel-org-id": "1"},
            **metadata,
        },
        "spec": {"packages": ["mail"]},
    }
    return json.encode({"type": kind, "object": tenant})


def test_events_are_snapshots_of_their_tenant() -> None:
    added = read_event(event("ADDED"), S, Dialect())
    assert (added.scope, added.resource_version, len(added.tenants)) == (frozenset({"A"}), "7", 1)
    deleted = read_event(event("DELETED"), S, Dialect())
    assert (deleted.scope, deleted.size) == (frozenset({"A"}), 0)
    committed = read_event(event("DELETED", deletionTimestamp="2026-11-22T11:59:00Z"), S, Dialect())
    assert committed.tenants[0].deleted_at is not None
    odd = read_event(event("MODIFIED", labels={}), S, Dialect())
    assert (odd.scope, len(odd.tenants), len(odd.unreadable)) == (frozenset({"A"}), 0, 1)
    bookmark = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}'
    noted = read_event(bookmark, S, Dialect())
    assert (noted.scope, noted.size, noted.resource_version) == (frozenset(), 0, "12")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"type":"ADDED"}',
        b'{"type":"WOBBLED","object":{"metadata":{"resourceVersion":"1"}}}',
        b'{"type":"BOOKMARK","object":{"metadata":{}}}',
        b'{"type":"ADDED","object":{"kind":"Pod","metadata":{"resourceVersion":"1"}}}',
    ],
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(NotTheList):
        read_event(line, S, Dialect())


def test_an_error_within_a_200_says_its_code() -> None:
    line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}'
    with pytest.raises(WatchFailed, match="too old") as failure:
        read_event(line, S, Dialect())
    assert failure.value.code == 410


def together(kept: StateCache, *changes: Snapshot, served: bool = True) -> list[Plan]:
    """The changes that arrived together, as `run_watched` judges them."""
    plans = []
    for place, one in enumerate(changes):
        vanishing = sum(other.is_absence for other in changes[place:])
        state = replace(kept.known(one), vanishing=vanishing)
        plans.append(guard(plan(one, state), state, Limits(hold_deletions=not served)))
        kept.forward(plans[-1])
    return plans


def absences(count: int, start: int = 0) -> list[Snapshot]:
    return [
        watched(None, f"u{number}", observed=at(60), version=str(100 + number))
        for number in range(start, start + count)
    ]


def test_deletions_that_come_together_are_judged_together() -> None:
    tenants = [lifecycle(f"u{number}", f"t{number}") for number in range(30)]
    assert [len(one.held) for one in together(StateCache(known(tenants)), *absences(5))] == [0] * 5
    kept = StateCache(known(tenants))
    assert [len(one.held) for one in together(kept, *absences(6))] == [1] * 6
    # The rest of a burst of which the beginning is held is held, too.
    assert [len(one.held) for one in together(kept, *absences(2, 6))] == [1] * 2


def test_where_the_resource_is_going_not_even_one_deletion_is_let_through() -> None:
    tenants = [lifecycle(f"u{number}", f"t{number}") for number in range(30)]
    (planned,) = together(StateCache(known(tenants)), *absences(1), served=False)
    assert [one.name for one in planned.held] == ["t0"]
    committed = watched(tenant("u1", "t1", deleted=at(50)), "u1", version="200")
    (planned,) = together(StateCache(known(tenants)), committed, served=False)
    assert said(planned) == ["t1/u1 deleted"]
