"""The code of a run: copies of the user's own files in its directory, and fingerprints of what ships.

What trained a run also measures it: `runs/ID/code/encodings/mine.py` is the text of the file when the run was created, and the
run's recipe.yaml names it there. Of the code that ships, run.json holds a fingerprint per file, and each line of eval.jsonl
one of all together: numbers by different code are told apart.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, is_path, map_paths, parse_choice, paths_in, relative_to, split_layers
from rpecli.config.recipe import Config, EvalSettings
from rpecli.run.files import RunError, write_bytes
from rpecli.run.provenance import sources

CORE = (
    "attention",
    "blocks.py",
    "data.py",
    "encoding.py",
    "mixing.py",
    "model.py",
    "objective.py",
    "task.py",
)  # what every forward pass needs
MAX_FILES = 4  # that a message names one by one
HELPERS = ("encodings", "tasks")  # folders whose files import from each other
LIBRARIES = ("bits", "brackets", "digits", "language", "ragged", "rows")  # modules that some tasks use


def with_copies(config: Config, run: Path) -> Config:
    """The config with the user's own files copied into a run directory and named there."""
    choices: dict[str, Any] = {key: canonical(keep(kind, choice, run), run) for kind, key, choice in _choices(config)}
    return config.model_copy(update=choices | {"eval": evaluation_with_copies(config.eval, config.task, run)})


def evaluation_with_copies(settings: EvalSettings, trained: str, run: Path) -> EvalSettings:
    """Settings whose `eval_task`, where it is the user's own file, is the copy in a run directory.

    Raises ChoiceError, and copies nothing, where that is another task than the trained one.
    """
    if not settings.eval_task or not paths_in(settings.eval_task):
        return settings
    require_trained_task(trained, settings.eval_task)
    return settings.model_copy(update={"eval_task": canonical(keep("tasks", settings.eval_task, run), run)})


def require_trained_task(trained: str, evaluated: str) -> None:
    """Raises ChoiceError unless both choices are of one task: of one name, or of files with the same text."""
    name, own = parse_choice(evaluated)[0], parse_choice(trained)[0]
    files = [catalog.find("tasks", one) for one in (name, own)]
    if files[0] == files[1] or (is_path(name) and is_path(own) and files[0].read_bytes() == files[1].read_bytes()):
        return
    shown, shown_own = (catalog.shown(path) if is_path(one) else one for one, path in zip((name, own), files, strict=True))
    other = f"as {shown} was then" if shown == shown_own else f"on {shown_own}"
    raise ChoiceError(f"eval_task {shown}: the run is trained {other}: write --eval-task {shown_own}:option=value")


def keep(kind: str, choice: str, run: Path) -> str:
    """Copies the user's own files of a canonical choice into a run directory; the choice with paths relative to that."""
    copies: dict[Path, Path] = {}

    def copy(path: Path) -> Path:
        if path not in copies:
            text = catalog.find(kind, str(path)).read_bytes()
            copies[path] = _free_name(run.resolve() / catalog.COPIES / kind / path.name, text, set(copies.values()))
            copies[path].parent.mkdir(parents=True, exist_ok=True)
            if not copies[path].exists():
                write_bytes(copies[path], text)
        return copies[path]

    return relative_to(map_paths(choice, copy), run)


def _free_name(path: Path, text: bytes, taken: set[Path]) -> Path:
    """`mine.py`, or `mine-2.py` where another file has that name; a copy of this very text is used again."""
    number, name = 1, path
    while name in taken or (name.exists() and name.read_bytes() != text):
        number += 1
        name = path.with_stem(f"{path.stem}-{number}")
    return name


def _choices(config: Config) -> tuple[tuple[str, str, str], ...]:
    return ("tasks", "task", config.task), ("encodings", "encoding", config.encoding)


def shipped_code(config: Config) -> dict[str, str]:
    """A fingerprint of each shipped file that decides numbers: the core, the task's and the encoding's, and what they import.

    Comments, docstrings and formatting do not count. The user's own files are copied instead, but what they import counts.
    """
    files = {path for kind, _, choice in _choices(config) for path in _files_of(kind, choice)}
    return dict(sorted((_name(path), _tree_fingerprint(path)) for path in files.union(_core())))


