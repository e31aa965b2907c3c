"""The house keeps its shape: who imports whom is read from the code, and held against the rules."""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "reconciler"

THE_ONE_FILE_THAT_KNOWS = {
    "apscheduler": {"reconciler.modes.schedule"},
    "kubernetes": {"reconciler.sources.connection"},
    "prometheus_client": {"reconciler.health"},
    "psycopg": {"reconciler.ledger.postgres"},
    "pydantic": {"reconciler.settings"},
    "pydantic_settings": {"reconciler.settings"},
    "urllib3": {"reconciler.sources.connection"},
    "yaml": {"reconciler.sources.documents"},
}

MAY_IMPORT = {
    "errors": set[str](),
    "options": set[str](),
    "core": {"core", "errors"},
    "passes": {"core", "errors"},
    "sources": {"core", "errors", "sources"},
    "ledger": {"core", "errors", "ledger", "reconciler"},
    "output": {"core", "errors", "output"},
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
    "cli": {"commands", "errors", "options", "reconciler"},
    "__main__": {"cli"},
    "reconciler": set[str](),
}
"""Each room, and the rooms that it may know; `reconciler` is the package itself, with its version."""

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
    *("msgspec", "sys"),
}
"""What the middle may import: no I/O, no clock, no logger, no settings."""

PURE_OF_SYS = {"getrecursionlimit", "intern", "maxsize", "setrecursionlimit"}
IMPURE_BUILTINS = {"breakpoint", "eval", "exec", "input", "open", "print", "__import__"}
THE_CLOCK = {"now", "today", "utcnow"}

HEAVY = {*THE_ONE_FILE_THAT_KNOWS}
"""What `reconciler --help` does not wait for."""


def module_of(file: Path) -> str:
    parts = file.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted(HOUSE.rglob("*.py"))}
TREES = {module: ast.parse(file.read_bytes(), str(file)) for module, file in FILES.items()}


def statements(tree: ast.AST, *, at_once: bool) -> Iterator[ast.AST]:
    """Every node; `at_once`, only what runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not (at_once and is_later):
            yield node
            yield from statements(node, at_once=at_once)


def imports(module: str, *, at_once: bool = False) -> set[str]:
    """The modules that it imports; of ours by their whole names, of others as they are written."""
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


def room(module: str) -> str:
    """The name right below the package: a folder, or a file beside them."""
    return module if module == "reconciler" else module.split(".")[1]


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("library", THE_ONE_FILE_THAT_KNOWS)
def test_a_library_is_known_to_one_file_only(library: str) -> None:
    knowing = {module for module in FILES if library in map(top, imports(module))}
    assert knowing == THE_ONE_FILE_THAT_KNOWS[library]


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_from_the_rooms_that_its_own_may_know(module: str) -> None:
    known = {room(other) for other in ours(imports(module))}
    assert known <= MAY_IMPORT[room(module)]


def test_every_room_is_in_the_table_and_the_other_way_round() -> None:
    assert {room(module) for module in FILES} == MAY_IMPORT.keys()


def test_every_import_of_ours_is_of_a_module_that_exists() -> None:
    for module in FILES:
        assert ours(imports(module)) <= FILES.keys()


def test_imports_go_round_in_no_circle() -> None:
    graph: Mapping[str, set[str]] = {module: ours(imports(module)) for module in FILES}
    assert len([*TopologicalSorter(graph).static_order()]) == len(FILES)


MIDDLE = [module for module in FILES if room(module) == "core"]


@pytest.mark.parametrize("module", MIDDLE)
def test_the_middle_has_no_io_no_clock_no_logger_and_no_settings(module: str) -> None:
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


def test_help_is_answered_without_what_takes_long_to_import() -> None:
    reached, left = set[str](), {"reconciler.__main__"}
    while left:
        module = left.pop()
        reached.add(module)
        left |= ours(imports(module, at_once=True)) - reached
    assert not {module for module in reached if HEAVY & {*map(top, imports(module, at_once=True))}}
    assert "reconciler.commands" not in reached


def test_what_is_imported_is_the_standard_library_or_named_in_the_table() -> None:
    others = {top(other) for module in FILES for other in imports(module)}
    foreign = others - sys.stdlib_module_names - {"reconciler", "msgspec"}
    assert foreign == THE_ONE_FILE_THAT_KNOWS.keys()


TESTS = Path(__file__).parent
JUDGES = [
    *sorted((TESTS / "apiserver").glob("[!t]*.py")),
    *sorted((TESTS / "simulation").glob("*.py")),
    TESTS / "proofs" / "truth" / "evidence.py",
    TESTS / "proofs" / "truth" / "billing.py",
    TESTS / "proofs" / "usage" / "reckoning.py",
]
"""What says what is right."""


@pytest.mark.parametrize("file", JUDGES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_what_judges_the_program_shares_no_code_with_it(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            assert "reconciler" not in {top(alias.name) for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert top(node.module or "") != "reconciler"
