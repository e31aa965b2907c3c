"""What managedFields tell of `spec.packages` and `spec.suspend`, and what in them tells nothing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec import Raw

from reconciler.core.evidence import NOTHING, Evidence, read_evidence
from tests.core.examples import at

WHOLE: dict[str, Any] = {"f:packages": {}}
SWITCH: dict[str, Any] = {"f:suspend": {}}
ORG_LABEL = "pieced.ch/zitadel-org-id"


def entry(seconds: float | None, *owned: Mapping[str, Any], **more: str) -> dict[str, Any]:
    """What a manager owns of spec, and since when."""
    spec = {key: value for fields in owned for key, value in fields.items()}
    time = {} if seconds is None else {"time": at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"manager": "portal", "fieldsV1": {"f:spec": {".": {}, **spec}}, **time, **more}


def of_a_set(*skills: str) -> dict[str, Any]:
    return {"f:packages": {".": {}, **{f"v:{json.dumps(skill)}": {} for skill in skills}}}


def read(
    entries: Sequence[Mapping[str, Any]], skills: object = ("mail",), *, suspend: object = True
) -> Evidence:
    return read_evidence(Raw(json.dumps(entries).encode()), skills, suspend, ORG_LABEL)[0]


@pytest.mark.parametrize("order", [1, -1])
def test_of_all_who_own_a_field_the_latest_time_counts(order: int) -> None:
    entries = [entry(1, WHOLE), entry(3, WHOLE, SWITCH), entry(2, SWITCH), entry(9)]
    assert read(entries[::order]) == Evidence(packages=at(3), suspend=at(3))
    others = [entry(5, WHOLE), entry(2, SWITCH), entry(1, SWITCH)]
    assert read(others[::order]) == Evidence(packages=at(5), suspend=at(2))


@pytest.mark.parametrize("order", [1, -1])
def test_of_all_who_own_an_item_of_a_set_the_latest_time_counts(order: int) -> None:
    entries = [entry(1, of_a_set("mail", "wiki")), entry(3, of_a_set("mail")), entry(2, of_a_set("ä"))]
    found = read(entries[::order], ("mail", "wiki", "ä", "crm"))
    assert found == Evidence(items={"mail": at(3), "wiki": at(1), "ä": at(2)})
    assert [found.enabled(skill) for skill in ("mail", "crm")] == [at(3), None]
    assert found.disabled() is None


def test_in_a_set_nobody_owns_the_whole() -> None:
    assert read([entry(1, of_a_set("mail")), entry(3, WHOLE)]) == Evidence(items={"mail": at(1)})


@pytest.mark.parametrize("skills", [(), [], None])
def test_an_empty_list_tells_nothing_since_it_may_be_an_emptied_set(skills: object) -> None:
    assert read([entry(1, WHOLE, SWITCH)], skills) == Evidence(suspend=at(1))


def test_a_field_that_is_not_there_has_no_time() -> None:
    assert read([entry(1, WHOLE, SWITCH)], suspend=None) == Evidence(packages=at(1))


def test_what_a_subresource_or_no_time_says_of_spec_is_passed_over() -> None:
    good = entry(1, WHOLE, SWITCH)
    assert read([good, entry(3, WHOLE, SWITCH, subresource="status")]) == read([good])
    assert read([good, entry(None, WHOLE, SWITCH)]) == read([good])
    assert read([good, {"manager": "portal", "time": "2026-11-22T12:00:03Z"}]) == read([good])


@pytest.mark.parametrize(
    "parts", [{'k:{"name":"mail"}': {}}, {".": {}}, {"i:0": {}}], ids=["of a map", "empty", "by index"]
)
def test_a_list_that_is_owned_in_another_way_tells_nothing_of_skills(parts: dict[str, Any]) -> None:
    assert read([entry(1, {"f:packages": parts}), entry(2, SWITCH)]) == Evidence(suspend=at(2))


def labelled(seconds: float | None, label: str = ORG_LABEL, **more: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"f:labels": {".": {}, f"f:{label}": {}}, "f:annotations": {}}
    return entry(seconds, **more) | {"fieldsV1": {"f:metadata": metadata}}


@pytest.mark.parametrize("order", [1, -1])
def test_the_org_has_the_latest_time_of_all_who_own_its_label(order: int) -> None:
    others = [labelled(9, "team"), labelled(8, subresource="status"), labelled(None)]
    entries = [labelled(1), labelled(3), *others][::order]
    found = read_evidence(Raw(json.dumps(entries).encode()), (), None, ORG_LABEL)
    assert found == (NOTHING, at(3))


@pytest.mark.parametrize("labels", [None, {}, [], "x"])
def test_labels_that_cannot_be_read_tell_nothing_of_the_org(labels: object) -> None:
    fields = {"f:metadata": {"f:labels": labels}}
    assert read([entry(1) | {"fieldsV1": fields}]) == NOTHING


def test_a_switch_that_is_owned_in_parts_tells_nothing() -> None:
    assert read([entry(3, {"f:suspend": {"f:x": {}}}), entry(1, WHOLE)]) == Evidence(packages=at(1))


@pytest.mark.parametrize(
    "managed_fields",
    [
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'["portal"]',
        b'[{"time":"yesterday","fieldsV1":{"f:spec":{"f:suspend":{}}}}]',
        b'[{"time":7,"fieldsV1":{"f:spec":{"f:suspend":{}}}}]',
        b'[{"time":"2026-11-22T12:00:03Z","fieldsV1":{"f:spec":{"f:packages":{"v:mail":{}}}}}]',
        b'[{"time":"2026-11-22T12:00:03Z","fieldsV1":{"f:spec":{"f:packages":{"v:7":{}}}}}]',
        b'[{"time":"2026-11-22T12:00:03Z","fieldsV1":{"f:spec":{"f:packages":{"v:\xff":{}}}}}]',
        b'[{"time":"2026-11-22T12:00:03Z","fieldsV1":{"f:spec":{"f:suspend":'
        + b'{"a":' * 9_000
        + b"{}"
        + b"}" * 9_000
        + b"}}}]",
    ],
    ids=range(11),
)
def test_what_cannot_be_read_is_no_evidence_and_no_error(managed_fields: bytes) -> None:
    assert read_evidence(Raw(managed_fields), ("mail",), True, ORG_LABEL) == (NOTHING, None)
