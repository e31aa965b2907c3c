"""The wheel, installed in an empty environment outside the checkout, is the whole program."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Command

CHECKOUT = Path(__file__).parents[2]


def done(*command: str | Path, folder: Path = CHECKOUT) -> str:
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=alone, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The command of an environment that has the wheel, and our dependencies to import."""
    folder = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "build", "-w", "-n", "-o", folder)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    done(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        wheel,
    )
    (packages,) = environment.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "dependencies.pth").write_text(f"{ours}\n", encoding="utf-8")
    # A path in a .pth file comes last, and an editable install in it has no effect.
    where = done(python, "-c", "import reconciler; print(reconciler.__file__)", folder=folder).strip()
    assert Path(where).is_relative_to(environment)
    return [str(environment / "bin" / "reconciler")]


def test_the_wheel_has_the_schema_in_it(installed: Sequence[str], tmp_path: Path) -> None:
    printed = done(*installed, "schema", "print", folder=tmp_path)
    parts = sorted(file for file in (CHECKOUT / "schema").glob("*.sql") if file.name[0].isdigit())
    assert len(parts) > 2
    assert all(part.read_text(encoding="utf-8") in printed for part in parts)


def test_the_wheel_makes_the_tables_and_a_pass(
    installed: Sequence[str], database: str, tmp_path: Path
) -> None:
    command = Command(tmp_path, installed, {"RECONCILER_DATABASE_URL": database, "PYTHONPATH": ""})
    first = SAMPLES / "tenants-20261101T060000Z.json"
    assert command("run", "--dry-run", "--snapshot", first, "--output", "json").report["rows"]
    assert command("run", "--snapshot", first, "--output", "json").report["lifecycleInserted"] == 8
    assert command("schema", "drop", "--yes").status == 0


def test_the_wheel_has_nothing_but_the_program(installed: Sequence[str]) -> None:
    (packages,) = Path(installed[0]).parents[1].glob("lib/python*/site-packages")
    tops = {path.name for path in packages.iterdir() if path.suffix not in (".pth", ".dist-info")}
    assert tops == {"reconciler"}
