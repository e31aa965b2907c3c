"""The simulator's managedFields are those of the recorded servers, write by write."""

from collections.abc import Callable, Iterator

import pytest

from tests.apiserver.ownership import Conflict, Owner, Share, fields, second_of
from tests.proofs.truth.recorded import Replica, exchange, lived_again, told

Steps = Iterator[str]
"""After each step the name of the recording that shows what the server then had."""


@pytest.mark.parametrize("life", ["life", "life-set"])
def test_a_recorded_life_leaves_the_same_managed_fields(life: str) -> None:
    for write in lived_again(life)[0]:
        assert (write.simulated is None) == (write.server is None), write.title
        if write.server and write.simulated:
            assert told(write.simulated) == told(write.server), write.title


def two_managers(one: Replica) -> Steps:
    one.create("15:36:17", "portal", packages=["mail"], suspend=False)
    yield "1-created"
    one.patch("15:36:18", "gitops", spec={"packages": ["mail", "wiki"]})
    yield "2-packages-changed-by-gitops"
    one.patch("15:36:19", "portal", spec={"packages": ["mail", "wiki"]})
    yield "3-same-value-by-portal"
    one.apply("15:36:20", "flux", packages=["mail", "wiki"])
    yield "4-same-value-applied-by-flux"
    one.patch("15:36:22", "portal", metadata={"labels": {"pieced.ch/plan": "pro"}})
    yield "5-label-changed-by-portal"
    one.patch("15:36:24", "portal", spec={"suspend": True})
    yield "6-suspended-by-portal"
    with pytest.raises(Conflict):
        one.apply("15:36:25", "flux", packages=["mail"])
    one.apply("15:36:25", "flux", force=True, packages=["mail"])
    yield "7-flux-applies-less-forced"


def early_time(one: Replica) -> Steps:
    one.create("15:37:28", "portal", packages=["mail"])
    one.apply("15:37:30", "flux", suspend=True)
    yield "1-flux-suspends"
    one.patch("15:37:32", "portal", spec={"packages": ["mail", "wiki"]})
    yield "2-portal-adds-wiki"
    one.apply("15:37:35", "flux", suspend=True, packages=["mail", "wiki"])
    yield "3-flux-applies-what-is-there"
    one.patch("15:37:37", "portal", metadata={"labels": {"pieced.ch/plan": "pro"}})
    yield "4-portal-labels"


def early_time_alone(one: Replica) -> Steps:
    one.create("15:37:37", "portal", packages=["mail"])
    one.apply("15:37:39", "flux", suspend=True)
    one.apply("15:37:41", "console", force=True, packages=["mail", "wiki"])
    yield "1-console-applies-wiki"
    one.apply("15:37:43", "flux", suspend=True, packages=["mail", "wiki"])
    at = one.at("15:37:44")
    one.tenants.apply(one.name, manager="console", at=at, metadata={"annotations": {"a": "b"}})
    yield "2-console-lets-go"


def same_manager(one: Replica) -> Steps:
    one.create("15:36:24", "portal", packages=["mail"], suspend=False)
    one.patch("15:36:26", "portal", spec={"packages": ["mail", "wiki"]})
    yield "1-packages-changed"
    one.patch("15:36:28", "portal", spec={"suspend": True})
    yield "2-suspended"


def suspended(one: Replica) -> Steps:
    one.create("15:36:29", "portal", packages=["mail"], suspend=False)
    one.patch("15:36:31", "portal", spec={"suspend": True})
    yield "1-spec-only"
    one.patch("15:36:32", "operator", status={"suspendedAt": "2026-11-22T15:36:32Z"})
    yield "2-operator-set-status"
    one.patch("15:36:33", "portal", spec={"suspend": False})
    yield "3-resumed-status-stays"
    one.patch("15:36:35", "operator", status={"suspendedAt": None})
    yield "4-operator-cleared-status"
    one.patch("15:36:36", "portal", spec={"suspend": True})
    yield "5-suspended-again"
    one.patch("15:36:37", "operator", status={"suspendedAt": "2026-11-22T15:36:37Z"})
    yield "6-status-again"


def packages_removed(one: Replica) -> Steps:
    one.create("15:36:43", "portal", packages=["mail"], suspend=False)
    one.patch("15:36:44", "portal", spec={"packages": None})
    yield "2-null-patch"
    one.patch("15:36:45", "gitops", spec={"packages": ["mail"]})
    one.patch("15:36:46", "gitops", spec={"packages": []})
    yield "4-empty-list"


