"""One stream of changes from a cluster."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from reconciler.core.reading import Dialect, NotTheList
from reconciler.core.tenant import Snapshot
from reconciler.core.text import one_line
from reconciler.core.watch_events import WatchFailed, read_event
from reconciler.errors import Expired, SnapshotError
from reconciler.sources.api import Api


class ClusterWatch:
    """One stream of changes, each a snapshot of the one tenant that changed; and bookmarks."""

    def __init__(
        self,
        response: Any,
        api: Api,
        dialect: Dialect,
        cluster_uid: str,
        now: Callable[[], datetime],
    ) -> None:
        self._response = response
        self._api = api
        self._dialect = dialect
        self._cluster_uid = cluster_uid
        self._now = now

    def __iter__(self) -> Iterator[Snapshot]:
        """Ends when the server ends it in the ordinary way.

        Raises SnapshotError where it breaks or says something else, and Expired for 410.
        """
        try:
            for line in self._api.lines(self._response):
                yield replace(
                    read_event(line, self._now(), self._dialect), cluster_uid=self._cluster_uid
                )
        except WatchFailed as failure:
            kind = Expired if failure.code == 410 else SnapshotError
            raise kind(f"the watch ended with {failure.code} ({one_line(str(failure))})") from None
        except NotTheList as problem:
            raise SnapshotError(f"the watch delivered something else: {problem}") from None
        finally:
            self.close()

    def close(self) -> None:
        """Ends it, also for whoever is waiting for its next change."""
        # Where it is over already, there is nothing to shut down.
        with suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()
        self._response.close()
