"""Snapshots from a cluster. A list is complete or it is nothing: every page, at one resourceVersion."""

import ctypes
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from reconciler.core.fingerprint import is_ahead
from reconciler.core.reading import Dialect, NotTheList, read_tenants
from reconciler.core.tenant import Snapshot, Tenant, Unreadable
from reconciler.core.text import clean, quoted
from reconciler.errors import Expired, SnapshotError
from reconciler.sources.api import Api
from reconciler.sources.cluster_settings import ClusterSettings
from reconciler.sources.server_clock import on_server_clock
from reconciler.sources.watch import ClusterWatch

MOST_RESTARTS: Final = 3
"""How often an expired page token may send a list back to its first page."""
OLDEST_BELIEVED: Final = (1, 25)
"""Before this Kubernetes, the time of a managedFields entry may lie before a change by its manager."""

_M_MMAP_THRESHOLD: Final = -3
"""Of mallopt(3)."""

log = logging.getLogger(__name__)


class ClusterSource:
    """The tenants of one cluster, as of now."""

    is_live = True

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        progress: Callable[[int, int | None], object] = lambda *_: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """`progress` is told how many tenants were listed so far, and of how many; 0 at the end.

        `now` is our clock, which may be set at any time; `ticks` are seconds that only pass.
        """
        self._settings = settings
        self._progress = progress
        self._now = now
        self._ticks = ticks
        self._told: tuple[str, str, str] | None = None

    def connected(self) -> "ConnectedCluster":
        """A connection of its own: tokens rotate, and kubeconfigs change.

        Raises SnapshotError, and UsageError for the kubeconfig.
        """
        api = Api(self._settings)
        cluster_uid = api.cluster_uid()
        self._tell(api, cluster_uid)
        version = self._settings.version or api.preferred_version()
        dialect = self._settings.dialect
        if api.server_version() < OLDEST_BELIEVED:
            dialect = replace(dialect, managed_fields=False)
        return ConnectedCluster(
            api,
            dialect,
            version,
            cluster_uid,
            list_timeout=self._settings.list_timeout,
            progress=self._progress,
            now=self._now,
            ticks=self._ticks,
        )

    def snapshot(self, known: frozenset[bytes] | None = None) -> Snapshot:
        """Lists all tenants. Raises SnapshotError, and UsageError for the kubeconfig."""
        return self.connected().snapshot(known)

    def _tell(self, api: Api, cluster_uid: str) -> None:
        """Names the cluster, so that nobody takes another one for it; again where it is another."""
        if (seen := (api.context, api.host, cluster_uid)) != self._told:
            log.info("context %s, server %s, cluster %s", *(clean(part, 100) for part in seen))
            if api.is_insecure:
                log.warning("the certificate of %s is not checked (insecure-skip-tls-verify)", api.host)
            self._told = seen


