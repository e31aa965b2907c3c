"""How the program is: metrics for Prometheus, and whether it lives and is ready, over HTTP.

The one file that knows `prometheus_client`. It only listens: nothing here decides anything.
"""

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)

from reconciler.core.cases import Case
from reconciler.core.kinds import Kind
from reconciler.core.plan import Plan
from reconciler.core.tenant import KnownState, Setback, Snapshot
from reconciler.errors import Refused, UsageError
from reconciler.passes import Cluster, Connected, Ledger, OpenLedger, Pass, Watch

OUTCOMES: Final = ("written", "held", "quarantined", "refused", "failed")
PHASES: Final = ("gather", "known", "plan", "write")
MOST_CONNECTIONS: Final = 64
"""Clients that are served at a time."""
CLIENT_LASTS: Final = 5.0
"""Seconds for which a client may say nothing, or take nothing."""
_LAGS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)


class Health:
    """What is known of how the program is. All times are seconds."""

    def __init__(
        self,
        *,
        ready_within: float,
        live_within: float,
        watches: bool = False,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ready_within, self._live_within = ready_within, live_within
        self._clock, self._ticks = clock, ticks
        self._turned_at = ticks()
        self._passed_at: float | None = None
        self.registry = CollectorRegistry()
        self._attempted = self._gauge("last_attempt_timestamp_seconds", "When a pass last began.")
        self._succeeded = self._gauge("last_success_timestamp_seconds", "When one was last written.")
        self._passes = Counter(
            "reconciler_passes", "Passes, by what came of them.", ["outcome"], registry=self.registry
        )
        self._phases = Summary(
            *("reconciler_phase_duration_seconds", "How long the phases of a pass take.", ["phase"]),
            registry=self.registry,
        )
        self._live = self._gauge("tenants_live", "Live tenants, as of the last list.")
        self._quarantined = self._gauge("tenants_quarantined", "Quarantined ones among them.")
        self._held = self._gauge("held_deletions", "Deletions held back, as of the last list.")
        self._rows = Counter(
            "reconciler_rows_written", "Rows written, by kind.", ["kind"], registry=self.registry
        )
        self._connected = Gauge(
            *("reconciler_watch_connected", "1 while a watch is open."),
            # Where nobody watches, there is nothing that could be down.
            registry=self.registry if watches else None,
        )
        self._restarts = Counter(
            "reconciler_watch_restarts",
            "How often a watch broke and was opened anew.",
            registry=self.registry,
        )
        self._lag = Histogram(
            "reconciler_change_to_commit_seconds",
            "From a watched change's arrival to its commit.",
            buckets=_LAGS,
            registry=self.registry,
        )
        self._leader = self._gauge("leader", "1 while this replica makes the passes.")
        # What has not happened yet is 0, not absent.
        for outcome in OUTCOMES:
            self._passes.labels(outcome)
        for kind in Kind:
            self._rows.labels(kind.value)
        for phase in PHASES:
            self._phases.labels(phase)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"reconciler_{name}", about, registry=self.registry)

    @property
    def is_live(self) -> bool:
        """Whether the loop turns."""
        return self._ticks() - self._turned_at < self._live_within

    @property
    def is_ready(self) -> bool:
        """Whether the ledger was brought up to date lately, by whichever replica leads."""
        return self._passed_at is not None and self._ticks() - self._passed_at < self._ready_within

    def turned(self) -> None:
        """The loop has come round, or a pass has got on."""
        self._turned_at = self._ticks()

    def leading(self, *, leads: bool) -> None:
        """This replica makes the passes from now on, or another does."""
        self._leader.set(leads)

    def stood_by(self, seconds_ago: float | None) -> None:
        """Somebody else made the last pass, so long ago."""
        if seconds_ago is not None:
            self._passed_at = self._ticks() - seconds_ago
            self._succeeded.set(self._clock() - seconds_ago)

    def attempted(self) -> None:
        """A pass begins."""
        self._attempted.set(self._clock())

    def passed(self, done: Pass) -> None:
        """A pass over the whole list was written."""
        plan = done.plan
        self._passed_at = self._ticks()
        self._succeeded.set(self._clock())
        self._live.set(plan.snapshot.live)
        self._quarantined.set(len(plan.quarantined))
        self._held.set(len(plan.held))
        self._count(plan)

    def watched(self, done: Pass) -> None:
        """A watched change was written."""
        self._count(done.plan)
        self._held.inc(sum(change.case is Case.HELD for change in done.plan.changes))
        if done.plan.changes:
            arrived = done.plan.snapshot.observed_at.timestamp()
            self._lag.observe(max(self._clock() - arrived, 0))

    def failed(self, error: Exception) -> None:
        """A pass was refused, or could not be made."""
        self._passes.labels("refused" if isinstance(error, Refused) else "failed").inc()

    def watch_connected(self, *, connected: bool) -> None:
        """A watch is open, or none is."""
        self._connected.set(connected)

    def watch_restarted(self) -> None:
        """A watch has broken, and another is opened."""
        self._restarts.inc()

    def cluster(self, cluster: Cluster) -> Cluster:
        """The cluster, with the time that its lists take."""
        return _TimedCluster(cluster, self)

    def ledger(self, ledger: Ledger) -> Ledger:
        """The ledger, with the time that it takes."""
        return _TimedLedger(ledger, self)

    def took(self, phase: str, seconds: float) -> None:
        """A phase of a pass is over."""
        self._phases.labels(phase).observe(seconds)

    def _count(self, plan: Plan) -> None:
        held, aside = bool(plan.held), bool(plan.quarantined)
        self._passes.labels("held" if held else "quarantined" if aside else "written").inc()
        for kind, number in plan.counts().items():
            self._rows.labels(kind.value).inc(number)

    @contextmanager
    def served(self, port: int) -> Iterator[int]:
        """Answers /livez, /readyz and /metrics on that port during the block. Raises UsageError."""
        try:
            server = _Server(port, _answers(self))
        except OSError as error:
            raise UsageError(
                f"--health-port {port}: {error.strerror}; choose another one, or 0 for none"
            ) from None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    """Listens on IPv4 and IPv6. Clients that are slow, or many, keep no other one waiting."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[socket.socket, None] = {}
        self._opening = threading.Lock()
        try:
            self.address_family = socket.AF_INET6
            super().__init__(("::", port), handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            # A machine without IPv6.
            self.address_family = socket.AF_INET
            super().__init__(("", port), handler)

    def server_bind(self) -> None:
        """Without HTTPServer's question for our own name, which a broken DNS answers late."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._opening:
            if len(self._open) >= MOST_CONNECTIONS:
                # A probe is answered in milliseconds: the oldest client is one that says nothing.
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._opening:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """A client that goes away before its answer is no event."""


