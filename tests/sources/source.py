"""The source that the tests ask, what they expect it to ask for, and how it fails."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.evidence import NOTHING
from reconciler.core.plan import plan
from reconciler.core.reading import Dialect
from reconciler.core.tenant import KnownState, Snapshot
from reconciler.errors import ReconcilerError, SnapshotError
from reconciler.sources.cluster import ClusterSource
from reconciler.sources.cluster_settings import ClusterSettings
from tests.apiserver import LATEST, ApiServer, Request, read_token

TOKEN = "token-of-the-reconciler"
SEVEN = ("anna", "bert", "cleo", "dora", "emil", "finn", "gisa")
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
GROUP = "/apis/pieced.ch"
VERSION = "/version"
DISCOVERY = (GROUP, VERSION)
BEFORE_THE_LIST = (KUBE_SYSTEM, GROUP)
"""Without an answer to these there is no snapshot."""
TWO_SECONDS = timedelta(seconds=2)


def clocks(instants: Sequence[datetime]) -> tuple[Callable[[], datetime], Callable[[], float]]:
    """A clock and its ticks that say when the list was asked for, and when it arrived."""
    return iter(instants[::2]).__next__, iter([one.timestamp() for one in instants]).__next__


def source_of(
    kubeconfig: Path | None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ticks: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> ClusterSource:
    """The source, three tenants a page."""
    usual: dict[str, Any] = {
        "dialect": Dialect(),
        "plural": "piecedtenants",
        "version": None,
        "kubeconfig": None if kubeconfig is None else str(kubeconfig),
        "context": None,
        "page_size": 3,
        "connect_timeout": 30.0,
        "read_timeout": 30.0,
        "list_timeout": 60.0,
    }
    return ClusterSource(ClusterSettings(**usual | settings), now=now, ticks=ticks)


def check_requests(server: ApiServer) -> None:
    """Reads of three kinds only, and never of a state that is stale or never was."""
    for request in server.requests:
        assert request.method == "GET"
        assert request.path in (KUBE_SYSTEM, *DISCOVERY, server.list_path)
        assert request.query.keys() <= {"limit", "continue"}
        if token := request.query.get("continue"):
            assert read_token(token)[0] != LATEST, "the inconsistent token was used"


def lists(server: ApiServer) -> Sequence[Request]:
    return [request for request in server.requests if server.is_list(request)]


def names(snapshot: Snapshot) -> Sequence[str]:
    return [tenant.name for tenant in snapshot.tenants]


def gathered(source: ClusterSource) -> Snapshot:
    """A snapshot that can be planned: it is the plan that finds a uid twice."""
    snapshot = source.snapshot()
    plan(snapshot, KnownState())
    return snapshot


def failure(source: ClusterSource, error: type[ReconcilerError] = SnapshotError) -> str:
    """The message of a snapshot that fails: one line, without the token."""
    with pytest.raises(error) as raised:
        gathered(source)
    message = str(raised.value)
    assert message.isprintable()
    assert TOKEN not in message
    return message


def to(path: str) -> Callable[[Request], bool]:
    return lambda request: request.path == path


def believed(snapshot: Snapshot) -> bool:
    return any(tenant.evidence != NOTHING for tenant in snapshot.tenants)
