"""`reconciler loop --watch` as a process in a storm, and its ledger against the truth."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.apiserver import ApiServer
from tests.simulation import Subject

NOT_OF_THE_STORM = "settled-"
"""How the names of tenants begin that only tell how far the ledger has come."""

_ROWS = """
SELECT * FROM (
SELECT l.tenant_name, l.tenant_uid, 'created', NULL::text, l.created_at, l.created_not_before, 0, p.resource_version, p.written_at
FROM tenant_billing_lifecycle l JOIN reconciler_passes p ON p.id = l.created_pass_id
UNION ALL
SELECT l.tenant_name, l.tenant_uid, 'deleted', NULL, l.deleted_at, l.deleted_not_before, 1, p.resource_version, p.written_at
FROM tenant_billing_lifecycle l JOIN reconciler_passes p ON p.id = l.deleted_pass_id
UNION ALL
SELECT e.tenant_name, e.tenant_uid, e.event_kind, e.skill_id, e.occurred_at, e.not_before, e.ordinal, p.resource_version, p.written_at
FROM tenant_skill_events e JOIN reconciler_passes p ON p.id = e.pass_id
UNION ALL
SELECT e.tenant_name, e.tenant_uid, e.event_kind, NULL, e.occurred_at, e.not_before, e.ordinal, p.resource_version, p.written_at
FROM tenant_suspension_events e JOIN reconciler_passes p ON p.id = e.pass_id

) AS r (tenant_name, tenant_uid, kind, skill, at, not_before, ordinal, version, written_at)
WHERE tenant_name NOT LIKE 'settled-%'
ORDER BY ordinal
"""  # noqa: E501


@dataclass(frozen=True)
class Written:
    """One row of the ledger, and the pass that wrote it."""

    kind: str
    occurred_at: datetime
    not_before: datetime
    revision: int
    written_at: datetime


@dataclass
class Resident:
    """The loop as a process, which may be ended and started again."""

    server: ApiServer
    database_url: str
    folder: Path
    interval: str = "10s"
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0

    def start(self) -> None:
        self.process = self._started(
            *("loop", "--watch", "--health-port", "0"),
            *("--interval", self.interval, "--stop-timeout", "60s"),
        )

    def _started(self, *command: str) -> "subprocess.Popen[bytes]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RECONCILER_")}
        self.starts += 1
        with (self.folder / f"reconciler-{self.starts:05}.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "reconciler", *command, "--connect-timeout", "2s"),
                    *("--brake-floor", "100000", "--brake-percent", "100"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                env={
                    **kept,
                    "KUBECONFIG": str(self.server.kubeconfig(self.folder / "kubeconfig")),
                    "RECONCILER_DATABASE_URL": self.database_url,
                },
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(120)
        finally:
            self.process.kill()

    @property
    def logs(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("reconciler-*.log")))


@dataclass
class Scheduled(Resident):
    """A run after the other, as a CronJob makes them."""

    pause: float = 1.0
    """Seconds between two of them."""

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._runs: threading.Thread | None = None

    def start(self) -> None:
        self._over.clear()
        self._runs = threading.Thread(target=self._run)
        self._runs.start()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the one in hand by that signal, and makes no more."""
        self._over.set()
        if self.process is not None:
            self.process.send_signal(number)
        if self._runs is not None:
            self._runs.join()
        return 0

    def _run(self) -> None:
        while not self._over.is_set():
            self.process = self._started("run", "--lock-timeout", "5s")
            self.process.wait()
            self._over.wait(self.pause)


@dataclass
class Ledger:
    """What was written so far. It connects anew whenever it looks: the server may have restarted."""

    url: str

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def by_subject(self) -> dict[str, dict[Subject, list[Written]]]:
        found: dict[str, dict[Subject, list[Written]]] = defaultdict(lambda: defaultdict(list))
        for _, uid, kind, skill, occurred_at, not_before, _, version, written_at in self.ask(_ROWS):
            what = "life" if kind in ("created", "deleted") else "skill" if skill else "suspension"
            row = Written(kind, occurred_at, not_before, int(version), written_at)
            found[uid][Subject(what, skill)].append(row)
        return {uid: dict(subjects) for uid, subjects in found.items()}

    def gaps(self) -> list[tuple[datetime, datetime]]:
        """When something may have been made and undone unseen, by what the lists say."""
        return [
            (since, until)
            for since, until in self.ask(
                "SELECT gap_since, observed_at FROM reconciler_passes WHERE gapless = false ORDER BY id"
            )
        ]

    def position(self) -> int:
        rows = self.ask("SELECT max(resource_version::bigint) FROM reconciler_passes")
        return rows[0][0] or 0


def verified(database_url: str) -> tuple[int, str]:
    """The exit status of `reconciler verify --deep` on the ledger by itself, and what it found."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "reconciler", "verify", "--ledger-only", "--deep"),
            *("--database-url", database_url),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout if done.returncode else ""


def disturbances(
    resident: Resident, ledger: Ledger, restart_postgres: Callable[[], None], seed: int
) -> Iterator[str]:
    """One disturbance after the other, by chance; each is over when its name is told."""
    chance = random.Random(seed)  # noqa: S311
    watches = resident.server.watches
    kinds = ["cut", "reset", "line", "kill", "term", "backends", "postgres", "slow"]
    if isinstance(resident, Scheduled):
        # What has not been seen by then is lost, and lies in a gap.
        kinds.append("api")
    while True:
        match chance.choice(kinds):
            case "cut":
                watches.cut()
                yield "stream cut"
            case "reset":
                watches.cut(reset=True)
                yield "stream reset"
            case "line":
                watches.cut(mid_line=True)
                yield "stream cut in a line"
            case "kill":
                resident.end(signal.SIGKILL)
                time.sleep(chance.uniform(0, 1))
                resident.start()
                yield "reconciler killed"
            case "term":
                resident.end()
                time.sleep(chance.uniform(0, 1))
                resident.start()
                yield "reconciler restarted"
            case "backends":
                ledger.ask(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'reconciler' AND datname = current_database()"
                )
                yield "database connections ended"
            case "postgres":
                restart_postgres()
                yield "database restarted"
            case "slow":
                watches.delay = chance.uniform(0, 0.5)
                time.sleep(0.5)
                watches.delay = 0.0
                yield "stream slow"
            case "api":
                resident.server.stop()
                time.sleep(chance.uniform(0, 1))
                resident.server.start(initializing=chance.randint(0, 3))
                yield "API server restarted"
