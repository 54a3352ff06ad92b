"""Layers: a file imports from its own layer or below, and what only reads or lists never loads torch."""

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
LAYERS = {
    0: ["rpecli", "content", "markdown", "grammar", "recipe", "recipe_file", "run", "order", "anatomy"],
    1: ["task", "encoding"],
    2: ["encodings", "rotary", "short_conv", "fused", "attention_bf16", "attention", "model", "data", "export"],
    3: ["train", "stack", "evaluate", "check", "probes", "portrait", "bench"],
    4: ["sweep", "work", "stats", "screen", "tables", "report"],
    5: ["cli", "cli_train", "cli_report", "cli_look", "cli_inspect", "cli_bench", "cli_data",
        "cli_asked", "cli_jobs", "cli_runs", "cli_print", "cli_end", "flags", "__main__"],
}  # fmt: skip
LAYER = {name: number for number, group in LAYERS.items() for name in group}
HEAVY = {"torch", "datasets", "safetensors", "transformers"}  # seconds to import
NUMERIC = {"numpy", "pandas", "scipy", "matplotlib"}
LATE = {"filelock"}  # milliseconds, with rpecli.run, and only commands that look at runs need it
IN_THE_CHILD = {"work"}  # runs a job in its own process: its functions, and they alone, import layer 3
NAMED = {
    "recipe": {"copy", "sort", "parity", "recall", "rope"},  # the defaults of Recipe.task and Recipe.encoding
    "bench.goals": {"alibi", "fox", "transformer-xl", "fire", "shaw", "rope", "t5"},  # a goal is set for an encoding
    "bench.peers": {"rope", "alibi", "t5", "learned"},  # what other libraries call them
}


def _name(path: Path) -> str:
    """`.../rpecli/report/page.py` -> `rpecli.report.page`, `.../tasks/copy.py` -> `tasks.copy`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TASKS = {_name(path): path for path in sorted(catalog.folder("tasks").rglob("*.py"))}


def layer(module: str) -> int:
    """The layer of `rpecli.x.y`, decided by x."""
    if module.startswith("tasks."):
        return 2
    part = module.split(".")[1] if "." in module else module
    assert part in LAYER, f"{module} is in no layer: add {part!r} to LAYERS in tests/test_imports.py"
    return LAYER[part]


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
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in FILES:
            todo += [target for target, loads, _ in imports(name) if loads]
            todo += [name.rpartition(".")[0]] if "." in name else []
    return seen


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def ours(module: str) -> list[tuple[str, bool, int]]:
    return [(target, loads, line) for target, loads, line in imports(module) if target.split(".")[0] == "rpecli"]


@pytest.mark.parametrize("module", [*FILES, *TASKS])
def test_a_file_imports_only_from_its_own_layer_or_below(module: str) -> None:
    high = [f"{module}:{line} imports {target}" for target, _, line in ours(module) if layer(target) > layer(module)]
    assert not high, f"layer {layer(module)}: {'; '.join(high)}"


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: {target for target, loads, _ in imports(module) if loads and target in FILES} for module in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # its error names the circle


def test_every_name_in_a_layer_is_a_file_or_a_folder() -> None:
    assert set(LAYER) == {module.split(".")[1] if "." in module else module for module in FILES}


def test_layers_0_and_4_import_nothing_between_them() -> None:
    """What reads directories and starts processes must work where torch does not load."""
    wrong = []
    for module in FILES:
        for target, loads, line in ours(module) if layer(module) == 4 else []:
            child = module.split(".")[1] in IN_THE_CHILD and not loads
            if layer(target) not in (0, 4) and not child:
                wrong.append(f"{module}:{line} imports {target}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("module", [name for name in FILES if layer(name) in (0, 4, 5)])
def test_layers_0_4_and_5_never_load_torch(module: str) -> None:
    forbidden = HEAVY | (NUMERIC if layer(module) == 0 else set())
    named = {target for target, loads, _ in imports(module) if loads or layer(module) in (0, 4)}
    assert not roots(named) & forbidden, f"{module} names {roots(named) & forbidden}"
    assert not roots(closure(module)) & forbidden, f"loading {module} loads {roots(closure(module)) & forbidden}"


@pytest.mark.parametrize("module", [*TASKS, "rpecli.task"])
def test_a_task_needs_no_torch(module: str) -> None:
    loaded = set().union(*(closure(target) for target, _, _ in imports(module)))
    assert not roots(loaded) & HEAVY


def _literals(path: Path) -> Iterator[tuple[str, int]]:
    """The string literals of the code, each as the name it would choose."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.split(":")[0].strip().replace("_", "-"), node.lineno


def test_no_file_names_an_encoding_or_a_task() -> None:
    """One new thing is one new file: a name elsewhere would be a second place to edit.

    `none` is left out of the search, because it is also the name of a group that reports write.
    """
    groups = set(catalog.facts(PACKAGE / "encoding.py")["GROUPS"])
    shipped = {*catalog.names("encodings"), *catalog.names("tasks")} - groups
    found = []
    for module, path in FILES.items():
        if module.startswith("rpecli.encodings."):
            continue
        allowed = NAMED.get(module.removeprefix("rpecli."), set())
        found += [f"{module}:{line} names {word!r}" for word, line in _literals(path) if word in shipped - allowed]
    assert not found, "; ".join(found)


@pytest.mark.parametrize("module", NAMED)
def test_a_name_that_a_file_may_use_is_used_there(module: str) -> None:
    assert NAMED[module] <= {word for word, _ in _literals(FILES[f"rpecli.{module}"])}


def test_the_names_in_recipe_are_the_defaults_and_nothing_else() -> None:
    """The exception of the test above, held to each name once: as a default of `Recipe.task` or `Recipe.encoding`."""
    from rpecli.config.recipe import Recipe

    words = [word for word, _ in _literals(FILES["rpecli.config.recipe"]) if word in NAMED["recipe"]]
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
    loaded = _loaded_by("import rpecli.recipe, rpecli.run; rpecli.recipe.load()")
    assert "rpecli" in loaded
    assert not loaded & (HEAVY | NUMERIC)


def test_starting_and_reporting_load_no_torch() -> None:
    modules = [name for name in FILES if layer(name) == 4]
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
