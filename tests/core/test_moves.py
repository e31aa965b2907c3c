"""A move to another org: when it happened, and to which org what else changed belongs."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from reconciler.core.cases import Case, Overrides
from reconciler.core.changes import Change
from reconciler.core.evidence import NOTHING, Evidence
from reconciler.core.plan import plan
from reconciler.core.times import Moment, TimeSource
from reconciler.errors import Refused
from tests.core.examples import P, S, at, known, lifecycle, snapshot, tenant

OBSERVED, NOTED, DECIDED = TimeSource.OBSERVED, TimeSource.MANAGED_FIELDS, TimeSource.OPERATOR


def moved(
    before: Sequence[str],
    after: Sequence[str],
    evidence: Evidence = NOTHING,
    *,
    label: datetime | None = None,
    suspended: bool = False,
    effective: datetime | None = None,
) -> Sequence[Change]:
    """The tenant aare, which goes from org-1 to org-2."""
    shown = tenant(
        "A", "aare", *after, org="org-2", suspended=suspended, evidence=evidence, org_changed=label
    )
    overrides = Overrides(move=frozenset({"aare"}), effective=effective)
    return plan(snapshot([shown]), known([lifecycle("A", "aare", *before)]), overrides).changes


def rows(change: Change) -> list[tuple[str, str | None, datetime]]:
    return [(row.kind.value, row.value, row.at.occurred_at) for row in change.rows]


def test_without_evidence_it_is_that_of_the_snapshot_and_can_have_been_as_early_as_p() -> None:
    ended, begun = moved(["mail"], ["mail"])
    assert {row.at for change in (ended, begun) for row in change.rows} == {Moment(S, P, OBSERVED)}
    assert (ended.case, begun.case) == (Case.MOVED_OUT, Case.MOVED_IN)
    assert (ended.lifecycle.org, begun.lifecycle.org) == ("org-1", "org-2")
    assert (begun.lifecycle.created_at, begun.previous) == (S, ended.previous)


def test_the_label_s_time_in_managed_fields_dates_it() -> None:
    ended, begun = moved(["mail"], ["mail"], label=at(17))
    assert {row.at for change in (ended, begun) for row in change.rows} == {Moment(at(17), P, NOTED)}
    assert begun.lifecycle.created_at == at(17)


@pytest.mark.parametrize("noted", [at(-60), at(3600)])
def test_a_time_outside_of_the_interval_is_no_evidence(noted: datetime) -> None:
    ended, _ = moved([], [], label=noted)
    assert ended.rows[-1].at == Moment(S, P, OBSERVED)


def test_what_changed_before_it_belongs_to_the_old_org() -> None:
    ended, begun = moved(["mail"], ["wiki"], Evidence(packages=at(10)), label=at(17))
    assert rows(ended) == [
        ("enabled", "wiki", at(10)),
        ("disabled", "mail", at(10)),
        ("deleted", None, at(17)),
    ]
    assert rows(begun) == [("created", None, at(17)), ("enabled", "wiki", at(17))]
    assert ended.lifecycle.skills == begun.lifecycle.skills == ("wiki",)


def test_what_changed_after_it_belongs_to_the_new_org() -> None:
    evidence = Evidence(packages=at(20), suspend=at(21))
    ended, begun = moved(["mail"], ["wiki"], evidence, label=at(17), suspended=True)
    assert rows(ended) == [("deleted", None, at(17))]
    assert rows(begun) == [
        ("created", None, at(17)),
        ("enabled", "mail", at(17)),
        ("enabled", "wiki", at(20)),
        ("disabled", "mail", at(20)),
        ("suspended", None, at(21)),
    ]
    assert ended.lifecycle.skills == ("mail",)
    assert (begun.lifecycle.skills, begun.lifecycle.changed_at) == (("wiki",), at(21))


def test_what_changed_at_the_same_instant_begins_with_the_new_org() -> None:
    ended, begun = moved(["mail"], ["wiki"], Evidence(packages=at(17)), label=at(17))
    assert rows(ended) == [("deleted", None, at(17))]
    assert rows(begun) == [("created", None, at(17)), ("enabled", "wiki", at(17))]


def test_an_operator_s_time_counts_more_than_evidence() -> None:
    ended, _ = moved([], [], label=at(17), effective=at(12))
    assert ended.rows[-1].at == Moment(at(12), P, DECIDED)


def test_an_operator_s_time_outside_of_the_interval_stands_as_it_is() -> None:
    early = at(-60)
    shown = tenant("A", "aare", org="org-2")
    before = known([lifecycle("A", "aare")])
    overrides = Overrides(move=frozenset({"aare"}), effective=early)
    ended, begun = plan(snapshot([shown]), before, overrides).changes
    assert ended.rows[-1].at == begun.rows[0].at == Moment(early, early, DECIDED)


def test_it_lies_between_the_last_recorded_change_and_the_snapshot() -> None:
    for wrong in (at(3600), at(-3600 * 24 * 365)):
        with pytest.raises(Refused, match="--effective"):
            moved([], [], effective=wrong)
