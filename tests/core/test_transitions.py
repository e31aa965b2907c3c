"""Every transition of a tenant: what is known, what the snapshot shows, the rows, and who waits."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from reconciler.core.cases import NONE, Case, Overrides, cases
from reconciler.core.plan import plan
from reconciler.core.tenant import KnownState, Lifecycle, Tenant, Unreadable
from reconciler.errors import Refused, SnapshotError
from tests.core.examples import P, S, at, known, lifecycle, said, snapshot, tenant, unreadable
from tests.outcome import outcome

GONE_BY = at(30)


class Example(NamedTuple):
    """One line of the table. Known is a lifecycle, or the uid of one that has ended."""

    known: Sequence[Lifecycle | str]
    snapshot: Sequence[Tenant | Unreadable]
    cases: str = ""
    """Of lifecycles that end first, then of tenants; none where nothing changes."""
    rows: Sequence[str] = ()
    quarantined: Sequence[str] = ()
    """The name of each, and the field that it waits for."""


TRANSITIONS = {
    # Absent ->
    "a new tenant is created, with all that it has": Example(
        [],
        [tenant("A", "aare", "wiki", "mail", suspended=True)],
        "begins",
        ["aare/A created", "aare/A enabled mail", "aare/A enabled wiki", "aare/A suspended"],
    ),
    "a new tenant with nothing is only created": Example(
        [], [tenant("A")], "begins", ["aare/A created"]
    ),
    "deletion is committed at first sight": Example(
        [],
        [tenant("A", "aare", "mail", suspended=True, deleted=GONE_BY)],
        "begins-deleted",
        ["aare/A created", "aare/A enabled mail", "aare/A suspended", "aare/A deleted"],
    ),
    "nothing known and nothing there": Example([], [], ""),
    # Live ->
    "nothing changed": Example(
        [lifecycle("A", "aare", "mail", suspended=True)],
        [tenant("A", "aare", "mail", suspended=True)],
        "",
    ),
    "skills are enabled and disabled": Example(
        [lifecycle("A", "aare", "mail", "wiki", "chat")],
        [tenant("A", "aare", "mail", "files", "boards")],
        "continues",
        [
            *("aare/A enabled boards", "aare/A enabled files"),
            *("aare/A disabled chat", "aare/A disabled wiki"),
        ],
    ),
    "the last skill is disabled": Example(
        [lifecycle("A", "aare", "mail")], [tenant("A")], "continues", ["aare/A disabled mail"]
    ),
    "it is suspended": Example(
        [lifecycle("A")], [tenant("A", suspended=True)], "continues", ["aare/A suspended"]
    ),
    "it is resumed": Example(
        [lifecycle("A", suspended=True)], [tenant("A")], "continues", ["aare/A resumed"]
    ),
    "it is resumed, whatever its status still says": Example(
        [lifecycle("A", suspended=True)],
        [tenant("A", suspended_at=at(30))],
        "continues",
        ["aare/A resumed"],
    ),
    "everything changes at once": Example(
        [lifecycle("A", "aare", "mail")],
        [tenant("A", "aare", "wiki", suspended=True)],
        "continues",
        ["aare/A enabled wiki", "aare/A disabled mail", "aare/A suspended"],
    ),
    "deletion is committed, and nothing else counts any more": Example(
        [lifecycle("A", "aare", "mail")],
        [tenant("A", "aare", "wiki", suspended=True, deleted=GONE_BY)],
        "ends",
        ["aare/A deleted"],
    ),
    "it is absent": Example(
        [lifecycle("A", "aare", "mail", suspended=True)], [], "vanished", ["aare/A deleted"]
    ),
    "one of several is absent": Example(
        [lifecycle("A"), lifecycle("B", "birs")], [tenant("B", "birs")], "vanished", ["aare/A deleted"]
    ),
    # Live as uid A -> the same name as uid B
    "a predecessor is deleted before its successor is created": Example(
        [lifecycle("B", "birs", "mail", suspended=True)],
        [tenant("A", "birs", "mail", created=GONE_BY)],
        "succeeded begins",
        ["birs/B deleted", "birs/A created", "birs/A enabled mail"],
    ),
    "the successor has gone as well": Example(
        [lifecycle("A")],
        [tenant("B", created=at(20), deleted=GONE_BY)],
        "succeeded begins-deleted",
        ["aare/A deleted", "aare/B created", "aare/B deleted"],
    ),
    "the successor cannot be read": Example(
        [lifecycle("A")], [unreadable("B", "aare")], "vanished", ["aare/A deleted"]
    ),
    # Gone ->
    "a gone tenant is still being deleted": Example(
        ["A"], [tenant("A", deleted=GONE_BY)], "already-gone"
    ),
    "a gone tenant is absent": Example(["A"], [], ""),
    "a gone tenant lives": Example(
        ["A"], [tenant("A", "aare", "mail")], "back-alive", [], ["aare metadata.uid"]
    ),
    "a gone tenant lives, under a name that another one had": Example(
        ["A", lifecycle("B", "aare")],
        [tenant("A")],
        "vanished back-alive",
        ["aare/B deleted"],
        ["aare metadata.uid"],
    ),
    "a gone tenant has a successor": Example(["A"], [tenant("B")], "begins", ["aare/B created"]),
    "a gone tenant changed its org": Example(
        ["A"], [tenant("A", org="org-2", deleted=GONE_BY)], "already-gone"
    ),
    # Quarantined means frozen
    "its org changed": Example(
        [lifecycle("A", "aare", "mail")],
        [tenant("A", "aare", "wiki", org="org-2", suspended=True)],
        "org-changed",
        [],
        ["aare metadata.labels"],
    ),
    "its org changed, and its deletion is committed": Example(
        [lifecycle("A")],
        [tenant("A", org="org-2", deleted=GONE_BY)],
        "org-changed",
        [],
        ["aare metadata.labels"],
    ),
    "frozen is the uid": Example([lifecycle("A")], [unreadable("A", None)], "unreadable"),
    "frozen is the uid, and not whoever had the name": Example(
        [lifecycle("A"), lifecycle("B", "birs")],
        [unreadable("A", "birs")],
        "unreadable vanished",
        ["birs/B deleted"],
    ),
    "where the uid is unreadable, frozen is the name": Example(
        [lifecycle("A"), lifecycle("B", "birs")],
        [unreadable(None, "aare")],
        "unreadable vanished",
        ["birs/B deleted"],
    ),
    "a name whose owner cannot be read has no successor yet": Example(
        [lifecycle("A")],
        [unreadable("A", None), tenant("B")],
        "unreadable name-taken",
        [],
        ["aare metadata.name"],
    ),
    "all others go on": Example(
        [lifecycle("A"), lifecycle("B", "birs")],
        [unreadable("A", "aare"), tenant("B", "birs", "mail"), tenant("C", "cher")],
        "unreadable continues begins",
        ["birs/B enabled mail", "cher/C created"],
    ),
    "its name changed, and that of another one is free": Example(
        [lifecycle("A", "aare")],
        [tenant("A", "birs"), tenant("B", "aare")],
        "name-changed name-taken",
        [],
        ["aare metadata.name", "birs metadata.name"],
    ),
    # Written by the portal, without a uid
    "the portal's tenant is recognised by its name": Example(
        [lifecycle(None, "aare", "mail")], [tenant("A", "aare", "mail")], "recognised"
    ),
    "the portal's tenant has changed since": Example(
        [lifecycle(None, "aare", "mail")],
        [tenant("A", "aare", "wiki", suspended=True)],
        "recognised",
        ["aare/A enabled wiki", "aare/A disabled mail", "aare/A suspended"],
    ),
    "the portal's tenant is absent": Example([lifecycle(None)], [], "vanished", ["aare/None deleted"]),
    "the portal's tenant is being deleted": Example(
        [lifecycle(None, "aare", "mail")],
        [tenant("A", "aare", "mail", deleted=GONE_BY)],
        "ends",
        ["aare/A deleted"],
    ),
    "the portal's tenant belongs to another org now": Example(
        [lifecycle(None)], [tenant("A", org="org-2")], "org-changed", [], ["aare metadata.labels"]
    ),
    "the portal's tenant cannot be read": Example(
        [lifecycle(None)], [unreadable("A", "aare")], "unreadable"
    ),
    "a gone tenant is not the portal's of that name": Example(
        ["A", lifecycle(None)],
        [tenant("A", deleted=GONE_BY)],
        "vanished already-gone",
        ["aare/None deleted"],
    ),
    # Several
    "tenants are listed by name, and then by kind and skill": Example(
        [lifecycle("A", "cher"), lifecycle("C", "birs", "wiki", suspended=True)],
        [tenant("B", "aare", "wiki", "mail"), tenant("C", "birs", "mail"), tenant("D", "cher")],
        "succeeded begins continues begins",
        [
            *("aare/B created", "aare/B enabled mail", "aare/B enabled wiki"),
            *("birs/C enabled mail", "birs/C disabled wiki", "birs/C resumed"),
            *("cher/A deleted", "cher/D created"),
        ],
    ),
}

EVERY = pytest.mark.parametrize("example", TRANSITIONS.values(), ids=TRANSITIONS)


def state(example: Example) -> KnownState:
    return known(
        [one for one in example.known if isinstance(one, Lifecycle)],
        gone=[one for one in example.known if isinstance(one, str)],
    )


@EVERY
def test_a_transition_is_told_by_these_cases(example: Example) -> None:
    found = cases(snapshot(example.snapshot), state(example), NONE)
    assert [one.case for one in found] == example.cases.split()


@EVERY
def test_a_transition_asks_for_these_rows_and_no_others(example: Example) -> None:
    planned = plan(snapshot(example.snapshot), state(example))
    assert said(planned) == list(example.rows)


@EVERY
def test_a_transition_sets_these_tenants_aside_and_no_others(example: Example) -> None:
    planned = plan(snapshot(example.snapshot), state(example))
    malformed = [one for one in example.snapshot if isinstance(one, Unreadable)]
    undecided = [one for one in planned.quarantined if one not in malformed]
    assert len(planned.quarantined) == len(malformed) + len(undecided)
    assert [f"{one.name} {one.reason.partition(':')[0]}" for one in undecided] == list(
        example.quarantined
    )


@EVERY
def test_after_a_transition_the_same_snapshot_asks_for_nothing(example: Example) -> None:
    shown = snapshot(example.snapshot)
    first = plan(shown, state(example))
    again = plan(shown, outcome(first, state(example)))
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
    assert [change.case for change in planned.changes] == [Case.RECOGNISED]
    after = outcome(planned, before)
    assert (after.adopted, after.live) == ({}, {"A": lifecycle("A", "aare", "mail")})


OVERRIDES = {
    "a rebound tenant goes on under the successor's uid": (
        Overrides(rebind=True),
        Example(
            [lifecycle("A", "aare", "mail")], [tenant("B", "aare", "mail", created=GONE_BY)], "rebound"
        ),
    ),
    "what changed of a rebound tenant is written": (
        Overrides(rebind=True),
        Example(
            [lifecycle("A")],
            [tenant("B", "aare", "mail", created=GONE_BY)],
            "rebound",
            ["aare/B enabled mail"],
        ),
    ),
    "a tenant that came back to another org is not rebound": (
        Overrides(rebind=True),
        Example(
            [lifecycle("A")],
            [tenant("B", org="org-2")],
            "rebound-elsewhere",
            [],
            ["aare metadata.labels"],
        ),
    ),
    "rebinding neither revives nor spares who is absent": (
        Overrides(rebind=True),
        Example(
            [lifecycle("A")],
            [tenant("B", "birs")],
            "vanished begins",
            ["aare/A deleted", "birs/B created"],
        ),
    ),
    "a reopened tenant is live again": (
        Overrides(reopen=frozenset({"aare"})),
        Example(["B"], [tenant("B")], "reopened"),
    ),
    "what changed of a reopened tenant is written": (
        Overrides(reopen=frozenset({"aare"})),
        Example(["B"], [tenant("B", "aare", "mail")], "reopened", ["aare/B enabled mail"]),
    ),
    "a tenant that is reopened waits where its org changed, too": (
        Overrides(reopen=frozenset({"aare"})),
        Example(["B"], [tenant("B", org="org-2")], "reopened-elsewhere", [], ["aare metadata.labels"]),
    ),
    "a tenant is not reopened while another one has its name": (
        Overrides(reopen=frozenset({"aare"})),
        Example(
            ["B", lifecycle("A")],
            [tenant("B"), unreadable("A", None)],
            "unreadable back-alive",
            [],
            ["None spec.packages", "aare metadata.uid"],
        ),
    ),
    "a tenant that is moved ends under its old org and begins under the new one": (
        Overrides(move=frozenset({"aare"})),
        Example(
            [lifecycle("A", "aare", "mail", "wiki", suspended=True)],
            [tenant("A", "aare", "mail", "chat", org="org-2", suspended=True)],
            "moved-out moved-in",
            [
                *("aare/A deleted", "aare/A created"),
                *("aare/A enabled chat", "aare/A enabled mail", "aare/A suspended"),
            ],
        ),
    ),
    "a moved tenant whose deletion is committed ends and does not begin again": (
        Overrides(move=frozenset({"aare"})),
        Example(
            [lifecycle("A")], [tenant("A", org="org-2", deleted=GONE_BY)], "ends", ["aare/A deleted"]
        ),
    ),
    "the portal's tenant is recognised and moved": (
        Overrides(move=frozenset({"aare"})),
        Example(
            [lifecycle(None)],
            [tenant("A", org="org-2")],
            "moved-out moved-in",
            ["aare/A deleted", "aare/A created"],
        ),
    ),
    "another tenant is not moved with it": (
        Overrides(move=frozenset({"aare"})),
        Example(
            [lifecycle("A"), lifecycle("B", "birs")],
            [tenant("A", org="org-2"), tenant("B", "birs", org="org-2")],
            "moved-out moved-in org-changed",
            ["aare/A deleted", "aare/A created"],
            ["birs metadata.labels"],
        ),
    ),
    "another tenant is not reopened with it": (
        Overrides(reopen=frozenset({"birs"})),
        Example(
            ["A", "C"],
            [tenant("A", "birs"), tenant("C", "cher")],
            "reopened back-alive",
            [],
            ["cher metadata.uid"],
        ),
    ),
}


def test_every_case_of_the_table_has_an_example() -> None:
    examples = [*TRANSITIONS.values(), *(example for _, example in OVERRIDES.values())]
    told = {case for example in examples for case in example.cases.split()}
    # `cases` leaves out what is unchanged. The others are told in test_watched.py, test_guard.py and
    # test_position.py.
    elsewhere = {Case.UNCHANGED, Case.OUT_OF_SCOPE, Case.OVERTAKEN, Case.HELD, Case.SPARED}
    assert told == set(Case) - elsewhere


@pytest.mark.parametrize(("overrides", "example"), OVERRIDES.values(), ids=OVERRIDES)
def test_an_operator_may_allow_something_else_once(overrides: Overrides, example: Example) -> None:
    before = known_as_named(example)
    found = cases(snapshot(example.snapshot), before, overrides)
    assert [one.case for one in found] == example.cases.split()
    planned = plan(snapshot(example.snapshot), before, overrides)
    assert said(planned) == list(example.rows)
    assert [f"{one.name} {one.reason.partition(':')[0]}" for one in planned.quarantined] == list(
        example.quarantined
    )
    again = plan(
        snapshot(example.snapshot), outcome(planned, before), Overrides(rebind=overrides.rebind)
    )
    assert again.changes == ()
    assert again.quarantined == planned.quarantined


@pytest.mark.parametrize(
    "example",
    [
        Example([], [tenant("A")]),
        Example([lifecycle("A")], [tenant("A")]),
        Example([lifecycle("A")], []),
        Example([lifecycle("A")], [tenant("B", org="org-2")]),
        Example(["A"], [tenant("A", org="org-2")]),
        Example([lifecycle("A", "birs")], [tenant("A", org="org-2")]),
    ],
    ids=["never known", "the same org", "absent", "another uid", "gone", "another name"],
)
def test_who_is_not_live_under_another_org_cannot_be_moved(example: Example) -> None:
    with pytest.raises(Refused, match="org move"):
        plan(snapshot(example.snapshot), state(example), Overrides(move=frozenset({"aare"})))


def known_as_named(example: Example) -> KnownState:
    """Whoever is gone had the name that the snapshot shows."""
    names = {one.uid: one.name for one in example.snapshot}
    before = state(example)
    return replace(
        before, gone={uid: lifecycle(uid, names[uid] or "") for uid in before.gone if uid in names}
    )


@pytest.mark.parametrize(
    "example",
    [
        Example([], [tenant("A")]),
        Example([lifecycle("A")], [tenant("A")]),
        Example(["A"], []),
        Example(["A"], [tenant("B")]),
        Example(["A"], [tenant("A", deleted=S)]),
    ],
    ids=["never known", "live", "absent", "another uid", "on its way out"],
)
def test_what_is_not_held_for_deleted_and_alive_cannot_be_reopened(example: Example) -> None:
    with pytest.raises(Refused, match="--reopen"):
        plan(snapshot(example.snapshot), state(example), Overrides(reopen=frozenset({"aare"})))


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
