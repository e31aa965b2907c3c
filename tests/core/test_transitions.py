"""Every transition of a tenant: what is known, what the snapshot shows, the rows, and who waits."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from reconciler.core.evidence import Evidence
from reconciler.core.plan import Overrides, plan
from reconciler.core.tenant import KnownState, Lifecycle, Tenant, Unreadable
from reconciler.core.times import Moment, TimeSource
from reconciler.errors import Refused, SnapshotError
from tests.core.examples import P, S, at, known, lifecycle, said, snapshot, tenant, unreadable
from tests.outcome import outcome

GONE_BY = at(30)


class Case(NamedTuple):
    """One line of the table. Known is a lifecycle, or the uid of one that has ended."""

    known: Sequence[Lifecycle | str]
    snapshot: Sequence[Tenant | Unreadable]
    rows: Sequence[str] = ()
    quarantined: Sequence[str] = ()
    """The name of each, and the field that it waits for."""


TRANSITIONS = {
    # Absent ->
    "a new tenant is created, with all that it has": Case(
        [],
        [tenant("A", "aare", "wiki", "mail", suspended=True)],
        ["aare/A created", "aare/A enabled mail", "aare/A enabled wiki", "aare/A suspended"],
    ),
    "a new tenant with nothing is only created": Case([], [tenant("A")], ["aare/A created"]),
    "deletion is committed at first sight": Case(
        [],
        [tenant("A", "aare", "mail", suspended=True, deleted=GONE_BY)],
        ["aare/A created", "aare/A enabled mail", "aare/A suspended", "aare/A deleted"],
    ),
    "nothing known and nothing there": Case([], []),
    # Live ->
    "nothing changed": Case(
        [lifecycle("A", "aare", "mail", suspended=True)], [tenant("A", "aare", "mail", suspended=True)]
    ),
    "skills are enabled and disabled": Case(
        [lifecycle("A", "aare", "mail", "wiki", "chat")],
        [tenant("A", "aare", "mail", "files", "boards")],
        [
            *("aare/A enabled boards", "aare/A enabled files"),
            *("aare/A disabled chat", "aare/A disabled wiki"),
        ],
    ),
    "the last skill is disabled": Case(
        [lifecycle("A", "aare", "mail")], [tenant("A")], ["aare/A disabled mail"]
    ),
    "it is suspended": Case([lifecycle("A")], [tenant("A", suspended=True)], ["aare/A suspended"]),
    "it is resumed": Case([lifecycle("A", suspended=True)], [tenant("A")], ["aare/A resumed"]),
    "it is resumed, whatever its status still says": Case(
        [lifecycle("A", suspended=True)], [tenant("A", suspended_at=at(30))], ["aare/A resumed"]
    ),
    "everything changes at once": Case(
        [lifecycle("A", "aare", "mail")],
        [tenant("A", "aare", "wiki", suspended=True)],
        ["aare/A enabled wiki", "aare/A disabled mail", "aare/A suspended"],
    ),
    "deletion is committed, and nothing else counts any more": Case(
        [lifecycle("A", "aare", "mail")],
        [tenant("A", "aare", "wiki", suspended=True, deleted=GONE_BY)],
        ["aare/A deleted"],
    ),
    "it is absent": Case([lifecycle("A", "aare", "mail", suspended=True)], [], ["aare/A deleted"]),
    "one of several is absent": Case(
        [lifecycle("A"), lifecycle("B", "birs")], [tenant("B", "birs")], ["aare/A deleted"]
    ),
    # Live as uid A -> the same name as uid B
    "a predecessor is deleted before its successor is created": Case(
        [lifecycle("B", "birs", "mail", suspended=True)],
        [tenant("A", "birs", "mail", created=GONE_BY)],
        ["birs/B deleted", "birs/A created", "birs/A enabled mail"],
    ),
    "the successor has gone as well": Case(
        [lifecycle("A")],
        [tenant("B", created=at(20), deleted=GONE_BY)],
        ["aare/A deleted", "aare/B created", "aare/B deleted"],
    ),
    "the successor cannot be read": Case(
        [lifecycle("A")], [unreadable("B", "aare")], ["aare/A deleted"]
    ),
    # Gone ->
    "a gone tenant is still being deleted": Case(["A"], [tenant("A", deleted=GONE_BY)]),
    "a gone tenant is absent": Case(["A"], []),
    "a gone tenant lives": Case(["A"], [tenant("A", "aare", "mail")], [], ["aare metadata.uid"]),
    "a gone tenant lives, under a name that another one had": Case(
        ["A", lifecycle("B", "aare")], [tenant("A")], ["aare/B deleted"], ["aare metadata.uid"]
    ),
    "a gone tenant has a successor": Case(["A"], [tenant("B")], ["aare/B created"]),
    "a gone tenant changed its org": Case(["A"], [tenant("A", org="org-2", deleted=GONE_BY)]),
    # Quarantined means frozen
    "its org changed": Case(
        [lifecycle("A", "aare", "mail")],
        [tenant("A", "aare", "wiki", org="org-2", suspended=True)],
        [],
        ["aare metadata.labels"],
    ),
    "its org changed, and its deletion is committed": Case(
        [lifecycle("A")], [tenant("A", org="org-2", deleted=GONE_BY)], [], ["aare metadata.labels"]
    ),
    "frozen is the uid": Case([lifecycle("A")], [unreadable("A", None)]),
    "frozen is the uid, and not whoever had the name": Case(
        [lifecycle("A"), lifecycle("B", "birs")], [unreadable("A", "birs")], ["birs/B deleted"]
    ),
    "where the uid is unreadable, frozen is the name": Case(
        [lifecycle("A"), lifecycle("B", "birs")], [unreadable(None, "aare")], ["birs/B deleted"]
    ),
    "a name whose owner cannot be read has no successor yet": Case(
        [lifecycle("A")], [unreadable("A", None), tenant("B")], [], ["aare metadata.name"]
    ),
    "all others go on": Case(
        [lifecycle("A"), lifecycle("B", "birs")],
        [unreadable("A", "aare"), tenant("B", "birs", "mail"), tenant("C", "cher")],
        ["birs/B enabled mail", "cher/C created"],
    ),
    # Written by the portal, without a uid
    "the portal's tenant is recognised by its name": Case(
        [lifecycle(None, "aare", "mail")], [tenant("A", "aare", "mail")]
    ),
    "the portal's tenant has changed since": Case(
        [lifecycle(None, "aare", "mail")],
        [tenant("A", "aare", "wiki", suspended=True)],
        ["aare/A enabled wiki", "aare/A disabled mail", "aare/A suspended"],
    ),
    "the portal's tenant is absent": Case([lifecycle(None)], [], ["aare/None deleted"]),
    "the portal's tenant is being deleted": Case(
        [lifecycle(None, "aare", "mail")],
        [tenant("A", "aare", "mail", deleted=GONE_BY)],
        ["aare/A deleted"],
    ),
    "the portal's tenant belongs to another org now": Case(
        [lifecycle(None)], [tenant("A", org="org-2")], [], ["aare metadata.labels"]
    ),
    "the portal's tenant cannot be read": Case([lifecycle(None)], [unreadable("A", "aare")]),
    "a gone tenant is not the portal's of that name": Case(
        ["A", lifecycle(None)], [tenant("A", deleted=GONE_BY)], ["aare/None deleted"]
    ),
    # Several
    "tenants are listed by name, and then by kind and skill": Case(
        [lifecycle("A", "cher"), lifecycle("C", "birs", "wiki", suspended=True)],
        [tenant("B", "aare", "wiki", "mail"), tenant("C", "birs", "mail"), tenant("D", "cher")],
        [
            *("aare/B created", "aare/B enabled mail", "aare/B enabled wiki"),
            *("birs/C enabled mail", "birs/C disabled wiki", "birs/C resumed"),
            *("cher/A deleted", "cher/D created"),
        ],
    ),
}

EVERY = pytest.mark.parametrize("case", TRANSITIONS.values(), ids=TRANSITIONS)


def state(case: Case) -> KnownState:
    return known(
        [one for one in case.known if isinstance(one, Lifecycle)],
        gone=[one for one in case.known if isinstance(one, str)],
    )


@EVERY
def test_a_transition_asks_for_these_rows_and_no_others(case: Case) -> None:
    planned = plan(snapshot(case.snapshot), state(case))
    assert said(planned) == list(case.rows)


@EVERY
def test_a_transition_sets_these_tenants_aside_and_no_others(case: Case) -> None:
    planned = plan(snapshot(case.snapshot), state(case))
    malformed = [one for one in case.snapshot if isinstance(one, Unreadable)]
    undecided = [one for one in planned.quarantined if one not in malformed]
    assert len(planned.quarantined) == len(malformed) + len(undecided)
    assert [f"{one.name} {one.reason.partition(':')[0]}" for one in undecided] == list(case.quarantined)


@EVERY
def test_after_a_transition_the_same_snapshot_asks_for_nothing(case: Case) -> None:
    shown = snapshot(case.snapshot)
    first = plan(shown, state(case))
    again = plan(shown, outcome(first, state(case)))
    assert said(again) == []
    assert again.changes == ()
    assert again.quarantined == first.quarantined


@pytest.mark.parametrize(
    ("uid", "aside"),
    [
        ("A", tenant("A", "aare", "wiki", org="org-2", suspended=True)),
        ("A", unreadable("A", "aare")),
        ("A", unreadable("A", None)),
        ("A", unreadable(None, "aare")),
        (None, tenant("A", "aare", "wiki", org="org-2", suspended=True)),
        (None, unreadable("A", "aare")),
        (None, unreadable(None, "aare")),
    ],
)
def test_of_a_quarantined_tenant_only_the_last_time_it_could_be_read_is_written_down(
    uid: str | None, aside: Tenant | Unreadable
) -> None:
    before = known([lifecycle(uid, "aare", "mail")])
    after = outcome(plan(snapshot([aside]), before), before)
    assert after.lifecycles == [lifecycle(uid, "aare", "mail", read=P)]


def test_a_tenant_of_the_portal_is_known_by_its_uid_once_it_was_seen() -> None:
    before = known([lifecycle(None, "aare", "mail")])
    planned = plan(snapshot([tenant("A", "aare", "mail")]), before)
    assert [change.recognised for change in planned.changes] == [True]
    after = outcome(planned, before)
    assert (after.adopted, after.live) == ({}, {"A": lifecycle("A", "aare", "mail")})


def test_a_tenant_that_lives_under_another_name_is_not_taken_for_deleted() -> None:
    before = known([lifecycle("A", "aare")])
    planned = plan(snapshot([tenant("A", "birs"), tenant("B", "aare")]), before)
    assert "birs" in [one.name for one in planned.quarantined]
    assert "aare/A deleted" not in said(planned)


DECISIONS = {
    "a rebound tenant goes on under the successor's uid": (
        Overrides(rebind=True),
        Case([lifecycle("A", "aare", "mail")], [tenant("B", "aare", "mail", created=GONE_BY)]),
    ),
    "what changed of a rebound tenant is written": (
        Overrides(rebind=True),
        Case([lifecycle("A")], [tenant("B", "aare", "mail", created=GONE_BY)], ["aare/B enabled mail"]),
    ),
    "a tenant that came back to another org is not rebound": (
        Overrides(rebind=True),
        Case([lifecycle("A")], [tenant("B", org="org-2")], [], ["aare metadata.labels"]),
    ),
    "rebinding neither revives nor spares who is absent": (
        Overrides(rebind=True),
        Case([lifecycle("A")], [tenant("B", "birs")], ["aare/A deleted", "birs/B created"]),
    ),
    "a reopened tenant is live again": (
        Overrides(reopen=frozenset({"aare"})),
        Case(["B"], [tenant("B")]),
    ),
    "what changed of a reopened tenant is written": (
        Overrides(reopen=frozenset({"aare"})),
        Case(["B"], [tenant("B", "aare", "mail")], ["aare/B enabled mail"]),
    ),
    "a tenant that is moved ends under its old org and begins under the new one": (
        Overrides(move=frozenset({"aare"})),
        Case(
            [lifecycle("A", "aare", "mail", "wiki", suspended=True)],
            [tenant("A", "aare", "mail", "chat", org="org-2", suspended=True)],
            [
                *("aare/A deleted", "aare/A created"),
                *("aare/A enabled chat", "aare/A enabled mail", "aare/A suspended"),
            ],
        ),
    ),
    "a moved tenant whose deletion is committed ends and does not begin again": (
        Overrides(move=frozenset({"aare"})),
        Case([lifecycle("A")], [tenant("A", org="org-2", deleted=GONE_BY)], ["aare/A deleted"]),
    ),
    "the portal's tenant is recognised and moved": (
        Overrides(move=frozenset({"aare"})),
        Case([lifecycle(None)], [tenant("A", org="org-2")], ["aare/A deleted", "aare/A created"]),
    ),
    "another tenant is not moved with it": (
        Overrides(move=frozenset({"aare"})),
        Case(
            [lifecycle("A"), lifecycle("B", "birs")],
            [tenant("A", org="org-2"), tenant("B", "birs", org="org-2")],
            ["aare/A deleted", "aare/A created"],
            ["birs metadata.labels"],
        ),
    ),
    "another tenant is not reopened with it": (
        Overrides(reopen=frozenset({"birs"})),
        Case(["A", "C"], [tenant("A", "birs"), tenant("C", "cher")], [], ["cher metadata.uid"]),
    ),
}


@pytest.mark.parametrize(("decisions", "case"), DECISIONS.values(), ids=DECISIONS)
def test_an_operator_may_decide_otherwise_once(decisions: Overrides, case: Case) -> None:
    before = known_as_named(case)
    planned = plan(snapshot(case.snapshot), before, decisions)
    assert said(planned) == list(case.rows)
    assert [f"{one.name} {one.reason.partition(':')[0]}" for one in planned.quarantined] == list(
        case.quarantined
    )
    again = plan(snapshot(case.snapshot), outcome(planned, before), Overrides(rebind=decisions.rebind))
    assert again.changes == ()
    assert again.quarantined == planned.quarantined


def test_a_moved_tenant_begins_in_the_instant_in_which_it_ended() -> None:
    """A label leaves no evidence, so that is the snapshot's; and it can have been as early as P."""
    before = known([lifecycle("A", "aare", "mail")])
    noted = Evidence(packages=at(20), suspend=at(20))
    shown = snapshot([tenant("A", "aare", "mail", org="org-2", suspended=True, evidence=noted)])
    ended, begun = plan(shown, before, Overrides(move=frozenset({"aare"}))).changes
    moments = {row.at for change in (ended, begun) for row in change.rows}
    assert moments == {Moment(S, P, TimeSource.OBSERVED)}
    assert (ended.lifecycle.org, begun.lifecycle.org) == ("org-1", "org-2")
    assert (begun.lifecycle.created_at, begun.moved_from) == (S, before.live["A"])
    assert not ended.weak


