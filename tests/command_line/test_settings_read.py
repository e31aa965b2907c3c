"""Every setting that a command accepts is read by it, as its source tells."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reconciler.command_table import leaves
from reconciler.options import ALL, Option
from tests.conftest import CHECKOUT

COMMANDS = CHECKOUT / "reconciler" / "commands"
SETTINGS = {one.name for one in ALL}


def names(node: ast.AST, *, of: str) -> set[str]:
    """The attributes that are read of whatever is called so: `settings.x`, `parts.settings.x`."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute):
            owner = one.value
            called = getattr(owner, "id", None) or getattr(owner, "attr", None)
            if called == of:
                found.add(one.attr)
    return found


@cache
def by_part() -> dict[str, set[str]]:
    """The settings that each part is made from, by the other parts that it needs as well."""
    tree = ast.parse((COMMANDS / "parts.py").read_text())
    (parts,) = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Parts"]
    methods = {one.name: one for one in parts.body if isinstance(one, ast.FunctionDef)}
    read = {name: names(method, of="settings") & SETTINGS for name, method in methods.items()}
    # It is asked for by `check_database`.
    read["database"] |= {"database_url"}
    for _ in methods:
        for name, method in methods.items():
            for other in names(method, of="self") & methods.keys():
                read[name] |= read[other]
    return read


@cache
def read_by(module: Path) -> frozenset[str]:
    """The settings that a module of a command reads, and those of the parts that it takes."""
    tree = ast.parse(module.read_text())
    found = names(tree, of="settings") & SETTINGS
    for part in names(tree, of="parts") & by_part().keys():
        found |= by_part()[part]
    for imported in imports(tree):
        found |= read_by(imported)
    return frozenset(found)


def imports(tree: ast.AST) -> Iterator[Path]:
    for one in ast.walk(tree):
        if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("reconciler.commands."):
            module = COMMANDS / f"{(one.module or '').rpartition('.')[2]}.py"
            if module.name != "parts.py":
                yield module


@pytest.mark.parametrize(
    "name", [name for name, _ in leaves() if name not in ("settings", "completion")]
)
def test_a_command_reads_every_setting_that_it_accepts(name: str) -> None:
    accepted = {one.name for one in dict(leaves())[name].flags if isinstance(one, Option)}
    module = COMMANDS / f"{name.split(maxsplit=1)[0]}.py"
    assert accepted - read_by(module) == set()


def test_a_setting_that_nobody_reads_would_be_found() -> None:
    assert "stop_timeout" not in read_by(COMMANDS / "usage.py")
    assert {"list_every", "page_size", "database_url"} <= read_by(COMMANDS / "run.py")
