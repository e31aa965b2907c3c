"""The requests that the reconciler makes, all of them reads: lists, watches, the name of the cluster."""

import json
import logging
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from reconciler.core.reading import NotTheList, Page, read_page
from reconciler.errors import Rejected, Silence, SnapshotError
from reconciler.sources.answers import check, inflated, json_object, server_date
from reconciler.sources.cluster_settings import ClusterSettings
from reconciler.sources.connection import CHUNK, Connection

_NEVER: Final = float("inf")

log = logging.getLogger(__name__)


class Api:
    """One connection to the API server, and what its answers mean. Everything raises SnapshotError."""

    def __init__(self, settings: ClusterSettings) -> None:
        """Raises UsageError for the kubeconfig."""
        self._settings = settings
        self._connection = Connection(settings.kubeconfig, settings.context, compress=settings.compress)
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        self.context, self.host = self._connection.context, self._connection.host
        self.is_insecure = self._connection.is_insecure

    def cluster_uid(self) -> str:
        """The uid of the namespace kube-system: it names the cluster for as long as it lives."""
        body, _ = self._get(
            "the namespace kube-system",
            "get on namespaces, resourceNames [kube-system]",
            "/api/v1/namespaces/kube-system",
        )
        namespace = json_object(body, "the namespace kube-system")
        metadata = namespace.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if namespace.get("kind") != "Namespace" or not isinstance(uid, str) or not uid:
            raise SnapshotError(f"{self.host} did not answer with the namespace kube-system and its uid")
        return uid

    def server_version(self) -> tuple[int, int]:
        """Major and minor version of Kubernetes."""
        try:
            body, _ = self._get("its version", "get on the path /version", "/version")
            found = json.loads(body)
            # Some providers say `27+`.
            return int(found["major"]), int(found["minor"].rstrip("+"))
        except (SnapshotError, ValueError, LookupError, AttributeError, TypeError) as problem:
            log.warning(
                "not believing managedFields: the server does not tell its version (%s)", problem
            )
            return (0, 0)

    def preferred_version(self) -> str:
        """The version of the tenants' group that the server prefers."""
        what = f"the served versions of {self._settings.dialect.group}"
        path = f"/apis/{_quoted(self._settings.dialect.group)}"
        body, _ = self._get(what, "discovery, or set --api-version", path)
        preferred = json_object(body, what).get("preferredVersion")
        version = preferred.get("version") if isinstance(preferred, dict) else None
        if not isinstance(version, str) or not version:
            raise SnapshotError(f"{self.host} did not answer with {what}")
        return version

    def serves(self, version: str) -> bool:
        """Whether tenants can be made: not where their resource is gone, or going.

        A CRD that is being deleted deletes its tenants first; meanwhile nobody can create one.
        """
        group, plural = self._settings.dialect.group, self._settings.plural
        what = f"the resources of {group}/{version}"
        try:
            body, _ = self._get(what, "discovery", f"/apis/{_quoted(group)}/{_quoted(version)}")
        except Rejected:
            return False
        resources = json_object(body, what).get("resources")
        return isinstance(resources, list) and any(
            isinstance(one, dict) and one.get("name") == plural and "create" in (one.get("verbs") or ())
            for one in resources
        )

    def _tenants(self, version: str) -> str:
        group, plural = self._settings.dialect.group, self._settings.plural
        return f"/apis/{_quoted(group)}/{_quoted(version)}/{_quoted(plural)}"

    def page(
        self,
        version: str,
        token: str | None,
        deadline: float,
        known: frozenset[bytes] | None,
        size: int | None = None,
    ) -> tuple[Page, datetime | None]:
        """One page of the tenants, read but for the known fingerprints, and the server's clock."""
        settings, dialect = self._settings, self._settings.dialect
        query = [("limit", size or settings.page_size), *([("continue", token)] if token else [])]
        body, date = self._get(
            "the tenants",
            f"list on {settings.plural}.{dialect.group}, for the whole cluster",
            self._tenants(version),
            query,
            deadline,
        )
        try:
            page = read_page(body, dialect, known=known)
            if not page.resource_version:
                raise NotTheList("a list without a resourceVersion")
        except NotTheList as problem:
            raise SnapshotError(
                f"{self.host} answered 200, but not with the tenants: {problem}; "
                "try again, or check --api-group and --kind"
            ) from None
        return page, date

    def stream(self, version: str, since: str, seconds: int) -> tuple[Any, datetime | None]:
        """A watch from a resourceVersion on, which the server ends after so many seconds.

        Returns its answer, not yet read, and the server's clock when it was opened.
        """
        settings, group = self._settings, self._settings.dialect.group
        asked = f"asking {self.host} to watch the tenants"
        rule = f"watch on {settings.plural}.{group}, for the whole cluster"
        with self._connection.asking(asked, rule, expires=True):
            response = self._connection.get(
                self._tenants(version),
                [
                    ("watch", "true"),
                    ("resourceVersion", since),
                    ("allowWatchBookmarks", "true"),
                    ("timeoutSeconds", seconds),
                ],
                (settings.connect_timeout, settings.watch_silence),
            )
            if response.status != 200:
                check(response.status, response.read(), asked, rule, expires=True)
        return response, server_date(response.headers.get("Date"))

    def lines(self, response: Any) -> Iterator[bytes]:
        """The lines of a stream as they arrive. Raises SnapshotError where it breaks."""
        rest = b""
        with self._connection.asking(f"watching the tenants of {self.host}", "", expires=True):
            try:
                for chunk in self._connection.stream(response):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from (line for line in lines if line)
            except TimeoutError:
                raise Silence(
                    f"the watch said nothing for {self._settings.watch_silence:g} s; see --watch-silence"
                ) from None
        if rest.strip():
            raise SnapshotError(f"watching the tenants of {self.host} ended in the middle of a line")

    def _get(
        self,
        what: str,
        rule: str,
        path: str,
        query: Sequence[tuple[str, object]] = (),
        deadline: float = _NEVER,
    ) -> tuple[bytes, datetime | None]:
        """The body of an answer and its Date. Raises SnapshotError, and Expired for 410."""
        asked = f"asking {self.host} for {what}"
        with self._connection.asking(asked, rule, expires=deadline != _NEVER):
            response = self._connection.get(path, query, self._timeout)
            try:
                body = b"".join(self._chunks(response, deadline, asked))
            finally:
                response.release_conn()
            if body and response.headers.get("Content-Encoding", "").lower() == "gzip":
                try:
                    body = inflated(body)
                except zlib.error:
                    # An error response is judged by its status, even if its body does not inflate.
                    if response.status == HTTPStatus.OK:
                        raise
            check(response.status, body, asked, rule, expires=deadline != _NEVER)
        return body, server_date(response.headers.get("Date"))

    def _chunks(self, response: Any, deadline: float, asked: str) -> Any:
        while chunk := response.read1(CHUNK, decode_content=False):
            yield chunk
            if time.monotonic() > deadline:
                raise SnapshotError(
                    f"{asked} took longer than {self._settings.list_timeout:g} s; see --list-timeout"
                )


def _quoted(text: str) -> str:
    """As one part of a path."""
    return quote(text, safe="")
