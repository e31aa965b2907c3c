"""The ClusterRole is exactly what the program asks of the API server, by the requests that it makes."""

import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from tests.apiserver import ApiServer, Request
from tests.conftest import Command
from tests.deployment.validate import RIGHTS, granted
from tests.waiting import PATIENCE, until

RBAC = Path(__file__).parents[2] / "k8s" / "base" / "rbac.yaml"
"""Seconds for what takes one when the machine has nothing else to do."""

FOR_EVERY_ACCOUNT = r"/api|/apis|/apis/[^/]+|/apis/[^/]+/[^/]+|/version/?"
"""What Kubernetes' own ClusterRole system:discovery allows, as far as it is no resource."""

Right: TypeAlias = tuple[str, str, str | None, str]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """Five tenants, which are more than a page."""
    with ApiServer(token="token-of-the-reconciler") as server:
        for name in ("anna", "bert", "cleo", "dora", "emil"):
            server.tenants.create(name, ["mail"])
        yield server


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return server.kubeconfig(tmp_path / "kubeconfig")


def right(request: Request) -> Right | None:
    """What a role must grant for this request, as the API server reads it; None: nothing."""
    if re.fullmatch(FOR_EVERY_ACCOUNT, request.path):
        return None
    root, *rest = request.path.strip("/").split("/")
    assert root in {"api", "apis"}, request.path
    group = rest.pop(0) if root == "apis" else ""
    _version, *named = rest
    if named[0] == "namespaces" and len(named) > 2:
        named = named[2:]
    resource, name = named[0], named[1] if len(named) > 1 else None
    assert len(named) < 3, f"a subresource: {request.path}"
    if request.method != "GET":
        return (group, resource, name, request.method.lower())
    watches = request.query.get("watch", "false").lower() not in {"false", "0"}
    return (group, resource, name, "watch" if watches else "get" if name else "list")


def asked(requests: Sequence[Request]) -> set[Right]:
    return {needed for needed in map(right, requests) if needed}


def by_role() -> set[Right]:
    documents = yaml.safe_load_all(RBAC.read_text(encoding="utf-8"))
    (role,) = (document for document in documents if document["kind"] == "ClusterRole")
    return granted(role)


def test_the_role_grants_what_every_overlay_is_checked_for() -> None:
    assert by_role() == RIGHTS


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_pass_asks_for_what_the_role_grants_and_for_all_of_it_but_the_watch(
    command: Command, server: ApiServer, kubeconfig: Path, dry: Sequence[str]
) -> None:
    done = command("run", "--kubeconfig", kubeconfig, "--page-size", "2", *dry)
    assert done.status == 0, done.err
    assert asked(server.requests) == {one for one in by_role() if one[3] != "watch"}


def test_a_loop_that_watches_asks_for_all_that_the_role_grants_and_no_more(
    command: Command, server: ApiServer, kubeconfig: Path
) -> None:
    if "--watch" not in command("loop", "--help").out:
        pytest.skip("`reconciler loop` has no --watch")
    options = ("--interval", "1s", "--watch", "--health-port", "0")
    loop = command.start("loop", "--kubeconfig", kubeconfig, *options)
    try:
        until(lambda: asked(server.requests) == by_role())
        # A change, a stream that breaks and a token that ends must not make it ask for more.
        server.tenants.patch("anna", spec={"packages": ["wiki"]})
        server.stop()
        seen = len(server.requests)
        server.start()
        until(lambda: any(server.is_watch(one) for one in server.requests[seen:]))
        loop.send_signal(signal.SIGTERM)
        _, err = loop.communicate(timeout=PATIENCE)
    finally:
        loop.kill()
    assert loop.returncode == 0, err
    assert asked(server.requests) == by_role()


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        (("GET", "/version"), None),
        (("GET", "/apis/pieced.ch/v1"), None),
        (
            ("GET", "/apis/pieced.ch/v1/piecedtenants?watch=true"),
            ("pieced.ch", "piecedtenants", None, "watch"),
        ),
        (
            ("GET", "/apis/pieced.ch/v1/namespaces/a/piecedtenants"),
            ("pieced.ch", "piecedtenants", None, "list"),
        ),
        (("GET", "/api/v1/namespaces"), ("", "namespaces", None, "list")),
        (("GET", "/api/v1/namespaces/default"), ("", "namespaces", "default", "get")),
        (
            ("PATCH", "/apis/pieced.ch/v1/piecedtenants/anna"),
            ("pieced.ch", "piecedtenants", "anna", "patch"),
        ),
    ],
)
def test_a_request_is_read_as_the_api_server_reads_it(
    request_: tuple[str, str], needed: Right | None
) -> None:
    method, target = request_
    path, _, query = target.partition("?")
    parameters = dict(part.split("=") for part in query.split("&") if part)
    assert right(Request(method=method, path=path, query=parameters, headers={})) == needed
