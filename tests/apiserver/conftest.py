"""The fake API server, and the real client that lists and watches."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config

from tests.apiserver import ApiServer
from tests.apiserver.lists import client_of
from tests.apiserver.watches import Open, Stream
from tests.waiting import PATIENCE, until


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def kubernetes(server: ApiServer, tmp_path: Path) -> Iterator[client.ApiClient]:
    with client_of(server, tmp_path) as kubernetes:
        yield kubernetes


@pytest.fixture
def watch(server: ApiServer, tmp_path: Path) -> Iterator[Open]:
    """Opens a watch with that query, from the latest resourceVersion unless it says otherwise."""
    file = server.kubeconfig(tmp_path / "kubeconfig")
    opened: list[Stream] = []

    def watch(*, read_timeout: float = PATIENCE, **query: object) -> Stream:
        query = {"resource_version": str(server.tenants.revision), "timeout_seconds": 30, **query}
        wanted = {name: value for name, value in query.items() if value is not None}
        stream = Stream(wanted | {"_request_timeout": (PATIENCE, read_timeout)})
        config.load_kube_config(str(file), "test", stream.configuration)  # type: ignore[no-untyped-call]
        before = len(server.requests)
        stream.thread.start()
        opened.append(stream)
        until(lambda: len(server.requests) > before and (stream.headers or stream.error))
        return stream

    yield watch
    server.stop()
    for stream in opened:
        stream.end()
