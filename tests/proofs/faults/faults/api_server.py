"""Faults of the API server: wrong answers, none, and another cluster than before."""

import gzip
import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Final

from reconciler.passes import Source
from tests import apiserver
from tests.apiserver import FAULTS, Answer, ApiServer, Json, Request, edited, recorded
from tests.proofs.faults.faults.fault import FAILED, REFUSED, WRITTEN, Fault, Strike
from tests.proofs.faults.world import Ending, World

_SLOW: Final = frozenset({"silence", "silence in the middle", "drip"})
_FOR_PAGE_2: Final = frozenset({"page 1 again", "another resourceVersion"})
_ONLY_LISTS: Final = frozenset(
    {*_FOR_PAGE_2, "a uid twice", "a Table", "metadata only", "drip", "silence in the middle"}
)


def _page(world: World, random: Random, name: str) -> int:
    return random.randint(min(2, world.pages) if name in _FOR_PAGE_2 else 1, world.pages)


def _impatient(world: World) -> Source:
    return world.source(read_timeout=0.25, list_timeout=0.5)


def _at_a_page(name: str) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.fail(FAULTS[name], on=_page(world, random, name))
        return [world.make_pass(_impatient(world) if name in _SLOW else None)]

    return strike


def _before_the_list(name: str) -> Strike:
    """At the namespace that names the cluster, or at the versions of the group."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        path = random.choice(["/api/v1/namespaces/kube-system", "/apis/pieced.ch"])
        world.server.fail(FAULTS[name], on=lambda request: request.path == path)
        return [world.make_pass(_impatient(world) if name in _SLOW else None)]

    return strike


def _to_the_list(fault: apiserver.Fault, page: int | None = 1, *, forever: bool = False) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.fail(fault, on=page or random.randint(1, world.pages), forever=forever)
        return [world.make_pass()]

    return strike


def _recorded_refusals(folder: str) -> list[str]:
    root = apiserver.RECORDINGS
    found = []
    for file in sorted((root / folder).glob("*.json")):
        exchange = json.loads(file.read_bytes())
        asked = exchange.get("request", {})
        status = exchange.get("response", {}).get("status", 0)
        is_list = asked.get("method") == "GET" and "watch" not in asked.get("query", {})
        if status >= 400 and status != 410 and is_list and "body" in exchange["response"]:
            found.append(str(file.relative_to(root)))
    return found


def _a_recorded_refusal(folder: str) -> Strike:
    files = _recorded_refusals(folder)

    def strike(world: World, random: Random) -> Sequence[Ending]:
        return _to_the_list(recorded(random.choice(files)), None)(world, random)

    return strike


def _empty(body: Json) -> Json:
    return body | {"items": [], "metadata": {**_versions(body), "continue": ""}}


def _versions(body: Json) -> Json:
    return {"resourceVersion": body["metadata"]["resourceVersion"]}


def _only_the_deleted(server: ApiServer, request: Request) -> Answer:
    """A CRD on its way out: all are deleted, and only what a finalizer holds is still there."""
    body = json.loads(server.answer(replace(request, query={})).body)
    held = [item for item in body["items"] if "deletionTimestamp" in item["metadata"]]
    body |= {"items": held, "metadata": {**_versions(body), "continue": ""}}
    return Answer(body=json.dumps(body).encode())


def _crd_gone_before_a_page(world: World, random: Random) -> Sequence[Ending]:
    def gone(server: ApiServer, request: Request) -> Answer:
        server.installed = False
        return server.answer(request)

    world.server.fail(gone, on=random.randint(1, world.pages))
    try:
        return [world.make_pass()]
    finally:
        world.server.installed = True


def _crd_missing(world: World, _: Random) -> Sequence[Ending]:
    world.server.installed = False
    try:
        return [world.make_pass()]
    finally:
        world.server.installed = True


def _expires(*, forever: bool) -> Strike:
    """The token of a page really is too old; what the answer offers instead must not be used."""

    def strike(world: World, _: Random) -> Sequence[Ending]:
        def expired(server: ApiServer, request: Request) -> Answer:
            server.tenants.expire_tokens()
            return server.answer(request)

        def is_later(request: Request) -> bool:
            return "continue" in request.query

        world.server.fail(expired, on=is_later, forever=forever)
        return [world.make_pass()]

    return strike


def _written_between_pages(world: World, random: Random) -> Sequence[Ending]:
    """All changes, and is as it was before the list has ended: what page 1 said still holds."""

    def busy(server: ApiServer, request: Request) -> Answer:
        tenants = server.tenants
        before = deepcopy(tenants.current)
        for key, resource in before.items():
            tenants.put_object(_with(resource, packages=["never"]))
            if random.random() < 0.5:
                namespace, _, name = key.rpartition("/")
                tenants.put_object(_with(resource, finalizers=None))
                tenants.delete(name, namespace=namespace or None)
        tenants.create("aaa-new", ["mail"], namespace="north" if server.namespaced else None)
        answer = server.answer(request)
        tenants.delete("aaa-new", namespace="north" if server.namespaced else None)
        for resource in before.values():
            tenants.put_object(resource)
        return answer

    world.server.fail(busy, on=random.randint(2, max(2, world.pages)))
    return [world.make_pass()]


def _with(resource: Json, *, packages: object = None, finalizers: object = ()) -> Json:
    patch: Json = {"spec": {"packages": packages}} if packages else {}
    if finalizers is None:
        patch["metadata"] = {"finalizers": None, "deletionTimestamp": None}
    return apiserver.merged(resource, patch)


def _restored_from_backup(world: World, random: Random) -> Sequence[Ending]:
    tenants = world.server.tenants
    kept = list(tenants.log), dict(tenants.current), tenants.revision, tenants.compacted
    tenants.restore(max(1, tenants.revision - random.randint(30, 60)))
    tenants.compacted = 1
    try:
        return [world.make_pass()]
    finally:
        tenants.log, tenants.current, tenants.revision, tenants.compacted = kept


def _restored_before_page_2(world: World, random: Random) -> Sequence[Ending]:
    tenants = world.server.tenants
    kept = list(tenants.log), dict(tenants.current), tenants.revision

    def restore(server: ApiServer, request: Request) -> Answer:
        tenants.restore(max(1, tenants.revision - random.randint(1, 30)))
        return server.answer(request)

    world.server.fail(restore, on=2)
    try:
        return [world.make_pass()]
    finally:
        tenants.log, tenants.current, tenants.revision = kept


def _another_cluster(world: World, _: Random) -> Sequence[Ending]:
    before = world.server.cluster_uid
    world.server.cluster_uid = "00000000-1111-4222-8333-444444444444"
    try:
        return [world.make_pass()]
    finally:
        world.server.cluster_uid = before


def _two_versions(world: World, _: Random) -> Sequence[Ending]:
    world.server.versions = ("v1beta1", "v1alpha1")
    try:
        return [world.make_pass()]
    finally:
        world.server.versions = ("v1alpha1",)


def _version_not_served(world: World, _: Random) -> Sequence[Ending]:
    return [world.make_pass(world.source(version="v9"))]


def _gzip_cut(world: World, random: Random) -> Sequence[Ending]:
    def cut(server: ApiServer, request: Request) -> Answer:
        right = server.answer(request)
        body = gzip.compress(right.body)
        return replace(
            right,
            headers={**right.headers, "Content-Encoding": "gzip"},
            body=body[: random.randint(len(body) // 3, len(body) - 40)],
        )

    return _to_the_list(cut, None)(world, random)


def _no_gzip(world: World, random: Random) -> Sequence[Ending]:
    def plain(server: ApiServer, request: Request) -> Answer:
        right = server.answer(request)
        return replace(right, headers={**right.headers, "Content-Encoding": "gzip"})

    return _to_the_list(plain, None)(world, random)


def _unreachable(host: str) -> Strike:
    def strike(world: World, _: Random) -> Sequence[Ending]:
        file = world.kubeconfig.with_suffix(".elsewhere")
        file.write_text(world.kubeconfig.read_text().replace(world.server.url, host))
        try:
            return [world.make_pass(world.source(kubeconfig=file))]
        finally:
            file.unlink()

    return strike


def _starting(world: World, random: Random) -> Sequence[Ending]:
    """A server that has just started: 403 to a valid account, then 429, then all is well."""
    ends = []
    for name in ("403", "429 while storage initializes"):
        world.server.fail(FAULTS[name], on=1)
        ends.append(world.make_pass())
    world.server.fail(FAULTS["503"], on=random.randint(1, world.pages))
    return [*ends, world.make_pass()]


def faults() -> Iterator[Fault]:
    for name in FAULTS:
        ends = WRITTEN if name == "410" else FAILED
        weight = 0.4 if name in _SLOW else 1
        yield Fault(f"API server: {name}, at a page", _at_a_page(name), ends, weight)
        if name not in _ONLY_LISTS:
            strike = _before_the_list(name)
            yield Fault(f"API server: {name}, before the list", strike, weight=weight / 2)
    yield from (
        Fault("API server: 410 each time", _to_the_list(FAULTS["410"], forever=True)),
        Fault("API server: token expires under way", _expires(forever=False), WRITTEN),
        Fault("API server: tokens expire each time", _expires(forever=True)),
        Fault("API server: connection refused", _unreachable("http://127.0.0.1:9")),
        Fault("API server: name not known", _unreachable("http://nowhere.invalid:6443"), weight=0.3),
        Fault("API server: empty 200", _to_the_list(edited(_empty)), REFUSED, 2),
        Fault("API server: CRD on its way out", _to_the_list(_only_the_deleted), REFUSED, 2),
        Fault("API server: CRD gone before a page", _crd_gone_before_a_page),
        Fault("API server: CRD missing", _crd_missing),
        Fault("API server: just started", _starting),
        Fault("API server: writes between pages", _written_between_pages, WRITTEN, 2),
        Fault("API server: etcd restored from backup", _restored_from_backup, REFUSED, 2),
        Fault("API server: etcd restored before page 2", _restored_before_page_2),
        Fault("API server: another cluster", _another_cluster, REFUSED),
        Fault("API server: two versions served", _two_versions, WRITTEN),
        Fault("API server: version not served", _version_not_served),
        Fault("API server: gzip cut", _gzip_cut),
        Fault("API server: gzip that is none", _no_gzip),
    )
    for folder in ("errors", "crd-variants", "restored-from-backup", "v1.20"):
        if _recorded_refusals(folder):
            yield Fault(f"API server: as recorded in {folder}/", _a_recorded_refusal(folder), weight=2)