@pytest.mark.parametrize(
    "case",
    [
        Case([], [tenant("A")]),
        Case([lifecycle("A")], [tenant("A")]),
        Case([lifecycle("A")], []),
        Case([lifecycle("A")], [tenant("B", org="org-2")]),
        Case(["A"], [tenant("A", org="org-2")]),
        Case([lifecycle("A", "birs")], [tenant("A", org="org-2")]),
    ],
    ids=["never known", "the same org", "absent", "another uid", "gone", "another name"],
)
def test_who_is_not_live_under_another_org_cannot_be_moved(case: Case) -> None:
    with pytest.raises(Refused, match="org move"):
        plan(snapshot(case.snapshot), state(case), Overrides(move=frozenset({"aare"})))


def known_as_named(case: Case) -> KnownState:
    """Whoever is gone had the name that the snapshot shows."""
    names = {one.uid: one.name for one in case.snapshot}
    before = state(case)
    return replace(
        before, gone={uid: lifecycle(uid, names[uid] or "") for uid in before.gone if uid in names}
    )


@pytest.mark.parametrize(
    "case",
    [
        Case([], [tenant("A")]),
        Case([lifecycle("A")], [tenant("A")]),
        Case(["A"], []),
        Case(["A"], [tenant("B")]),
        Case(["A"], [tenant("A", deleted=S)]),
    ],
    ids=["never known", "live", "absent", "another uid", "on its way out"],
)
def test_what_is_not_held_for_deleted_and_alive_cannot_be_reopened(case: Case) -> None:
    with pytest.raises(Refused, match="--reopen"):
        plan(snapshot(case.snapshot), state(case), Overrides(reopen=frozenset({"aare"})))


@pytest.mark.parametrize(
    ("twice", "field"),
    [
        ([tenant("A", "aare"), tenant("A", "birs")], "metadata.uid"),
        ([tenant("A", "aare"), unreadable("A", "birs")], "metadata.uid"),
        ([tenant("A", "aare"), tenant("B", "aare")], "metadata.name"),
        ([tenant("A", "aare"), unreadable(None, "aare")], "metadata.name"),
    ],
)
def test_a_uid_or_a_name_twice_in_one_snapshot_means_that_it_is_none(
    twice: Sequence[Tenant | Unreadable], field: str
) -> None:
    with pytest.raises(SnapshotError, match=field):
        plan(snapshot(twice), known())


def test_two_resources_that_tell_nothing_of_themselves_are_not_the_same_twice() -> None:
    planned = plan(snapshot([unreadable(None, None), unreadable(None, None)]), known())
    assert len(planned.quarantined) == 2
