"""The layer rule: a folder imports only from folders on lower floors, and what only reads or lists never loads torch."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rpecli import catalog

PACKAGE = catalog.PACKAGE
FLOORS = [  # from the lowest; docs/architecture.md draws them
    ["rpecli", "choice", "container", "escape", "signals", "process"],
    ["device", "trust"],
    ["catalog"],
    ["titles"],
    ["config"],
    ["run"],
    ["table", "plot", "tensor_file", "options"],
    ["brackets"],
    ["task", "encoding", "rows"],
    ["bits", "ragged", "language"],
    ["digits"],
    ["attention", "encodings"],
    ["encoding_facts", "templates"],
    ["data", "objective", "blocks", "mixing"],
    ["model"],
    ["train", "evaluate", "proofs"],
    ["probes", "trial"],
    ["describe", "launch", "report", "bench"],
    ["reproduce"],
    ["api"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
NO_TORCH = {
    "rpecli",
    "choice",
    "container",
    "signals",
    "process",
    "trust",
    "device",
    "escape",
    "catalog",
    "titles",
    "config",
    "run",
    "table",
    "plot",
    "encoding_facts",
    "launch",
    "report",
    "cli",
    "__main__",
}
BEFORE_LAUNCH = {"rpecli.launch.preflight", "rpecli.launch.sizes"}  # these load torch: commands import them inside functions
HEAVY = {"torch", "datasets", "safetensors", "transformers"}  # seconds to import
NUMERIC = {"numpy", "pandas", "scipy", "matplotlib"}
LATE = {"filelock", "jinja2"}  # milliseconds; only commands that look at runs, or write a report, need them
NAMED = {
    "config.recipe": {"copy", "sort", "parity", "recall", "rope"},  # the defaults of Recipe.task and Recipe.encoding
    "bench.peers": {"rope", "alibi", "t5", "learned"},  # what other libraries call them
}


def _name(path: Path) -> str:
    """`.../rpecli/report/page.py` -> `rpecli.report.page`, `.../tasks/copy.py` -> `tasks.copy`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TASKS = {_name(path): path for path in sorted(catalog.folder("tasks").rglob("*.py"))}


def room(module: str) -> str:
    """The folder or top-level file that a module belongs to; tasks stand beside encodings."""
    parts = module.split(".")
    name = "encodings" if parts[0] == "tasks" else parts[1] if len(parts) > 1 else parts[0]
    assert name in FLOOR, f"{module} is on no floor: add {name!r} to FLOORS in tests/test_imports.py"
    return name


@cache
def imports(module: str) -> list[tuple[str, bool, int]]:
    """(what is imported, whether that happens when the module loads, line) for every import of a file."""
    path = {**FILES, **TASKS}[module]
    return list(_walk(ast.parse(path.read_bytes(), str(path)), module, path, loads=True))


def _walk(node: ast.AST, module: str, path: Path, loads: bool) -> Iterator[tuple[str, bool, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, loads, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            base = (
                ".".join([*package[: len(package) - child.level + 1], child.module or ""]).strip(".")
                if child.level
                else child.module
            )
            for alias in child.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in FILES else str(base)), loads, child.lineno
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(ast.Module(child.body, []), module, path, loads=False)
            yield from _walk(ast.Module(child.orelse, []), module, path, loads)
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, module, path, loads and not deferred)


def closure(module: str) -> set[str]:
    """Everything that loading a module loads, of rpecli's modules and of the packages they name."""
    loaded: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in loaded:
            continue
        loaded.add(name)
        if name in FILES:
            todo += [target for target, loads, _ in imports(name) if loads]
            todo += [name.rpartition(".")[0]] if "." in name else []
    return loaded


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def ours(module: str) -> list[tuple[str, bool, int]]:
    return [(target, loads, line) for target, loads, line in imports(module) if target.split(".")[0] == "rpecli"]


