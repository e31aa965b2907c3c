"""Real parts for the tests: a Postgres that they start themselves, and the program as a process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import freezegun
import kubernetes.client  # noqa: F401 - before anything freezes the time
import psycopg
import pytest

from reconciler.embedded import EmbeddedPostgres
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database
from tests import forkserver
from tests.waiting import PATIENCE

freezegun.configure(extend_ignore_list=["kubernetes", "psycopg", "psycopg_binary", "urllib3"])

# A shell's background job ignores Ctrl-C, and so would every program that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).parents[1]
RECORDINGS = CHECKOUT / "tests" / "recordings"
SAMPLES = CHECKOUT / "k8s" / "samples"
TEMPLATE = "reconciler_template"

# Another server's binaries, to run all of this against an older Postgres.
_BINARIES = os.environ.get("TEST_POSTGRES_BINARIES")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server's first database; `?host=` is its socket."""
    folder = tmp_path_factory.mktemp("postgres") / "server"
    binaries = Path(_BINARIES) if _BINARIES else None
    with EmbeddedPostgres(folder, binaries=binaries, durable=False).running() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        template = open_database(database_url(url, TEMPLATE))
        schema.apply(template)
        template.close()
        yield url
    # As root it lies outside of pytest's own folders, which nobody but root reaches.
    shutil.rmtree(folder.resolve())


def database_url(server: str, name: str) -> str:
    """The URL of another database of the server."""
    return server.replace("@/postgres?", f"@/{name}?")


def open_database(url: str, *, lock_timeout: float = 60) -> Database:
    return Database(url, connect_timeout=60, lock_timeout=lock_timeout)


def fresh_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")
        try:
            yield database_url(server, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    yield from fresh_database(postgres, "template1")


@pytest.fixture
def ledger_url(postgres: str) -> Iterator[str]:
    """The URL of a database with the schema and nothing in it."""
    yield from fresh_database(postgres, TEMPLATE)


@dataclass
class Ran:
    """What a run of the command came to."""

    status: int
    out: str
    err: str
    raw: bytes = field(default=b"", repr=False)

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object of `--output json`."""
        (report,) = self.reports
        return report

    @property
    def reports(self) -> list[dict[str, Any]]:
        # Not splitlines(): a name may hold U+2028, which JSON does not escape.
        return [json.loads(line) for line in self.out.split("\n") if line]


LONG = (
    *("proofs", "portal", "apiserver", "deployment", "reports", "billing/test_positions.py"),
    *("command_line/test_catch_up.py", "command_line/test_loop.py", "command_line/test_resident.py"),
    *("billing/test_verify_invoices.py", "ledger/test_planted.py", "ledger/test_other_people.py"),
    *("ledger/test_policies.py", "ledger/test_queries.py", "ledger/test_roles.py"),
    *("ledger/test_unchanged.py", "ledger/test_verify_damage.py", "ledger/test_writing.py"),
)
"""Folders and files of tests that are long as a whole: `make test` is to take a few minutes."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(LONG):
            item.add_marker(pytest.mark.long)


CHECKED_OUT = (sys.executable, "-m", "reconciler")


@dataclass
class Command:
    """The command `reconciler` as a process, in a folder of its own."""

    folder: Path
    program: Sequence[str] = CHECKED_OUT
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        outside = {"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "NO_COLOR"}
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("RECONCILER_", "PG")) and key not in outside
        }
        # As on a terminal: tests read it as a person would.
        return {
            **kept,
            "HOME": str(self.folder),
            "RECONCILER_LOG_FORMAT": "text",
            **self.settings,
        }

    def __call__(self, *arguments: str | Path, stdin: str | bytes = b"", **settings: str) -> Ran:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        environment = {**self.environment(), **settings}
        if self.program is CHECKED_OUT and not any(name.startswith("PYTHON") for name in settings):
            done = forkserver.run(
                [*map(str, arguments)],
                stdin=given,
                folder=self.folder,
                environment=environment,
                seconds=PATIENCE,
            )
        else:
            done = subprocess.run(
                [*self.program, *map(str, arguments)],
                input=given,
                capture_output=True,
                cwd=self.folder,
                env=environment,
                timeout=PATIENCE,
                check=False,
            )
        out = done.stdout.decode(errors="replace")
        return Ran(done.returncode, out, done.stderr.decode(), done.stdout)

    def start(self, *arguments: str | Path, **settings: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.environment(), **settings},
        )


@pytest.fixture
def command(tmp_path: Path, ledger_url: str) -> Command:
    """The command, with an empty ledger to work on."""
    return Command(tmp_path, settings={"RECONCILER_DATABASE_URL": ledger_url})


@pytest.fixture
def ledger(ledger_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """A look into the ledger of `command`."""
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The command of an environment that has the wheel, and our dependencies to import."""
    folder = tmp_path_factory.mktemp("wheel")
    alone = ["env", "-u", "PYTHONPATH"]

    def done(*command: str | Path) -> str:
        ran = subprocess.run([*alone, *command], capture_output=True, text=True, cwd=folder, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    done(sys.executable, "-m", "build", "-w", "-n", "-o", folder, CHECKOUT)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    done(*pip, "install", "--no-deps", "--no-index", "-q", wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "dependencies.pth").write_text(f"{ours}\n", encoding="utf-8")
    # A path in a .pth file comes last, and an editable install in it has no effect.
    where = done(python, "-c", "import reconciler; print(reconciler.__file__)").strip()
    assert Path(where).is_relative_to(environment)
    return [*alone, str(environment / "bin" / "reconciler")]
