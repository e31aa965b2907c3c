"""The laws of the plan, whatever a cluster shows: nothing twice, in no order, each for itself."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from msgspec.structs import replace

from reconciler.core.changes import Change, Row
from reconciler.core.evidence import Evidence
from reconciler.core.guard import Limits, guard
from reconciler.core.kinds import Kind
from reconciler.core.plan import Plan, plan
from reconciler.core.reading import Dialect, read_page, read_tenants
from reconciler.core.tenant import KnownState, Lifecycle, Snapshot, Tenant, Unreadable
from reconciler.core.times import TimeSource
from tests.core.examples import at, known, lifecycle, said, snapshot, tenant, unreadable
from tests.outcome import outcome

NAMES = ("aare", "birs", "cher")
PORTAL = known([lifecycle(None, "aare", "mail"), lifecycle(None, "birs", suspended=True)], last=None)

law = settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)

skills = some.lists(some.sampled_from(["chat", "mail", "wiki"]), unique=True)
limits = some.builds(
    Limits, brake_floor=some.integers(0, 5), allow_deletions=some.none() | some.integers(0, 3)
)


def around(instant: datetime) -> some.SearchStrategy[datetime]:
    """Cut to the second as Kubernetes does, or finer; sometimes ahead of the clock."""
    whole = some.integers(-60, 5).map(lambda s: instant.replace(microsecond=0) + timedelta(seconds=s))
    return whole | some.integers(-60_000, 5_000).map(lambda ms: instant + timedelta(milliseconds=ms))


def evidence(instant: datetime) -> some.SearchStrategy[Evidence]:
    times = some.none() | around(instant)
    items = some.none() | some.dictionaries(some.sampled_from(["chat", "mail"]), around(instant))
    return some.builds(Evidence, packages=times, items=items, suspend=times)


@some.composite
def resources(draw: some.DrawFn, name: str, observed: datetime) -> Tenant | Unreadable | None:
    """What a snapshot shows under a name: mostly the first of that name, and mostly readable."""
    uid = name[0].upper() + draw(some.sampled_from("1112"))
    match draw(some.sampled_from(["live"] * 6 + ["absent", "deleted", "unreadable"])):
        case "absent":
            return None
        case "unreadable":
            who = [(uid, name), (uid, name), (uid, None), (None, name), (None, None)]
            return unreadable(*draw(some.sampled_from(who)))
        case kind:
            return tenant(
                uid,
                name,
                *draw(skills),
                org=draw(some.sampled_from(["org-1"] * 8 + ["org-2"])),
                created=draw(around(observed)),
                suspended=draw(some.booleans()),
                suspended_at=draw(some.none() | around(observed)),
                deleted=draw(around(observed)) if kind == "deleted" else None,
                evidence=draw(evidence(observed)),
            )


@some.composite
def snapshots(draw: some.DrawFn, after: datetime) -> Snapshot:
    """A snapshot that may be asked for after that instant; by a clock that is up to 4 s behind."""
    asked = after + timedelta(milliseconds=draw(some.integers(-4_000, 30_000)))
    observed = asked + timedelta(milliseconds=draw(some.integers(0, 3_000)))
    found = [draw(resources(name, observed)) for name in draw(some.permutations(NAMES))]
    return replace(
        snapshot([one for one in found if one is not None], observed=observed), asked_at=asked
    )


@some.composite
def histories(draw: some.DrawFn) -> list[Snapshot]:
    """Snapshots, in the order in which they are planned."""
    history: list[Snapshot] = []
    clock = at(0)
    for _ in range(draw(some.integers(1, 5))):
        history.append(draw(snapshots(clock)))
        clock = max(clock, history[-1].observed_at)
    return history


class Pass(NamedTuple):
    known: KnownState
    plan: Plan
    then: KnownState


def replay(
    history: Sequence[Snapshot], guarded: Limits | None = None, start: KnownState | None = None
) -> list[Pass]:
    """A pass for each snapshot, each on what the one before it left."""
    state, passes = start or KnownState(), []
    for shown in history:
        planned = plan(shown, state)
        if guarded is not None:
            planned = guard(planned, state, guarded)
        passes.append(Pass(state, planned, outcome(planned, state)))
        state = passes[-1].then
    return passes


def ledger(passes: Sequence[Pass]) -> Iterator[tuple[Pass, Change, Row]]:
    return ((made, change, row) for made in passes for change, row in made.plan.rows())


def lives(passes: Sequence[Pass]) -> dict[str, list[Row]]:
    """The rows of each lifecycle, in the order in which they were written; a uid has only one."""
    rows: dict[str, list[Row]] = {}
    for _, change, row in ledger(passes):
        assert change.lifecycle.uid is not None
        rows.setdefault(change.lifecycle.uid, []).append(row)
    return rows


# --- Planning a snapshot against the state it produced is empty ---


@law
@given(histories(), some.sampled_from([KnownState(), PORTAL]))
def test_the_same_snapshot_twice_changes_nothing(history: list[Snapshot], start: KnownState) -> None:
    for shown, made in zip(history, replay(history, start=start), strict=True):
        again = plan(shown, made.then)
        assert said(again) == []
        assert again.changes == ()
        assert again.quarantined == made.plan.quarantined


@law
@given(histories(), limits)
def test_the_same_snapshot_twice_changes_nothing_after_the_guard(
    history: list[Snapshot], guarded: Limits
) -> None:
    made = replay(history, guarded)[-1]
    again = guard(plan(history[-1], made.then), made.then, guarded)
    # All that is left is what waits for an operator: the brake weighs it against more tenants now.
    waiting = {one.name for one in made.plan.held}
    assert {change.lifecycle.name for change in again.changes} <= waiting
    assert again.quarantined == made.plan.quarantined


# --- No order ---


@law
@given(histories(), some.randoms(use_true_random=False))
def test_the_order_of_tenants_changes_nothing(history: list[Snapshot], random: Any) -> None:
    for shown, made in zip(history, replay(history), strict=True):
        tenants, odd, live = list(shown.tenants), list(shown.unreadable), list(made.known.live.items())
        for one in (tenants, odd, live):
            random.shuffle(one)
        mixed = plan(
            replace(shown, tenants=tenants, unreadable=odd), replace(made.known, live=dict(live))
        )
        assert mixed.changes == made.plan.changes
        assert mixed.quarantined == made.plan.quarantined


@law
@given(some.lists(skills, min_size=1, max_size=4), some.randoms(use_true_random=False))
def test_the_order_of_items_pages_keys_and_skills_changes_nothing(
    packages: list[list[str]], random: Any
) -> None:
    items = [
        {
            "kind": "PiecedTenant",
            "metadata": {
                "name": name,
                "uid": name.upper(),
                "creationTimestamp": "2026-11-22T12:00:00Z",
                "labels": {"other": "label", "pieced.ch/zitadel-org-id": "org-1"},
            },
            "spec": {"packages": some_skills, "suspend": False},
        }
        for name, some_skills in zip(NAMES, packages, strict=False)
    ]
    mixed = shuffled(items, random)
    cut = random.randint(0, len(items))
    assert read(mixed[:cut]) | read(mixed[cut:]) == read(items)


def shuffled(value: Any, random: Any) -> Any:
    """The same, with every list and every object in another order, and some strings twice."""
    if isinstance(value, dict):
        pairs = [(key, shuffled(one, random)) for key, one in value.items()]
        return dict(random.sample(pairs, len(pairs)))
    if isinstance(value, list):
        found = [shuffled(one, random) for one in value]
        found += [one for one in found if isinstance(one, str)][:1]
        return random.sample(found, len(found))
    return value


def read(items: Sequence[object]) -> set[Tenant]:
    body = {"kind": "PiecedTenantList", "apiVersion": "pieced.ch/v1", "items": items}
    page = read_page(json.dumps(body).encode(), Dialect())
    tenants, odd = read_tenants(page.items, at(0), Dialect())
    assert odd == []
    return set(tenants)


# --- Each for itself ---


@law
@given(histories())
def test_a_pass_over_many_tenants_equals_passes_over_each(history: list[Snapshot]) -> None:
    for shown, made in zip(history, replay(history), strict=True):
        readable = replace(shown, unreadable=())
        together = plan(readable, made.known)
        each = [plan(only(name, readable), known_of(name, made.known)) for name in NAMES]
        assert together.changes == tuple(change for alone in each for change in alone.changes)
        assert together.quarantined == tuple(one for alone in each for one in alone.quarantined)


def only(name: str, shown: Snapshot) -> Snapshot:
    return replace(shown, tenants=[one for one in shown.tenants if one.name == name])


def known_of(name: str, state: KnownState) -> KnownState:
    return replace(state, live={uid: one for uid, one in state.live.items() if one.name == name})


@law
@given(histories())
def test_one_malformed_tenant_changes_nothing_for_another(history: list[Snapshot]) -> None:
    for shown, made in zip(history, replay(history), strict=True):
        without = plan(replace(shown, unreadable=()), made.known)
        live = made.known.live
        odd = {one.name for one in shown.unreadable}
        odd |= {live[one.uid].name for one in shown.unreadable if one.uid and one.uid in live}
        assert [one for one in made.plan.changes if one.lifecycle.name not in odd] == [
            one for one in without.changes if one.lifecycle.name not in odd
        ]


# --- The rows add up ---


@law
@given(histories(), some.none() | limits)
def test_each_subject_is_switched_on_and_off_by_turns_within_one_life(
    history: list[Snapshot], guarded: Limits | None
) -> None:
    for rows in lives(replay(history, guarded)).values():
        kinds = [row.kind for row in rows]
        assert kinds[0] is Kind.CREATED
        assert kinds.count(Kind.CREATED) == 1
        assert Kind.DELETED not in kinds[:-1]
        subjects: dict[str | None, list[Kind]] = {}
        for row in rows:
            if row.kind not in (Kind.CREATED, Kind.DELETED):
                subjects.setdefault(row.value, []).append(row.kind)
        for skill, turns in subjects.items():
            on, off = (Kind.SUSPENDED, Kind.RESUMED) if skill is None else (Kind.ENABLED, Kind.DISABLED)
            assert turns == [(on, off)[number % 2] for number in range(len(turns))]


@law
@given(histories(), some.none() | limits)
def test_the_rows_add_up_to_the_known_state(history: list[Snapshot], guarded: Limits | None) -> None:
    passes = replay(history, guarded)
    then = passes[-1].then
    folded = {uid: fold(rows) for uid, rows in lives(passes).items()}
    alive = {uid: state for uid, state in folded.items() if state is not None}
    assert alive == {uid: (set(one.skills), one.suspended) for uid, one in then.live.items()}
    assert folded.keys() - alive.keys() == set(then.gone)


@law
@given(histories())
def test_the_rows_add_up_to_the_last_snapshot_and_who_is_frozen(history: list[Snapshot]) -> None:
    passes = replay(history)
    planned, then = passes[-1].plan, passes[-1].then
    aside = {one.uid for one in planned.quarantined}
    readable = [one for one in history[-1].tenants if one.uid not in aside and one.deleted_at is None]
    folded = {uid: fold(rows) for uid, rows in lives(passes).items()}
    for one in readable:
        assert folded[one.uid] == (set(one.skills), one.suspended)
    frozen = {uid for uid, one in then.live.items() if one.read_at is not None}
    assert then.live.keys() == {one.uid for one in readable} | frozen
    names = {one.name for one in planned.quarantined}
    assert all(uid in aside or then.live[uid].name in names for uid in frozen)


def fold(rows: Sequence[Row]) -> tuple[set[str | None], bool] | None:
    """The skills, and whether it is suspended; None: it has ended."""
    on: set[str | None] = set()
    suspended = False
    for row in rows:
        match row.kind:
            case Kind.ENABLED:
                on.add(row.value)
            case Kind.DISABLED:
                on.remove(row.value)
            case Kind.SUSPENDED | Kind.RESUMED:
                suspended = row.kind is Kind.SUSPENDED
            case Kind.DELETED:
                return None
    return on, suspended


# --- Times ---


@law
@given(histories(), some.none() | limits, some.sampled_from([KnownState(), PORTAL]))
def test_every_row_is_an_interval_that_ends_with_the_snapshot(
    history: list[Snapshot], guarded: Limits | None, start: KnownState
) -> None:
    for made, _, row in ledger(replay(history, guarded, start)):
        assert row.at.not_before <= row.at.occurred_at <= made.plan.snapshot.observed_at


@law
@given(histories(), some.none() | limits)
def test_the_rows_of_a_life_never_run_backwards(history: list[Snapshot], guarded: Limits | None) -> None:
    for rows in lives(replay(history, guarded)).values():
        for skill in {row.value for row in rows}:
            subject = [row.at.occurred_at for row in rows if row.value == skill]
            assert all(earlier <= later for earlier, later in pairwise(subject))


@law
@given(histories(), some.none() | limits)
def test_no_row_of_a_life_lies_after_its_deletion(
    history: list[Snapshot], guarded: Limits | None
) -> None:
    for rows in lives(replay(history, guarded)).values():
        if rows[-1].kind is Kind.DELETED:
            assert all(row.at.occurred_at <= rows[-1].at.occurred_at for row in rows)


@law
@given(histories(), some.none() | limits)
def test_an_interval_reaches_back_to_the_last_pass_that_could_read_its_tenant(
    history: list[Snapshot], guarded: Limits | None
) -> None:
    read_at: dict[str, datetime] = {}
    for made in replay(history, guarded):
        for change, row in made.plan.rows():
            uid = change.lifecycle.uid
            assert uid is not None
            if not change.case.begins and row.at.source is not TimeSource.DELETION:
                # A clock that goes back may have asked before the state that is compared with.
                since = min(read_at[uid], made.plan.snapshot.observed_at)
                assert row.at.not_before == since
        for uid in made.then.live.keys() - not_read(made):
            read_at[uid] = made.plan.snapshot.asked_at


def not_read(made: Pass) -> set[str]:
    """Who was live before and after, and could not be compared with the snapshot in between."""
    shown = {one.uid: one for one in made.plan.snapshot.tenants}
    aside = {one.uid for one in made.plan.quarantined}

    def was_read(one: Lifecycle) -> bool:
        found = shown.get(one.uid or "")
        return found is not None and found.uid not in aside and found.deleted_at is None

    return {uid for uid, one in made.then.live.items() if not was_read(one)}
