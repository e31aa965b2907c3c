"""Runs TypeScript with Node, and skips by name where Node or its packages are not here."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import CHECKOUT

MODULES = Path(os.environ.get("TEST_NODE_MODULES", CHECKOUT / ".reconciler" / "portal" / "node_modules"))


def run_node(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> str:
    """Runs a script of the folder. Returns what it printed."""
    if shutil.which("node") is None or not (MODULES / "pg").exists():
        pytest.skip("Node, or its packages pg and tsx, are not here; .ci/run installs them")
    (folder / "node_modules").symlink_to(MODULES)
    done = subprocess.run(
        ["node", "--import", "tsx", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_script(script: str, url: str, folder: Path, *, time_zone: str) -> str:
    """Runs TypeScript against a database, in a time zone. Returns what it printed."""
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "script.ts").write_text(script, encoding="utf-8")
    return run_node(folder, "script.ts", DATABASE_URL=node_url(url), TZ=time_zone)


def node_url(url: str) -> str:
    """The URL of a test's database, as `pg` takes it."""
    parts = urlsplit(url)
    (socket,) = parse_qs(parts.query)["host"]
    return f"socket:{socket}?db={parts.path.lstrip('/')}&user=postgres"
