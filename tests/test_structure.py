"""The layers of the package: which module may import which, checked against the imports in the code."""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "reconciler"

ONLY_IMPORTED_BY = {
    "apscheduler": {"reconciler.modes.schedule"},
    "jinja2": {"reconciler.output.html"},
    "kubernetes": {"reconciler.sources.connection"},
    "markupsafe": {"reconciler.output.html"},
    "prometheus_client": {"reconciler.commands.metrics", "reconciler.health"},
    "psycopg": {"reconciler.ledger.postgres"},
    "pydantic": {"reconciler.settings"},
    "pydantic_settings": {"reconciler.settings"},
    "shtab": {"reconciler.commands.completion"},
    "urllib3": {"reconciler.sources.connection"},
    "xlsxwriter": {"reconciler.output.spreadsheet"},
    "yaml": {"reconciler.sources.documents"},
}

MAY_IMPORT = {
    "errors": set[str](),
    "options": set[str](),
    "core": {"core", "errors"},
    "passes": {"core", "errors"},
    "sources": {"core", "errors", "sources"},
    "ledger": {"core", "errors", "ledger", "reconciler"},
    "output": {"core", "errors", "output", "reconciler"},
    "modes": {"core", "errors", "modes", "passes"},
    "embedded": {"errors"},
    "health": {"core", "errors", "passes"},
    "settings": {"errors", "options"},
    "logs": {"core", "output"},
    "commands": {
        *("commands", "core", "embedded", "errors", "health", "ledger", "logs", "modes", "options"),
        "output",
        *("passes", "reconciler", "settings", "sources"),
    },
    "cli": {"command_table", "commands", "errors", "flags", "options", "reconciler"},
    "command_table": {"errors", "flags", "options"},
    "flags": {"options"},
    "__main__": {"cli"},
    "reconciler": set[str](),
}
"""Each part of the package, and the parts that it may import. `reconciler` is `__init__`."""

PURE = {
    *(
        "__future__",
        "bisect",
        "calendar",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
    ),
    *(
        "decimal",
        "enum",
        "fractions",
        "functools",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
    ),
    *("string", "types", "typing", "unicodedata", "zoneinfo"),
    *("hashlib", "msgspec", "sys"),
}
"""What core may import: no I/O, no clock, no logger, no settings."""

PURE_OF_SYS = {"getrecursionlimit", "intern", "maxsize", "setrecursionlimit"}
IMPURE_BUILTINS = {"breakpoint", "eval", "exec", "input", "open", "print", "__import__"}
THE_CLOCK = {"now", "today", "utcnow"}

HEAVY = {*ONLY_IMPORTED_BY}
"""What `reconciler --help` must not import."""


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
TREES = {module: ast.parse(file.read_bytes(), str(file)) for module, file in FILES.items()}


def statements(tree: ast.AST, *, at_once: bool) -> Iterator[ast.AST]:
    """Every node; `at_once`, only what runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not (at_once and is_later):
            yield node
            yield from statements(node, at_once=at_once)


def imports(module: str, *, at_once: bool = False) -> set[str]:
    """The modules that it imports: ours by their full names, others as they are written."""
    found: set[str] = set()
    for node in statements(TREES[module], at_once=at_once):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relative to itself"
            base = node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            submodules = names & FILES.keys()
            found |= submodules
            if len(submodules) < len(names):
                found.add(base)
    return found


def ours(modules: set[str]) -> set[str]:
    return {module for module in modules if top(module) == "reconciler"}


def part(module: str) -> str:
    """The folder or the file directly below the package."""
    return module if module == "reconciler" else module.split(".")[1]


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("library", ONLY_IMPORTED_BY)
def test_a_library_is_imported_by_the_named_modules_only(library: str) -> None:
    importing = {module for module in FILES if library in map(top, imports(module))}
    assert importing == ONLY_IMPORTED_BY[library]


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_its_part_of_the_package_may_import(module: str) -> None:
    imported = {part(other) for other in ours(imports(module))}
    assert imported <= MAY_IMPORT[part(module)]


def test_the_table_names_exactly_the_parts_that_exist() -> None:
    assert {part(module) for module in FILES} == MAY_IMPORT.keys()


def test_every_import_of_ours_is_of_a_module_that_exists() -> None:
    for module in FILES:
        assert ours(imports(module)) <= FILES.keys()


def test_there_are_no_circular_imports() -> None:
    graph: Mapping[str, set[str]] = {module: ours(imports(module)) for module in FILES}
    assert len([*TopologicalSorter(graph).static_order()]) == len(FILES)


CORE = [module for module in FILES if part(module) == "core"]


@pytest.mark.parametrize("module", CORE)
def test_core_has_no_io_no_clock_no_logger_and_no_settings(module: str) -> None:
    assert {top(other) for other in imports(module)} <= PURE | {"reconciler"}
    for node in ast.walk(TREES[module]):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        ):
            assert node.attr in PURE_OF_SYS
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            assert {alias.name for alias in node.names} <= PURE_OF_SYS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_BUILTINS
        if isinstance(node, ast.Attribute):
            assert node.attr not in THE_CLOCK


def test_help_imports_nothing_that_takes_long() -> None:
    reached, left = set[str](), {"reconciler.__main__"}
    while left:
        module = left.pop()
        reached.add(module)
        left |= ours(imports(module, at_once=True)) - reached
    assert not {module for module in reached if HEAVY & {*map(top, imports(module, at_once=True))}}
    assert "reconciler.commands" not in reached


def test_every_other_import_is_of_the_standard_library_or_of_msgspec() -> None:
    others = {top(other) for module in FILES for other in imports(module)}
    foreign = others - sys.stdlib_module_names - {"reconciler", "msgspec"}
    assert foreign == ONLY_IMPORTED_BY.keys()


TESTS = Path(__file__).parent
JUDGES = [
    *sorted((TESTS / "apiserver").glob("[!t]*.py")),
    *sorted((TESTS / "simulation").glob("*.py")),
    TESTS / "proofs" / "truth" / "evidence.py",
    TESTS / "proofs" / "truth" / "billing.py",
    TESTS / "proofs" / "usage" / "reckoning.py",
]
"""The code that the program is judged by."""


@pytest.mark.parametrize("file", JUDGES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_the_code_that_judges_the_program_shares_nothing_with_it(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            assert "reconciler" not in {top(alias.name) for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert top(node.module or "") != "reconciler"
