"""Snapshots from a cluster. The one file that knows the `kubernetes` library.

Read-only: it lists the tenants, and gets the one namespace whose uid names the cluster. A list is
complete or it is nothing: every page, at one resourceVersion, or SnapshotError.
"""

import ctypes
import http.client
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.reading import Dialect, NotTheList, Page, read_page, read_tenants, shown
from reconciler.core.tenant import Snapshot, Tenant, Unreadable
from reconciler.core.watch_events import WatchFailed, newest_version, read_event
from reconciler.errors import Expired, Silence, SnapshotError, UsageError

MOST_RESTARTS: Final = 3
"""How often an expired page token may send a list back to its first page."""
CLOCK_DIFFERENCE: Final = timedelta(seconds=2)
"""How far our clock may be off the API server's before it is corrected."""
OLDEST_BELIEVED: Final = (1, 25)
"""Before this Kubernetes, the time of a managedFields entry may lie before a change by its manager."""
CHUNK: Final = 1 << 20
LARGEST_PAGE: Final = 1 << 26
"""The most memory that is taken for a page before its size is seen."""
WATCH_LASTS: Final = 600
"""Seconds after which the server is asked to end a watch, so that it is opened anew now and then."""

_NEVER: Final = float("inf")

log = logging.getLogger(__name__)


class ClusterSettings(Struct, frozen=True, kw_only=True):
    """Which cluster, and how long to wait for it. All times in seconds."""

    dialect: Dialect
    plural: str
    version: str | None
    kubeconfig: str | None
    context: str | None
    page_size: int
    connect_timeout: float
    read_timeout: float
    list_timeout: float
    watches: bool = False
    """Whether lists are to be compared with a watch."""
    watch_silence: float = 120
    """How long a watch may say nothing at all, not even a bookmark."""


class ClusterSource:
    """The tenants of one cluster, as of now."""

    is_live = True

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        progress: Callable[[int], object] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """`progress` is told how many tenants were read so far, and 0 at the end.

        `now` is our clock, which may be set at any time; `ticks` are seconds that only pass.
        """
        self._settings = settings
        self._progress = progress
        self._now = now
        self._ticks = ticks

    def snapshot(self) -> Snapshot:
        """Lists all tenants. Raises SnapshotError, and UsageError for the kubeconfig."""
        # Made anew each time: tokens rotate, and kubeconfigs change.
        client, dialect, version, cluster_uid = self._connected()
        for _ in range(1 + MOST_RESTARTS):
            try:
                return self._list(client, dialect, version, cluster_uid)
            except Expired:
                log.info("the list expired under way (410); starting again from its first page")
        raise SnapshotError(
            f"the list expired (410) {1 + MOST_RESTARTS} times before its last page; it takes longer "
            "than the API server keeps it: try a larger --page-size"
        )

    def watch(self, since: str) -> "ClusterWatch":
        """The changes after that resourceVersion. Raises SnapshotError, and Expired where it is gone."""
        client, dialect, version, cluster_uid = self._connected()
        asked_at, started = self._now(), self._ticks()
        response, date = client.stream(version, since)
        arrived_at = asked_at + timedelta(seconds=self._ticks() - started)
        _, on_server = _on_server_clock(asked_at, arrived_at, date)

        def now() -> datetime:
            return on_server + timedelta(seconds=self._ticks() - started) - (arrived_at - asked_at)

        return ClusterWatch(response, client, dialect, cluster_uid, now)

    def _connected(self) -> "tuple[_Client, Dialect, str, str]":
        client = _Client(self._settings)
        cluster_uid = client.cluster_uid()
        version = self._settings.version or client.preferred_version()
        dialect = self._settings.dialect
        if client.server_version() < OLDEST_BELIEVED:
            dialect = replace(dialect, managed_fields=False)
        return client, dialect, version, cluster_uid

    def _list(self, client: "_Client", dialect: Dialect, version: str, cluster_uid: str) -> Snapshot:
        tenants: list[Tenant] = []
        unreadable: list[Unreadable] = []
        deadline = time.monotonic() + self._settings.list_timeout
        # One look at the clock: it may be set while the answer is on its way.
        asked_at, started = self._now(), self._ticks()
        page, date = client.page(version, None, deadline)
        arrived_at = asked_at + timedelta(seconds=self._ticks() - started)
        asked_at, observed_at = _on_server_clock(asked_at, arrived_at, date)
        first_version, number, newest = page.resource_version, 1, 0
        while True:
            try:
                if self._settings.watches:
                    newest = max(newest, newest_version(page.items))
                read, unread = read_tenants(page.items, observed_at, dialect)
            except NotTheList as problem:
                raise SnapshotError(f"page {number} is not the tenants' list: {problem}") from None
            tenants += read
            unreadable += unread
            self._progress(len(tenants) + len(unreadable))
            if not page.continue_token:
                break
            token, number = page.continue_token, number + 1
            del page  # and with it, what it arrived in
            page, _ = client.page(version, token, deadline)
            if page.resource_version != first_version:
                raise SnapshotError(
                    f"page {number} is of resourceVersion {shown(page.resource_version)}, the first "
                    f"page of {shown(first_version)}: they are no one state; try again"
                )
        self._progress(0)
        del page
        _give_back()
        return Snapshot(
            tenants=tenants,
            unreadable=unreadable,
            asked_at=asked_at,
            observed_at=observed_at,
            cluster_uid=cluster_uid,
            resource_version=first_version,
            newest_version=newest,
            source="cluster",
        )


