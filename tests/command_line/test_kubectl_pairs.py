"""The same state as kubectl prints it in JSON and in YAML gives the same plan."""

import json
from pathlib import Path

import pytest
import yaml

from tests.command_line.snapshots import Json, recorded, write
from tests.conftest import RECORDINGS, Command

KUBECTL = RECORDINGS / "kubectl"
MALFORMED = RECORDINGS / "malformed"
OBSERVED = ("--observed-at", "2026-11-22T16:00:00Z")


def planned(command: Command, path: Path, *arguments: str) -> list[Json]:
    done = command("run", "--dry-run", "--snapshot", path, "--output", "json", *arguments)
    assert done.status in (0, 4), done.err
    # A List of kubectl has no resourceVersion, the server's own list has one.
    return [
        {**report, "snapshot": {**report["snapshot"], "resourceVersion": None}}
        for report in done.reports
    ]


def facts(reports: list[Json]) -> list[Json]:
    """Without the times that managedFields tell: kubectl leaves those out unless asked."""
    evidence = {"occurredAt", "timeSource"}
    return [
        {**report, "rows": [{key: row[key] for key in row.keys() - evidence} for row in report["rows"]]}
        for report in reports
    ]


@pytest.mark.parametrize(
    ("pair", "tenants", "flags"),
    [
        ("kubectl-get", 7, []),
        ("kubectl-get-show-managed-fields", 7, []),
        ("kubectl-get-selector-none", 0, []),
        ("kubectl-get-namespaced-all", 3, ["--api-group", "namespaced.pieced.ch"]),
    ],
)
def test_json_and_yaml_of_one_state_give_one_plan(
    command: Command, pair: str, tenants: int, flags: list[str]
) -> None:
    (of_json,) = planned(command, KUBECTL / f"{pair}.json", *OBSERVED, *flags)
    (of_yaml,) = planned(command, KUBECTL / f"{pair}.yaml", *OBSERVED, *flags)
    assert of_json == of_yaml
    assert of_json["tenantsExamined"] == tenants
    if pair == "kubectl-get-namespaced-all":
        assert all("/" in row["tenantName"] for row in of_json["rows"])
        assert of_json["lifecycleInserted"] == tenants


@pytest.mark.parametrize("other", ["kubectl-get-raw.json", "kubectl-get-chunked.json"])
def test_however_it_was_asked_for_one_state_gives_one_plan(command: Command, other: str) -> None:
    whole = planned(command, KUBECTL / "kubectl-get-show-managed-fields.json", *OBSERVED)
    assert planned(command, KUBECTL / other, *OBSERVED) == whole


@pytest.mark.parametrize("life", ["life", "life-set"])
def test_a_life_in_yaml_gives_the_plans_of_its_lists(
    command: Command, tmp_path: Path, life: str
) -> None:
    lists, of_json, of_yaml = (tmp_path / name for name in ("lists", "json", "yaml"))
    for folder in (lists, of_json, of_yaml):
        folder.mkdir()
    for file in (RECORDINGS / life / "kubectl").glob("*-get.json"):
        number = file.name.removesuffix("-get.json")
        exchange = recorded(f"{life}/{number}-snapshot.json")
        taken, text = exchange["after"], file.with_name(f"{number}-get-managed-fields.yaml")
        write(lists / f"{taken}.json", exchange["response"]["body"])
        (of_json / f"{taken}.json").write_bytes(file.read_bytes())
        (of_yaml / f"{taken}.yaml").write_bytes(text.read_bytes())
    plans = planned(command, of_yaml)
    assert len(plans) > 5
    assert plans == planned(command, lists)
    assert facts(plans) == facts(planned(command, of_json))


def test_malformed_tenants_read_alike_in_yaml_and_json(command: Command, tmp_path: Path) -> None:
    """One string that looks like a time or an operator must not change, or hide all the others."""
    of_yaml = MALFORMED / "kubectl-get-without-control-characters.yaml"
    shown = yaml.load(of_yaml.read_bytes(), yaml.CBaseLoader)  # noqa: S506 - strings only
    names = {item["metadata"]["name"] for item in shown["items"]}
    printed = json.loads((MALFORMED / "kubectl-get.json").read_bytes())
    items = [item for item in printed["items"] if item["metadata"]["name"] in names]
    of_json = write(tmp_path / "tenants.json", {**printed, "items": items})
    plans = planned(command, of_yaml, *OBSERVED)
    assert plans == planned(command, of_json, *OBSERVED)
    assert plans[0]["tenantsExamined"] == len(names) > 80
