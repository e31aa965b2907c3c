"""Faults of kubectl: files that are no list of all tenants, or an old one."""

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Final

import yaml

from reconciler.core.reading import Dialect
from reconciler.sources.files import FileSource
from tests import apiserver
from tests.apiserver import Json
from tests.proofs.faults.faults.fault import FAILED, REFUSED, WRITTEN, Fault, Strike
from tests.proofs.faults.world import Ending, World


def _file(world: World, content: bytes, suffix: str = ".json") -> Ending:
    """One pass from what kubectl printed."""
    path = world.kubeconfig.with_suffix(suffix)
    path.write_bytes(content)
    try:
        return world.make_pass(
            FileSource(str(path), world.clock.now, Dialect(), world.server.cluster_uid)
        )
    finally:
        path.unlink()


def _tenants(world: World) -> list[Json]:
    return [item for _, item in sorted(world.server.tenants.current.items())]


def _list(items: list[Json]) -> Json:
    return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


def _kubectl_failures() -> list[Json]:
    found: Json = json.loads((apiserver.RECORDINGS / "kubectl" / "failures.json").read_bytes())
    return [row for row in found["rows"] if row["exitStatus"] != 0]


def _kubectl_failed(world: World, random: Random) -> Sequence[Ending]:
    """What a failed `kubectl get` printed; of a part, it is a part of these tenants."""
    printed = random.choice(_kubectl_failures())["stdout"].encode()
    if b'"items"' in printed and b'"kind": "List"' in printed:
        part = _list(_tenants(world)[:PARTIAL] if json.loads(printed)["items"] else [])
        printed = json.dumps(part).encode()
    return [_file(world, printed, random.choice([".json", ".yaml"]))]


PARTIAL: Final = 1
"""So many tenants of a partial list: so few that more than half are missing."""


def _kubectl_prints(names: Sequence[str]) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        file = apiserver.RECORDINGS / "kubectl" / random.choice(names)
        return [_file(world, file.read_bytes(), file.suffix)]

    return strike


def _mixed_list(world: World, random: Random) -> Sequence[Ending]:
    items = _tenants(world)
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "north", "uid": "x"}}
    items.insert(random.randint(0, len(items)), other)
    return [_file(world, json.dumps(_list(items)).encode())]


def _cut_file(world: World, random: Random) -> Sequence[Ending]:
    whole = json.dumps(_list(_tenants(world)), indent=4).encode()
    return [_file(world, whole[: random.randint(0, len(whole) - 1)])]


def _whole_file(world: World, random: Random) -> Sequence[Ending]:
    printed = json.dumps(_list(_tenants(world)), indent=4).encode()
    if random.random() < 0.3 and b"\\u0000" not in printed:
        return [_file(world, yaml.safe_dump(json.loads(printed), default_style='"').encode(), ".yaml")]
    return [_file(world, gzip.compress(printed) if random.random() < 0.5 else printed)]


def _older_file(world: World, random: Random) -> Sequence[Ending]:
    older = world.clock.now - timedelta(seconds=random.randint(1300, 100_000))
    path = world.kubeconfig.with_suffix(".json")
    path.write_text(json.dumps(_list(_tenants(world)[:7])))
    try:
        return [world.make_pass(FileSource(str(path), older, Dialect(), None))]
    finally:
        path.unlink()


def faults() -> Iterator[Fault]:
    no_snapshots = [f"kubectl-get-{name}" for name in ("one.json", "table.txt", "name.txt")]
    no_snapshots.append("kubectl-get-watch-events.json")
    yield from (
        Fault("kubectl: failed", _kubectl_failed, FAILED | REFUSED, 2),
        Fault("kubectl: printed something else", _kubectl_prints(no_snapshots)),
        Fault("kubectl: nothing found", _kubectl_prints(["kubectl-get-selector-none.json"]), REFUSED),
        Fault("kubectl: a mixed List", _mixed_list),
        Fault("kubectl: a file cut short", _cut_file),
        Fault("kubectl: a file in the place of the list", _whole_file, WRITTEN),
        Fault("kubectl: an older file", _older_file, REFUSED),
    )