class ClusterWatch:
    """One stream of changes, each a snapshot of the one tenant that changed; and bookmarks."""

    def __init__(
        self,
        response: Any,
        client: "_Client",
        dialect: Dialect,
        cluster_uid: str,
        now: Callable[[], datetime],
    ) -> None:
        self._response = response
        self._client = client
        self._dialect = dialect
        self._cluster_uid = cluster_uid
        self._now = now

    def __iter__(self) -> Iterator[Snapshot]:
        """Ends when the server ends it in the ordinary way.

        Raises SnapshotError where it breaks or says something else, and Expired for 410.
        """
        try:
            for line in self._client.lines(self._response):
                yield replace(
                    read_event(line, self._now(), self._dialect), cluster_uid=self._cluster_uid
                )
        except WatchFailed as failure:
            kind = Expired if failure.code == 410 else SnapshotError
            raise kind(f"the watch ended with {failure.code} ({_one_line(str(failure))})") from None
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


class _Client:
    """The requests that the reconciler makes, and what their failures mean."""

    def __init__(self, settings: ClusterSettings) -> None:
        import kubernetes.client
        import kubernetes.config
        import urllib3

        self._settings = settings
        self._api_error = kubernetes.client.ApiException
        exceptions = urllib3.exceptions
        self._read_timeout = exceptions.ReadTimeoutError
        self._network_errors = (exceptions.HTTPError, http.client.HTTPException, OSError, zlib.error)
        configuration = type.__call__(kubernetes.client.Configuration)
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ
        try:
            if in_cluster and not (settings.kubeconfig or settings.context):
                kubernetes.config.load_incluster_config(client_configuration=configuration)
            else:
                kubernetes.config.load_kube_config(
                    config_file=settings.kubeconfig,
                    context=settings.context,
                    client_configuration=configuration,
                    persist_config=False,
                )
            # A failed page fails the pass: what is tried again is all of it, by whoever runs it.
            configuration.retries = urllib3.Retry(0, redirect=0, respect_retry_after_header=False)
            # It may carry a password, which is nobody's business.
            self._host = re.sub(r"//[^/]*@", "//", configuration.host)
            if not re.match(r"\w[\w+.-]*://", self._host):
                raise kubernetes.config.ConfigException(f"the server {self._host} is no URL")
            api = kubernetes.client.ApiClient(configuration)
        except Exception as error:  # noqa: BLE001
            # The library raises whatever it stumbles over; only its own messages quote no secret.
            known = isinstance(error, kubernetes.config.ConfigException)
            problem = error.strerror if isinstance(error, OSError) else str(error) if known else None
            outside = os.environ.get("KUBECONFIG") or "~/.kube/config"
            where = settings.kubeconfig or ("in-cluster" if in_cluster else outside)
            wanted = f", context {settings.context}" if settings.context else ""
            raise UsageError(
                f"no usable cluster configuration ({where}{wanted}): "
                f"{_one_line(problem or f'it is no kubeconfig ({type(error).__name__})')}. "
                "Give --kubeconfig and --context, or run inside the cluster"
            ) from None
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        api.set_default_header("Accept-Encoding", "gzip")
        # Not its CoreV1Api: that makes a model of every kind there is, which takes longer than a pass.
        self._api = api

    def cluster_uid(self) -> str:
        """The uid of the namespace kube-system: it names the cluster for as long as it lives."""
        body, _ = self._get(
            "the namespace kube-system",
            "get on namespaces, resourceNames [kube-system]",
            "/api/v1/namespaces/kube-system",
        )
        namespace = _json_object(body, "the namespace kube-system")
        metadata = namespace.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if namespace.get("kind") != "Namespace" or not isinstance(uid, str) or not uid:
            raise SnapshotError(
                f"{self._host} did not answer with the namespace kube-system and its uid"
            )
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
        preferred = _json_object(body, what).get("preferredVersion")
        version = preferred.get("version") if isinstance(preferred, dict) else None
        if not isinstance(version, str) or not version:
            raise SnapshotError(f"{self._host} did not answer with {what}")
        return version

    def _tenants(self, version: str) -> str:
        group, plural = self._settings.dialect.group, self._settings.plural
        return f"/apis/{_quoted(group)}/{_quoted(version)}/{_quoted(plural)}"

    def page(self, version: str, token: str | None, deadline: float) -> tuple[Page, datetime | None]:
        """One page of the tenants, and the server's clock when it answered."""
        settings, dialect = self._settings, self._settings.dialect
        query = [("limit", settings.page_size), *([("continue", token)] if token else [])]
        body, date = self._get(
            "the tenants",
            f"list on {settings.plural}.{dialect.group}, for the whole cluster",
            self._tenants(version),
            query,
            deadline,
        )
        try:
            page = read_page(body, dialect)
            if not page.resource_version:
                raise NotTheList("a list without a resourceVersion")
        except NotTheList as problem:
            raise SnapshotError(
                f"{self._host} answered 200, but not with the tenants: {problem}; "
                "try again, or check --api-group and --kind"
            ) from None
        return page, date

    def stream(self, version: str, since: str) -> tuple[Any, datetime | None]:
        """An open watch from a resourceVersion on, and the server's clock when it was opened."""
        settings, group = self._settings, self._settings.dialect.group
        asked = f"asking {self._host} to watch the tenants"
        rule = f"watch on {settings.plural}.{group}, for the whole cluster"
        with self._asking(asked, rule, expires=True):
            response = self._request(
                self._tenants(version),
                [
                    ("watch", "true"),
                    ("resourceVersion", since),
                    ("allowWatchBookmarks", "true"),
                    ("timeoutSeconds", WATCH_LASTS),
                ],
                (settings.connect_timeout, settings.watch_silence),
            )
            if response.status != 200:
                self._check(response.status, response.read(), asked, rule, expires=True)
        return response, _date(response.headers.get("Date"))

    def lines(self, response: Any) -> Iterator[bytes]:
        """The lines of a stream as they arrive. Raises SnapshotError where it breaks."""
        rest = b""
        with self._asking(f"watching the tenants of {self._host}", "", expires=True):
            try:
                for chunk in response.stream(CHUNK, decode_content=True):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from (line for line in lines if line)
            except self._read_timeout:
                raise Silence(
                    f"the watch said nothing for {self._settings.watch_silence:g} s; see --watch-silence"
                ) from None
        if rest.strip():
            raise SnapshotError(f"watching the tenants of {self._host} ended in the middle of a line")

    def _get(
        self,
        what: str,
        rule: str,
        path: str,
        query: Sequence[tuple[str, object]] = (),
        deadline: float = _NEVER,
    ) -> tuple[bytes, datetime | None]:
        """The body of an answer and its Date. Raises SnapshotError, and Expired for 410."""
        asked = f"asking {self._host} for {what}"
        with self._asking(asked, rule, expires=deadline != _NEVER):
            response = self._request(path, query, self._timeout)
            try:
                body = b"".join(self._chunks(response, deadline, asked))
            finally:
                response.release_conn()
            if body and response.headers.get("Content-Encoding", "").lower() == "gzip":
                try:
                    body = _inflated(body)
                except zlib.error:
                    # What says that it failed says so by its status.
                    if response.status == HTTPStatus.OK:
                        raise
            self._check(response.status, body, asked, rule, expires=deadline != _NEVER)
        return body, _date(response.headers.get("Date"))

    def _request(
        self, path: str, query: Sequence[tuple[str, object]], timeout: tuple[float, float]
    ) -> Any:
        """A GET by path; its answer, whatever it is, and not yet read."""
        request = self._api.param_serialize(
            "GET",
            path,
            query_params=[*query],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        return self._api.call_api(*request, _request_timeout=timeout).response

    @contextmanager
    def _asking(self, asked: str, rule: str, *, expires: bool) -> Iterator[None]:
        """What goes wrong in the block is said as a SnapshotError."""
        try:
            yield
        except self._api_error as error:
            said = error.body or b""
            body = said.encode() if isinstance(said, str) else said
            if not error.status:
                problem = _one_line(error.reason)
                raise SnapshotError(f"{asked} failed: {problem}; check the CA and the server") from None
            self._check(error.status, body, asked, rule, expires=expires)
        except self._network_errors as error:
            problem = _network_problem(error)
            raise SnapshotError(f"{asked} failed: {problem}; try again") from None
        except ValueError as error:
            # Not its message: that would quote what cannot be sent, which may be the token.
            raise SnapshotError(
                f"{asked} failed: the request cannot be sent ({type(error).__name__}); "
                "check that the server is a URL, and the token one line of ASCII"
            ) from None

    @staticmethod
    def _check(status: int, body: bytes, asked: str, rule: str, *, expires: bool) -> None:
        if status == 410 and expires:
            raise Expired(f"{asked} failed with 410{_message(body)}; its history is gone")
        if not 200 <= status <= 299:
            advice = _advice(status).format(rule=rule)
            raise SnapshotError(f"{asked} failed with {status}{_message(body)}; {advice}")

    def _chunks(self, response: Any, deadline: float, asked: str) -> Any:
        while chunk := response.read1(CHUNK, decode_content=False):
            yield chunk
            if time.monotonic() > deadline:
                raise SnapshotError(
                    f"{asked} took longer than {self._settings.list_timeout:g} s; see --list-timeout"
                )


def _inflated(body: bytes) -> bytes:
    """A gzip, inflated at once: chunk by chunk takes longer. Its size is told at its end."""
    size = int.from_bytes(body[-4:], "little")
    inflated = zlib.decompress(body, zlib.MAX_WBITS | 16, bufsize=min(max(size, 1), LARGEST_PAGE))
    if len(inflated) % (1 << 32) != size:
        raise zlib.error("there is more than one gzip")
    return inflated


def _give_back() -> None:
    """Returns what the pages took to the system, before a plan takes as much again."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _on_server_clock(
    asked_at: datetime, arrived_at: datetime, date: datetime | None
) -> tuple[datetime, datetime]:
    """P and S on the API server's clock, which is ours where the two agree to 2 s."""
    if date is None or asked_at - CLOCK_DIFFERENCE <= date <= arrived_at + CLOCK_DIFFERENCE:
        return asked_at, arrived_at
    log.warning(
        "this clock is %+.0f s off the API server's, which is used instead",
        (arrived_at - date).total_seconds(),
    )
    # The header is cut to the second, and was written before it arrived here.
    return date - (arrived_at - asked_at), date + timedelta(seconds=1)


def _advice(status: int) -> str:
    match status:
        case 401:
            return "the credentials are refused: renew the token or the kubeconfig"
        case 403:
            return "allow this account: {rule} (a server that has just started may say so for a moment)"
        case 404:
            return "the CRD is not installed, or this version of it is not served"
        case 429:
            return "the server is overloaded, or not ready yet: try again later"
        case 400 | 406 | 422:
            return "this server does not understand the request; check its version and --api-version"
        case _:
            return "try again when the server is well"


def _message(body: bytes) -> str:
    """What the server said, be it a Status or text."""
    text = body.decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    return f" ({_one_line(text)})" if text.strip() else ""


def _one_line(text: str, longest: int = 300) -> str:
    return shown(" ".join(text.split()), longest)[1:-1]


def _network_problem(error: BaseException) -> str:
    """What went wrong on the way, without the objects that urllib3 prints."""
    import urllib3.exceptions as problem

    match error:
        case problem.MaxRetryError() if error.reason is not None:
            return _network_problem(error.reason)
        case problem.NameResolutionError():
            return "its name cannot be resolved"
        case problem.NewConnectionError():
            return _one_line(str(error).rpartition(": ")[2] or str(error))
        case problem.ConnectTimeoutError():
            return "no connection in time; see --connect-timeout"
        case problem.ReadTimeoutError():
            return "no answer in time; see --read-timeout"
        case problem.ProtocolError() | http.client.HTTPException() | ConnectionError():
            return "the connection ended before the answer did"
        case _:
            return _one_line(str(error)) or type(error).__name__


def _quoted(text: str) -> str:
    """As one part of a path."""
    return quote(text, safe="")


def _date(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None


def _json_object(body: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SnapshotError(f"the server answered 200, but not with {what}")
    return document
