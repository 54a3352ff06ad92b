"""Finds encodings, tasks and recipes by walking folders; reads their one-line summaries without importing them.

One new thing is one new file: `rpecli/encodings/NAME.py`, `tasks/NAME.py`, `recipes/NAME.yaml`. A user's own file works by
path. File names use underscores, names use hyphens (`transformer_xl.py` is `transformer-xl`); either is understood.
"""

import ast
import difflib
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rpecli.choice import ChoiceError, is_path

SUFFIX = {"encodings": ".py", "tasks": ".py", "recipes": ".yaml"}
PACKAGE = Path(__file__).resolve().parent


def folder(kind: str) -> Path:
    """The folder of one kind: inside the package when installed, beside it in a checkout."""
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def name_of(path: Path) -> str:
    """`.../transformer_xl.py` -> `transformer-xl`."""
    return path.stem.replace("_", "-")


def names(kind: str) -> list[str]:
    """Every encoding, task or recipe that ships, sorted; recipes in subfolders as `papers/NAME`."""
    return sorted(_files(kind))


def _files(kind: str) -> dict[str, Path]:
    """Names to files. What starts with `_` or `.` is left out: editors and macOS leave such files behind."""
    root = folder(kind)
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*" + SUFFIX[kind])):
        inner = path.relative_to(root)
        if any(part[0] in "._" for part in inner.parts):
            continue
        name = inner.with_suffix("").as_posix().replace("_", "-")
        if name in found:
            raise ChoiceError(f"{found[name]} and {path} are both called {name}: rename one")
        found[name] = path
    return found


def nearest(word: str, known: list[str]) -> str:
    """A hint for a mistyped word: the close names, else all of them."""
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def find(kind: str, name: str) -> Path:
    """The file of `name`, a shipped name or a path of the user's own. Raises ChoiceError with the nearest names."""
    if is_path(name):
        path = Path(os.path.expanduser(name))
        if not path.is_file() or (path.suffix == ".py") == (kind == "recipes"):
            raise ChoiceError(f"no {SUFFIX[kind]} file {name}: give the path of one that is there, or a name: rpe ls {kind}")
        return path.resolve()
    files = _files(kind)
    if name.replace("_", "-") not in files:
        raise ChoiceError(
            f"unknown {kind[:-1]} {name!r}: {_elsewhere(kind, name) or nearest(name, list(files))}  (rpe ls {kind})"
        )
    return files[name.replace("_", "-")]


def _elsewhere(kind: str, name: str) -> str:
    """A hint for the name of an encoding where a recipe belongs, and the like."""
    other = next((k for k in SUFFIX if k != kind and name.replace("_", "-") in names(k)), None)
    return f"it is one of the {other}; write lists with commas and no spaces (--{other[:-1]} {name},...)" if other else ""


def summary(path: Path) -> str:
    """The first sentence of a file: its docstring's for Python (not imported), its first comment's for YAML."""
    if path.suffix != ".py":
        first = path.read_text(encoding="utf-8-sig", errors="replace").lstrip().partition("\n")[0]
        return first.lstrip("# ").strip() if first.startswith("#") else ""
    return (ast.get_docstring(_tree(path)) or "").split("\n")[0].strip()


def class_constants(path: Path) -> dict[str, Any]:
    """Literal constants a module and its classes assign (`group = "RPE"`), read without importing it."""
    found = path.stat()
    return dict(_class_constants(path, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=256)  # a report of a thousand runs asks for the same ten files
def _class_constants(path: Path, *_: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in ast.walk(_tree(path)):
        body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        for line in body:
            if not isinstance(line, ast.Assign | ast.AnnAssign) or line.value is None:
                continue
            target = line.targets[0] if isinstance(line, ast.Assign) else line.target
            if isinstance(target, ast.Name):
                with suppress(ValueError, TypeError):  # not a literal, so not a constant of the class
                    found.setdefault(target.id, ast.literal_eval(line.value))
    return found


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())  # bytes: Python's own rules for the encoding and the byte order mark
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ChoiceError(f"{path}{line}: this file does not load: {getattr(error, 'msg', error)}") from error


def fingerprint(path: Path) -> str:
    """Eight hex digits of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def load(path: Path) -> ModuleType:
    """Imports one file under a private name. Raises ChoiceError that names the file when it does not load."""
    private = f"_rpe_{path.parent.name}_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if private in sys.modules:
        return sys.modules[private]
    spec = importlib.util.spec_from_file_location(private, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module  # before exec: dataclasses and pickling look the module up by its name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[private]
        raise ChoiceError(f"{_place(path, error)}: this file does not load: {type(error).__name__}: {error}") from error
    return module


def _place(path: Path, error: BaseException) -> str:
    """`file:line` of the last line of `path` on the way to an error."""
    own = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else own[-1] if own else None
    return f"{path}:{line}" if line else str(path)


def load_class(kind: str, name: str, parent: type) -> type:
    """The one subclass of `parent` that the file of `name` defines."""
    path = find(kind, name)
    module = load(path)
    classes = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, parent)]
    own = [c for c in classes if c.__module__ == module.__name__ and not c.__name__.startswith("_")]
    if len(own) != 1:
        found = ", ".join(c.__name__ for c in own) or "none"
        raise ChoiceError(f"{path}: one class that derives from {parent.__name__} is expected, found: {found}")
    return own[0]


def convert(cls: type, given: dict[str, Any], what: str) -> dict[str, Any]:
    """The options of `cls.__init__` (its keyword-only parameters) with `given` strings turned into their types."""
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    known = {p.name: p for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
    out = {}
    for key, value in given.items():
        if key not in known:
            hint = nearest(key, sorted(known)) if known else "it has none"
            raise ChoiceError(f"{what} has no option {key!r}: {hint}")
        out[key] = _as_type(value, known[key], f"{what}: option {key}")
    return out


def _as_type(value: Any, parameter: inspect.Parameter, where: str) -> Any:
    kind = type(parameter.default)
    if not isinstance(value, str) or kind is str:
        return value
    if kind not in (bool, int, float):
        raise ChoiceError(f"{where} needs a default that tells its type: a number, a text, True or False")
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ChoiceError(f"{where} is true or false, not {value!r}")
        return value.lower() == "true"
    try:
        return kind(value)
    except ValueError:
        raise ChoiceError(f"{where} is {'a whole number' if kind is int else 'a number'}, not {value!r}") from None