def _answers(health: Health) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        timeout = CLIENT_LASTS

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/livez":
                    self._tell(health.is_live, "live", "the loop does not turn")
                case "/readyz":
                    self._tell(health.is_ready, "ready", "no pass of late")
                case "/metrics":
                    self._send(HTTPStatus.OK, generate_latest(health.registry), CONTENT_TYPE_LATEST)
                case _:
                    self._send(HTTPStatus.NOT_FOUND, b"try /livez, /readyz or /metrics\n")

        def log_message(self, *_: object) -> None:
            """Probes are no events."""

        def _tell(self, good: bool, yes: str, no: str) -> None:  # noqa: FBT001
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, f"{yes if good else no}\n".encode())

        def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Answers


class _TimedCluster:
    def __init__(self, cluster: Cluster, health: Health) -> None:
        self._cluster = cluster
        self._health = health

    def connected(self) -> Connected:
        return _TimedConnected(self._cluster.connected(), self._health)


class _TimedConnected:
    def __init__(self, connected: Connected, health: Health) -> None:
        self.uid = connected.uid
        self._connected = connected
        self._health = health

    def snapshot(self, known: frozenset[bytes] | None = None) -> Snapshot:
        started = time.perf_counter()
        snapshot = self._connected.snapshot(known)
        self._health.took("gather", time.perf_counter() - started)
        return snapshot

    def note(self) -> Snapshot:
        return self._connected.note()

    def watch(self, since: str, seconds: int) -> Watch:
        return self._connected.watch(since, seconds)

    def serves(self) -> bool:
        return self._connected.serves()


class _TimedLedger:
    def __init__(self, ledger: Ledger, health: Health) -> None:
        self._ledger = ledger
        self._health = health

    @contextmanager
    def open(self, changes: Sequence[Snapshot] = ()) -> Iterator["_OpenTimedLedger"]:
        with self._ledger.open(changes) as opened:
            timed = _OpenTimedLedger(opened, self._health)
            yield timed
        if timed.writing_since is not None:
            self._health.took("write", time.perf_counter() - timed.writing_since)


class _OpenTimedLedger:
    def __init__(self, opened: OpenLedger, health: Health) -> None:
        self._opened = opened
        self._health = health
        self._known_since = time.perf_counter()
        self.writing_since: float | None = None

    def known_state(self, snapshot: Snapshot) -> KnownState:
        started = time.perf_counter()
        known = self._opened.known_state(snapshot)
        self._known_since = time.perf_counter()
        self._health.took("known", self._known_since - started)
        return known

    def refused(self, plan: Plan) -> Mapping[str, str]:
        return self._opened.refused(plan)

    def apply(self, plan: Plan) -> int | None:
        now = time.perf_counter()
        self._health.took("plan", now - self._known_since)
        self.writing_since = self.writing_since or now
        return self._opened.apply(plan)

    def remember(self, setback: Setback) -> None:
        self._opened.remember(setback)
