"""The wheel, installed in an empty environment outside the checkout, is the whole program."""

from collections.abc import Sequence
from pathlib import Path

from tests.conftest import CHECKOUT, SAMPLES, Command


def test_the_wheel_has_the_schema_in_it(installed: Sequence[str], tmp_path: Path) -> None:
    printed = Command(tmp_path, installed)("schema", "print").out
    parts = sorted(file for file in (CHECKOUT / "schema").glob("*.sql") if file.name[0].isdigit())
    assert len(parts) > 2
    assert all(part.read_text(encoding="utf-8") in printed for part in parts)


def test_the_wheel_makes_the_tables_and_a_pass(
    installed: Sequence[str], database: str, tmp_path: Path
) -> None:
    command = Command(tmp_path, installed, {"RECONCILER_DATABASE_URL": database})
    first = SAMPLES / "tenants-20261101T060000Z.json"
    assert command("run", "--dry-run", "--snapshot", first, "--output", "json").report["rows"]
    assert command("run", "--snapshot", first, "--output", "json").report["lifecycleInserted"] == 8
    assert command("schema", "drop", "--yes").status == 0


def test_the_wheel_has_nothing_but_the_program(installed: Sequence[str]) -> None:
    (packages,) = Path(installed[-1]).parents[1].glob("lib/python*/site-packages")
    tops = {path.name for path in packages.iterdir() if path.suffix not in (".pth", ".dist-info")}
    assert tops == {"reconciler"}