def server_side_applied(one: Replica) -> Steps:
    one.apply("15:37:21", "flux", org="1", packages=["mail"], suspend=False)
    one.patch("15:37:23", "portal", spec={"packages": ["mail", "vault"]})
    yield ""
    one.apply("15:37:24", "flux", org="1", force=True, packages=["mail"], suspend=False)
    yield "2-forced-back"
    one.apply("15:37:26", "flux", org="1", suspend=False)
    yield "3-packages-given-up"


def many_managers(one: Replica) -> Steps:
    one.create("15:36:55", "portal", packages=["mail"], k13=0)
    for number, second in enumerate((56, 56, 56, 56, 57, 57, 58, 58, 58, 59, 59, 0, 0)):
        minute = "15:36" if second else "15:37"
        one.patch(f"{minute}:{second:02}", f"manager-{number:02}", spec={f"k{number}": 1})
    yield ""
    one.patch("15:37:02", "manager-99", spec={"packages": ["mail", "vault"]})
    yield "2-packages-by-one-more"
    for number, second in enumerate((3, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7, 7)):
        one.patch(f"15:37:{second:02}", f"manager-{number:02}", spec={f"k{number}": 2})
    yield "3-later"


def managed_fields_missing(one: Replica) -> Steps:
    one.create("15:37:08", "portal", packages=["mail"])
    at = one.at("15:37:08")
    one.tenants.patch(one.name, manager="portal", at=at, forged={})
    yield "1-reset"
    one.patch("15:37:10", "gitops", spec={"packages": ["mail", "vault"]})
    yield "2-then-a-patch"
    one.apply("15:37:12", "flux", packages=["mail", "vault"])
    yield "3-then-a-server-side-apply"


def managed_fields_forged_past(one: Replica) -> Steps:
    one.create("15:37:14", "portal", packages=["mail"])
    yield "1-alone"
    share = Share(
        frozenset(fields(one.shown(), set_list=False)), second_of(one.at("04:05:06", "2001-02-03"))
    )
    one.tenants.patch(
        one.name,
        manager="restorer",
        at=one.at("15:37:16"),
        forged={Owner("Update", "portal"): share},
        metadata={"annotations": {"restored": "yes"}},
    )
    yield "2-with-another-change"


TENANTS = [
    two_managers,
    early_time,
    early_time_alone,
    same_manager,
    suspended,
    packages_removed,
    server_side_applied,
    many_managers,
    managed_fields_missing,
    managed_fields_forged_past,
]


@pytest.mark.parametrize("steps", TENANTS, ids=lambda steps: steps.__name__)
def test_recorded_writes_leave_the_same_managed_fields(steps: Callable[[Replica], Steps]) -> None:
    name = steps.__name__.replace("_", "-")
    one = Replica(name)
    for step in steps(one):
        server = exchange(f"tenants/{name}{'--' if step else ''}{step}.json")["response"]["body"]
        assert told(one.shown()) == told(server), step


def set_list(one: Replica) -> Steps:
    one.create("15:39:04", "portal", packages=["a", "b"], suspend=False)
    yield "1-created"
    one.patch("15:39:05", "gitops", spec={"packages": ["a", "b", "c"]})
    yield "2-gitops-adds-c"
    one.patch("15:39:06", "gitops", spec={"packages": ["a", "c"]})
    yield "3-gitops-removes-b"
    one.patch("15:39:07", "gitops", spec={"packages": ["c", "a"]})
    yield "4-gitops-reorders"
    one.patch("15:39:08", "gitops", spec={"packages": ["a"]})
    yield "5-gitops-removes-its-own"
    one.patch("15:39:10", "portal", spec={"packages": ["a", "b", "c"]})
    yield "6-portal-adds-both-back"
    one.apply("15:39:12", "flux", packages=["c", "d"])
    yield "7-flux-applies-c-d"
    one.apply("15:39:13", "flux", packages=["d"])
    yield "8-flux-gives-c-up"
    one.apply("15:39:14", "flux", packages=[])
    yield "9-flux-gives-d-up"


def test_recorded_writes_to_a_set_leave_the_same_managed_fields() -> None:
    one = Replica("set", set_list=True)
    for step in set_list(one):
        server = exchange(f"crd-variants/list-type-set--{step}.json")["response"]["body"]
        assert told(one.shown()) == told(server), step
