"""One cluster, one ledger, and the passes between them; and the laboratory in which there are many."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol, runtime_checkable

import psycopg

from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect
from reconciler.embedded import EmbeddedPostgres
from reconciler.errors import ReconcilerError
from reconciler.ledger import checks, schema
from reconciler.ledger.postgres import Database
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.modes.catch_up import CaughtUp, within, writing
from reconciler.modes.follower import Follower
from reconciler.passes import Connected, Pass, Source, run_pass
from reconciler.sources.cluster import ClusterSource
from reconciler.sources.cluster_settings import ClusterSettings
from tests.proofs.faults.facts import Facts, facts
from tests.proofs.faults.history import BEGINNING, MOST_WEAK, Cluster, History
from tests.proofs.faults.proxy import Proxy
from tests.simulation import Clock
from tests.waiting import PATIENCE

CRASHED: Final = 70
"""The exit status that stands for a traceback."""
BY_THE_DATABASE: Final = "the database refused its rows"
"""In the reason why a tenant is quarantined, where one of its rows breaks a constraint."""
PAGE_SIZE: Final = 3
REPOSITORY: Final = Path(__file__).parents[3]


@runtime_checkable
class Watchable(Protocol):
    """A source whose changes can be watched as well."""

    def connected(self) -> Connected: ...


@dataclass(frozen=True)
class Ending:
    """How a pass ended."""

    status: int | None
    """The exit status; 0 for written, also with tenants quarantined; None: killed or interrupted."""
    said: str = ""
    held: int = 0
    """How many deletions the brake held back, or else whose rows the database refused."""


@dataclass
class Laboratory:
    """A Postgres of its own behind a proxy, and a place for files."""

    folder: Path
    postgres: EmbeddedPostgres
    server: str
    """The server's own URL."""
    proxy: Proxy
    made: int = field(default=0)

    def direct(self, database: str) -> str:
        return self.server.replace("@/postgres?", f"@/{database}?")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a ledger with nothing in it."""
        self.made += 1
        name = f"ledger_{os.getpid()}_{self.made}"
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE faults STRATEGY wal_log")
        try:
            yield name
        finally:
            with psycopg.connect(self.server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def restart_postgres(self) -> None:
        """As after a crash of the server, and at once."""
        server = self.postgres
        log = str(server._folder / "postgres.log")
        server._run("pg_ctl", "restart", "-w", "-m", "immediate", "-D", str(server._data), "-l", log)


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="reconciler-faults-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        url = stack.enter_context(postgres.running())
        with psycopg.connect(url, autocommit=True) as connection:
            # The machine does not fail here, only the server: what is committed must survive that.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("ALTER SYSTEM SET log_min_messages = fatal")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE faults")
            sockets = Path(url.partition("host=")[2])
        template = Database(url.replace("@/postgres?", "@/faults?"), connect_timeout=5, lock_timeout=10)
        schema.apply(template)
        template.close()
        proxy = stack.enter_context(Proxy(sockets))
        yield Laboratory(folder, postgres, url, proxy)


@dataclass
class World:
    """A cluster with a history, and its ledger."""

    laboratory: Laboratory
    server: Cluster
    history: History
    clock: Clock
    database: str
    kubeconfig: Path
    statements: int = 0
    """How many an undisturbed pass of this step takes."""
    catches_up: bool = False
    """Whether its passes catch up on the watch before they list."""

    @property
    def proxy(self) -> Proxy:
        return self.laboratory.proxy

    @property
    def url(self) -> str:
        """The ledger, through the proxy."""
        return self.proxy.url(self.database)

    @property
    def direct(self) -> str:
        return self.laboratory.direct(self.database)

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.server.tenants.current) // PAGE_SIZE))

    def source(
        self,
        *,
        now: Callable[[], datetime] | None = None,
        kubeconfig: Path | None = None,
        version: str | None = None,
        progress: Callable[[int, int | None], object] = lambda *_: None,
        read_timeout: float = 20,
        list_timeout: float = 40,
    ) -> ClusterSource:
        settings = ClusterSettings(
            dialect=Dialect(),
            plural="piecedtenants",
            version=version,
            kubeconfig=str(kubeconfig or self.kubeconfig),
            context=None,
            page_size=PAGE_SIZE,
            connect_timeout=20,
            read_timeout=read_timeout,
            list_timeout=list_timeout,
        )
        return ClusterSource(
            settings,
            progress=progress,
            now=now or self.clock,
            ticks=lambda: self.clock().timestamp(),
        )

    def make_pass(
        self,
        source: Source | None = None,
        *,
        url: str | None = None,
        lock_timeout: float = 20,
        connect_timeout: float = 20,
        allow_deletions: int | None = None,
    ) -> Ending:
        """One pass, here and now, as `reconciler run` makes it; a pass of each change before it."""
        database = Database(url or self.url, connect_timeout=connect_timeout, lock_timeout=lock_timeout)
        source = source or self.source()
        done: list[Pass] = []
        try:
            ledger = PostgresLedger(database)
            ledger.prepare()
            limits = Limits(allow_deletions=allow_deletions)
            if self.catches_up and isinstance(source, Watchable):
                write = writing(ledger, Limits(), done.append)
                with closing(Follower(source, write, settle=0)) as follower:
                    caught_up = CaughtUp(source, follower, ledger.position, within(PATIENCE))
                    done.append(run_pass(caught_up, ledger, limits))
            else:
                done.append(run_pass(source, ledger, limits))
        except ReconcilerError as error:
            return Ending(error.exit_status, str(error))
        except Exception as error:  # noqa: BLE001 - that there is none is what is tested
            return Ending(CRASHED, f"{type(error).__name__}: {error}")
        finally:
            database.close()
        held = sum(len(one.plan.held) for one in done)
        refused = sum(BY_THE_DATABASE in bad.reason for one in done for bad in one.plan.quarantined)
        return Ending(3 if held else 4 if refused else 0, held=held or refused)

    def start(
        self,
        *arguments: str,
        stdout: int = subprocess.DEVNULL,
        is_closed: bool = False,
        **environment: str,
    ) -> "subprocess.Popen[str]":
        """One pass as a process, without a stdout at all where it `is_closed`."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("RECONCILER", "PG"))
        }
        settings = {
            "RECONCILER_DATABASE_URL": self.url,
            "RECONCILER_KUBECONFIG": str(self.kubeconfig),
            "RECONCILER_PAGE_SIZE": str(PAGE_SIZE),
            "FAULTS_NOW": self.clock.now.isoformat(),
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(self.laboratory.folder),
        }
        catch_up = ("--settle", "0s") if self.catches_up else ("--no-catch-up",)
        run = ("run", *catch_up, *arguments)
        command = [sys.executable, "-m", "tests.proofs.faults.launcher", *run]
        return subprocess.Popen(
            ["sh", "-c", 'exec "$@" >&-', "sh", *command] if is_closed else command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.laboratory.folder,
            env={**kept, **settings, **environment},
        )

    def ended(self, process: "subprocess.Popen[str]") -> Ending:
        """How a process ended."""
        try:
            _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Ending(CRASHED, "the process hangs")
        status = process.returncode
        if status in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 130):
            return Ending(None, said)
        return Ending(CRASHED if "Traceback" in said else 0 if status == 4 else status, said)

    def facts(self) -> Facts:
        """What the ledger says, once every transaction of a pass has come to its end."""
        with psycopg.connect(self.direct, autocommit=True) as connection:
            for _ in range(500):
                (others,) = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND backend_type = 'client backend'"
                ).fetchone() or (0,)
                if not others:
                    break
                time.sleep(0.01)
            return facts(connection)

    def findings(self) -> list[str]:
        """What `reconciler verify --deep` finds in the ledger alone."""
        with (
            closing(Database(self.direct, connect_timeout=20, lock_timeout=20)) as database,
            database.transaction(read_only=True) as transaction,
        ):
            checks.prepare(transaction)
            found = [*checks.contradictions(transaction), *checks.altered(transaction)]
            return [str(one) for one in found if not one.of.is_note]

    def execute(self, *statements: str) -> None:
        """As the owner of the ledger, past the proxy."""
        with psycopg.connect(self.direct, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def heal(self) -> None:
        """All is well again, but what was written stays."""
        self.server.heal()
        self.proxy.heal()


@contextmanager
def world(
    lab: Laboratory,
    seed: int,
    clock: Clock | None = None,
    *,
    scripted: bool = True,
    catches_up: bool = False,
) -> Iterator[World]:
    """A cluster as its history begins, and an empty ledger."""
    clock = clock or Clock(BEGINNING)
    server = Cluster(namespaced=seed % 3 == 2)
    if scripted:
        server.clock = clock
    with server, lab.database() as database:
        kubeconfig = server.kubeconfig(lab.folder / f"kubeconfig-{database}")
        history = History(seed, server, clock if scripted else Clock(BEGINNING))
        if catches_up:  # Those that are watched count together over an hour.
            history.most_weak = MOST_WEAK // 2
        history.begin()
        lab.proxy.heal()
        try:
            yield World(lab, server, history, clock, database, kubeconfig, catches_up=catches_up)
        finally:
            with suppress(FileNotFoundError):
                kubeconfig.unlink()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Other variables of the environment for a while; TZ counts at once."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    time.tzset()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        time.tzset()
