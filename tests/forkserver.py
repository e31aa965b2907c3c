"""A process that has imported the program, and forks for each command: starting Python takes longer.

What it runs is a process as any other, with its own environment, working directory and standard streams.
`python -m tests.forkserver SOCKET` serves; `run` asks.
"""

import atexit
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

MOST = 1 << 20
"""Bytes of a request: arguments and environment."""


def run(
    arguments: Sequence[str],
    *,
    stdin: bytes,
    folder: Path,
    environment: Mapping[str, str],
    seconds: float,
) -> "subprocess.CompletedProcess[bytes]":
    """`reconciler` with these arguments, to its end. TimeoutExpired; the process is killed then."""
    request = {"arguments": arguments, "folder": str(folder), "environment": environment}
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        given.write(stdin)
        given.seek(0)
        connection.settimeout(seconds)
        connection.connect(_server())
        streams = [given.fileno(), out.fileno(), err.fileno()]
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        connection.shutdown(socket.SHUT_WR)
        answer, pid = connection.makefile(), 0
        try:
            pid = int(answer.readline())
            status = int(answer.readline())
        except TimeoutError:
            if pid:
                os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["reconciler", *arguments], seconds) from None
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


@cache
def _server() -> str:
    """The socket of a server that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="forkserver-"))
    path = folder / "socket"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RECONCILER_", "PG"))}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forkserver", str(path)],
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],
        env=kept,
    )

    def end() -> None:
        server.kill()
        server.wait()
        path.unlink(missing_ok=True)
        folder.rmdir()

    atexit.register(end)
    while not path.exists():
        assert server.poll() is None, "the fork server has ended"
        time.sleep(0.01)
    return str(path)


def serve(path: str) -> int:
    """Serves while its parent lives. Returns in each command's own process, with its exit status."""
    parent = os.getppid()
    import reconciler
    from reconciler.cli import main

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        Path(f"{path}.new").rename(path)
        listener.settimeout(5)
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if os.getppid() != parent:
                    return 0
                continue
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, streams, *_ = socket.recv_fds(connection, MOST, 3)
    while more := connection.recv(MOST):
        data += more
    if pid := os.fork():
        connection.send(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.send(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    connection.close()
    _become(json.loads(data), streams)
    return main()


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    for standard, given in enumerate(streams):
        os.dup2(given, standard)
        os.close(given)
    sys.stdin, sys.stdout, sys.stderr = (
        open(0, encoding="utf-8", closefd=False),  # noqa: SIM115 - as long as the process
        open(1, "w", encoding="utf-8", closefd=False),  # noqa: SIM115
        open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False),  # noqa: SIM115
    )
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["reconciler", *request["arguments"]]


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))
