"""An API server over real HTTP, and the real `kubernetes` client to ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.sources.cluster import ClusterSource
from tests.apiserver import ApiServer
from tests.sources.source import SEVEN, TOKEN, check_requests, source_of


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run in, they are outside a cluster, and behind no proxy."""
    names = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HTTP_PROXY", "HTTPS_PROXY")
    for name in (*names, *map(str.lower, names)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """Seven tenants: by threes, three pages. Whatever a test does, only reads are asked for."""
    with ApiServer(token=TOKEN) as server:
        for name in SEVEN:
            server.tenants.create(name, ["mail"])
        yield server
        check_requests(server)


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def source(kubeconfig: Path) -> ClusterSource:
    return source_of(kubeconfig)