class ConnectedCluster:
    """One cluster over one connection, which lists and watches may share."""

    def __init__(
        self,
        api: Api,
        dialect: Dialect,
        version: str,
        uid: str,
        *,
        list_timeout: float,
        progress: Callable[[int, int | None], object],
        now: Callable[[], datetime],
        ticks: Callable[[], float],
    ) -> None:
        self.uid = uid
        """Of the namespace kube-system."""
        self._api = api
        self._dialect = dialect
        self._version = version
        self._list_timeout = list_timeout
        self._progress = progress
        self._now = now
        self._ticks = ticks

    def snapshot(self, known: frozenset[bytes] | None = None) -> Snapshot:
        """Lists all tenants, and reads all but those with a known fingerprint. Raises SnapshotError.

        `known` None: no fingerprints are computed.
        """
        for _ in range(1 + MOST_RESTARTS):
            try:
                try:
                    return self._list(known)
                except _ToBeRead:
                    return self._list(frozenset())
            except Expired:
                log.info("the list expired under way (410); starting again from its first page")
        raise SnapshotError(
            f"the list expired (410) {1 + MOST_RESTARTS} times before its last page; it takes longer "
            "than the API server keeps it: try a larger --page-size"
        )

    def note(self) -> Snapshot:
        """How far the cluster is by now, and no tenant. Raises SnapshotError."""
        asked_at, started = self._now(), self._ticks()
        deadline = time.monotonic() + self._list_timeout
        page, date = self._api.page(self._version, None, deadline, None, size=1)
        arrived_at = asked_at + timedelta(seconds=self._ticks() - started)
        asked_at, observed_at = on_server_clock(asked_at, arrived_at, date)
        return Snapshot(
            tenants=(),
            asked_at=asked_at,
            observed_at=observed_at,
            arrived_at=arrived_at,
            cluster_uid=self.uid,
            resource_version=page.resource_version,
            source="watch",
            scope=frozenset(),
        )

    def serves(self) -> bool:
        """Whether the tenants' resource is there to stay. Raises SnapshotError."""
        return self._api.serves(self._version)

    def watch(self, since: str, seconds: int) -> ClusterWatch:
        """The changes after that resourceVersion; the server ends the stream after so many seconds.

        Raises SnapshotError, and Expired where the history after it is gone.
        """
        asked_at, started = self._now(), self._ticks()
        response, date = self._api.stream(self._version, since, seconds)
        arrived_at = asked_at + timedelta(seconds=self._ticks() - started)
        _, on_server = on_server_clock(asked_at, arrived_at, date)

        def now() -> datetime:
            return on_server + timedelta(seconds=self._ticks() - started) - (arrived_at - asked_at)

        return ClusterWatch(response, self._api, self._dialect, self.uid, now)

    def _list(self, known: frozenset[bytes] | None) -> Snapshot:
        tenants: list[Tenant] = []
        unreadable: list[Unreadable] = []
        unchanged: set[bytes] = set()
        deadline = time.monotonic() + self._list_timeout
        _map_pages()
        # One look at the clock: it may be set while the answer is on its way.
        asked_at, started = self._now(), self._ticks()
        page, date = self._api.page(self._version, None, deadline, known)
        arrived_at = asked_at + timedelta(seconds=self._ticks() - started)
        asked_at, observed_at = on_server_clock(asked_at, arrived_at, date)
        first_version, number = page.resource_version, 1
        while True:
            try:
                read, unread = read_tenants(page.items, observed_at, self._dialect, page.fingerprints)
            except NotTheList as problem:
                raise SnapshotError(f"page {number} is not the tenants' list: {problem}") from None
            tenants += read
            unreadable += unread
            before = len(unchanged)
            unchanged.update(page.unchanged)
            is_twice = len(unchanged) < before + len(page.unchanged)
            if is_twice or is_ahead(page.newest, observed_at):
                raise _ToBeRead
            listed = len(tenants) + len(unreadable) + len(unchanged)
            self._progress(listed, None if page.remaining is None else listed + page.remaining)
            if not page.continue_token:
                break
            token, number = page.continue_token, number + 1
            del page  # and with it, what it arrived in
            page, _ = self._api.page(self._version, token, deadline, known)
            if page.resource_version != first_version:
                raise SnapshotError(
                    f"page {number} is of resourceVersion {quoted(page.resource_version)}, the first "
                    f"page of {quoted(first_version)}: they are no one state; try again"
                )
        self._progress(0, None)
        del page
        _give_back()
        return Snapshot(
            tenants=tenants,
            unreadable=unreadable,
            asked_at=asked_at,
            observed_at=observed_at,
            arrived_at=arrived_at,
            cluster_uid=self.uid,
            resource_version=first_version,
            source="cluster",
            unchanged=frozenset(unchanged),
        )


class _ToBeRead(Exception):
    """Something about the tenants is odd, and only reading them tells what."""


def _map_pages() -> None:
    """Has glibc map the buffers of pages by themselves, so that they leave no holes among the tenants.

    Reading 100,000 tenants peaks some 15 MiB lower for it.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 18)


def _give_back() -> None:
    """Returns what the pages took to the system, before a plan takes as much again."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