@cache
def _files_of(kind: str, choice: str) -> frozenset[Path]:
    """The shipped files that a choice uses."""
    files: set[Path] = set()
    for part in split_layers(choice):
        name, options = parse_choice(part)
        shipped = [value for value in options.values() if value.replace("_", "-") in catalog.names(kind)]  # then=, over=
        for path in [catalog.find(kind, found) for found in (name, *shipped)] + paths_in(part):
            files |= {*_imported(path), *([path] if catalog.is_shipped(path) else [])}
    return frozenset(files)


def fingerprint_of(code: Mapping[str, str]) -> str:
    """Eight digits of all files together."""
    return hashlib.sha256(str(sorted(code.items())).encode()).hexdigest()[:8]


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files that differ between two records of `shipped_code`."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def check_copies(run: Path, config: Config, record: Mapping[str, Any]) -> None:
    """Raises RunError where a copy of the user's file in a run directory is not the one that the run was made with."""
    recorded = record["sources"]
    try:
        copies = sources(config)
    except ChoiceError:
        raise RunError(f"{run / 'code'}: a file of this run is gone from here: put it back") from None
    for kind, name in copies.items():
        if recorded[kind] != name and paths_in(getattr(config, kind.removesuffix("s"))):
            raise RunError(f"{run / 'code' / kind}: a file here has changed since the run was made: put the old one back")


def changes(runs: Iterable[tuple[str, Config, Mapping[str, Any]]]) -> list[str]:
    """A line about the runs (name, config, record) since whose training the shipped code has changed; none without such a run."""
    names, files = list[str](), dict[str, None]()
    for name, config, record in runs:
        before = record.get("code")
        with suppress(ChoiceError):  # a file that is not there is an error elsewhere
            now = shipped_code(config)
            if before is not None and before != now:
                names.append(name)
                files |= dict.fromkeys(changed_files(before, now))
    more = f" and {len(files) - MAX_FILES} more files" if len(files) > MAX_FILES else ""
    changed = f"{', '.join(sorted(files)[:MAX_FILES])}{more}"
    return [f"rpe's code has changed since {_which(names)} trained: {changed}"] if names else []


def _which(names: list[str]) -> str:
    more = f" and {len(names) - 1} more were" if len(names) > 1 else " was"
    return names[0] + more


def _name(path: Path) -> str:
    """`attention/dispatch.py`, also for a task in a checkout, where tasks stand beside the package."""
    root = catalog.PACKAGE if path.is_relative_to(catalog.PACKAGE) else catalog.PACKAGE.parent
    return path.relative_to(root).as_posix()


@cache
def _core() -> tuple[Path, ...]:
    paths = [catalog.PACKAGE / name for name in CORE]
    return tuple(file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path]))


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    """The files of HELPERS and LIBRARIES that a file imports, directly or through others."""
    files: dict[Path, None] = {}
    todo = [path]
    while todo:
        following = [file for file in _imports(todo.pop()) if file not in files and file != path]
        files |= dict.fromkeys(following)
        todo += following
    return tuple(files)


def _imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.arguments):  # the encoding that another one holds: `over: str = "alibi"`
            values = [default.value for default in node.kw_defaults if isinstance(default, ast.Constant)]
            modules = [f"encodings.{value.replace('-', '_')}" for value in values if isinstance(value, str)]
        elif isinstance(node, ast.ImportFrom):
            modules = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            first, *rest = [part for part in module.split(".") if part != catalog.PACKAGE.name] or [""]
            folder = catalog.folder(first) if first in HELPERS else catalog.PACKAGE / first
            file = folder.joinpath(*rest).with_suffix(".py")
            if first in HELPERS + LIBRARIES and file.is_file():
                yield file


@cache
def _tree_fingerprint(path: Path) -> str:
    """Of a file's syntax tree without docstrings."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:8]