@pytest.mark.parametrize("module", [*FILES, *TASKS])
def test_a_folder_imports_only_from_folders_on_lower_floors(module: str) -> None:
    own = room(module)
    high = [
        f"{module}:{line} imports {target}"
        for target, _, line in ours(module)
        if room(target) != own and FLOOR[room(target)] >= FLOOR[own]
    ]
    assert not high, "; ".join(high)


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: {target for target, loads, _ in imports(module) if loads and target in FILES} for module in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # its error names the circle


def test_every_room_is_a_file_or_a_folder() -> None:
    assert set(FLOOR) == {room(module) for module in FILES}


@pytest.mark.parametrize("module", [name for name in FILES if room(name) in NO_TORCH and name not in BEFORE_LAUNCH])
def test_what_reads_or_starts_or_reports_never_loads_torch(module: str) -> None:
    forbidden = HEAVY | (NUMERIC if FLOOR[room(module)] <= FLOOR["run"] else set())
    loaded = roots(closure(module)) & forbidden
    assert not loaded, f"loading {module} loads {loaded}"


@pytest.mark.parametrize("module", [*TASKS, "rpecli.task"])
def test_a_task_needs_no_torch(module: str) -> None:
    loaded = set().union(*(closure(target) for target, _, _ in imports(module)))
    assert not roots(loaded) & HEAVY


def _literals(path: Path) -> Iterator[tuple[str, int]]:
    """The string literals of the code, as the names that they would choose."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.split(":")[0].strip().replace("_", "-"), node.lineno


def test_no_file_names_an_encoding_or_a_task() -> None:
    """One new thing is one new file: a name elsewhere would be a second place to edit.

    `none` is left out of the search, because it is also the name of a group that reports write, and so are the tasks whose names
    are words of any program.
    """
    words = {*catalog.GROUPS, "data", "text"}
    shipped = {*catalog.names("encodings"), *catalog.names("tasks")} - words
    names = []
    for module, path in FILES.items():
        if module.startswith("rpecli.encodings."):
            continue
        allowed = NAMED.get(module.removeprefix("rpecli."), set())
        names += [f"{module}:{line} names {word!r}" for word, line in _literals(path) if word in shipped - allowed]
    assert not names, "; ".join(names)


@pytest.mark.parametrize("module", NAMED)
def test_a_name_that_a_file_may_use_is_used_there(module: str) -> None:
    assert NAMED[module] <= {word for word, _ in _literals(FILES[f"rpecli.{module}"])}


def test_the_names_in_recipe_are_the_defaults_and_nothing_else() -> None:
    """The exception of the test above: every name once, as a default of `Recipe.task` or `Recipe.encoding`."""
    from rpecli.config.recipe import Recipe

    words = [word for word, _ in _literals(FILES["rpecli.config.recipe"]) if word in NAMED["config.recipe"]]
    assert sorted(words) == sorted([*Recipe.model_fields["task"].default, *Recipe.model_fields["encoding"].default])


@pytest.mark.parametrize("module", [*FILES, *TASKS])
def test_every_module_opens_with_a_sentence(module: str) -> None:
    summary = catalog.summary({**FILES, **TASKS}[module])
    assert summary.endswith("."), f"{module} opens with {summary!r}: write one sentence that ends with a period"


def _loaded_by(code: str) -> set[str]:
    """The top-level packages in memory after `code`, in a process of its own."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_reading_a_recipe_loads_no_heavy_package() -> None:
    loaded = _loaded_by("import rpecli.config.load, rpecli.run.directory; rpecli.config.load.load()")
    assert "rpecli" in loaded
    assert not loaded & (HEAVY | NUMERIC)


def test_starting_and_reporting_load_no_torch() -> None:
    modules = [name for name in FILES if room(name) in NO_TORCH - {"__main__"} and name not in BEFORE_LAUNCH]
    assert not _loaded_by(f"import {', '.join(modules)}") & HEAVY


def test_help_loads_no_heavy_package() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "rpecli", "--help"]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {
        line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")
    }
    assert "rpecli" in loaded
    assert not loaded & (HEAVY | NUMERIC | LATE)
