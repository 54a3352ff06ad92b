"""Finds encodings, tasks and recipes by walking folders, and reads their summaries and constants without importing them.

Every encoding, task and recipe is one file: `rpecli/encodings/NAME.py`, `tasks/NAME.py`, `recipes/NAME.yaml`. A user's own file
is given by its path. File names use underscores and names use hyphens (`transformer_xl.py` is `transformer-xl`); both are
accepted.
"""

import ast
import difflib
import glob
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from contextlib import redirect_stdout, suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rpecli import trust
from rpecli.choice import ChoiceError, is_path

SUFFIX = {"encodings": ".py", "tasks": ".py", "recipes": ".yaml"}
PACKAGE = Path(__file__).resolve().parent
PRIVATE = "_rpe_"  # how the names of modules begin that `load` makes
LARGEST = 1e18  # options are smaller: whole numbers have 64 bits in torch
COPIES = "code"  # the folder of a run directory that holds copies of the user's files, by kind
FEW = 12  # names that a message lists one and all
PAPERS = "papers"  # the folder of recipes that holds published numbers (reproduce/paper.py)
GROUPS = ("APE", "RPE", "content", "none")  # of encodings, in the order of tables and legends


def folder(kind: str) -> Path:
    """The folder of one kind: inside the package when installed, beside it in a checkout."""
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def name_of(path: Path) -> str:
    """`.../transformer_xl.py` -> `transformer-xl`."""
    return path.stem.replace("_", "-")


def names(kind: str) -> list[str]:
    """The names of all shipped encodings, tasks or recipes, sorted; a recipe in a subfolder is `FOLDER/NAME`."""
    return sorted(_files(kind))


def _files(kind: str) -> dict[str, Path]:
    """File by name. Files that begin with `_` or `.` are left out: they are helpers, or left behind by editors and macOS."""
    root = folder(kind)
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*" + SUFFIX[kind])):
        inner = path.relative_to(root)
        if any(part[0] in "._" for part in inner.parts) or inner.parts[0] == PAPERS:
            continue
        name = inner.with_suffix("").as_posix().replace("_", "-")
        if name in files:
            raise ChoiceError(f"{files[name]} and {path} have the same name {name}; rename one")
        files[name] = path
    return files


def unknown(kind: str, word: str, names: list[str]) -> str:
    """The message about a mistyped word: `unknown task 'cpy': did you mean copy?`, or all names where none is close."""
    return f"unknown {kind} {word!r}: {nearest(word, names)}"


def nearest(word: str, names: list[str]) -> str:
    """A hint for a mistyped word: the close names, or all of them; of many the closest three."""
    if close := close_names(word, names):
        return f"did you mean {' or '.join(close)}?"
    if len(names) <= FEW:
        return f"known: {', '.join(names)}"
    return f"the closest of {len(names)} are {', '.join(close_names(word, names, cutoff=0.0))}"


def close_names(word: str, names: list[str], cutoff: float = 0.5) -> list[str]:
    """At most three names that resemble a word, the closest first; of a similarity (0 to 1) of at least `cutoff`."""
    return difflib.get_close_matches(word.lower(), names, n=3, cutoff=cutoff)


def find(kind: str, name: str) -> Path:
    """The file of a shipped name, or of a path to a user's own file.

    Raises:
        ChoiceError: there is no such file or name; the message gives the closest names.
    """
    if is_path(name):
        path = Path(os.path.expanduser(name))
        if not path.is_file() or (path.suffix == ".py") == (kind == "recipes"):
            raise ChoiceError(f"there is no {SUFFIX[kind]} file {name}; write an existing path, or a name from rpe ls {kind}")
        return path.resolve()
    files = _files(kind)
    key = name.replace("_", "-")
    if key in files:
        return files[key]
    other = next((other for other in SUFFIX if other != kind and key in names(other)), None)
    if other:
        remedy = f"it is one of the {other}; write lists with commas and no spaces (--{other[:-1]} {name},...)"
        raise ChoiceError(f"unknown {kind[:-1]} {name!r}: {remedy}")
    if kind == "tasks" and (Path(name).suffix or Path(name).exists()):
        remedy = f"for rows of yours write data:path={name}, for running text text:path={name}"
        raise ChoiceError(f"unknown task {name!r}: a file of a task ends with .py; {remedy}")
    if own := own_file(name, SUFFIX[kind]):
        raise ChoiceError(f"unknown {kind[:-1]} {name!r}: did you mean {own}?")
    raise ChoiceError(f"{unknown(kind[:-1], name, list(files))}  (rpe ls {kind})")


def own_file(name: str, *suffixes: str) -> str | None:
    """The file of a name without suffix in the working folder, as a path to type: `./third.yaml`; None where none is there."""
    stems = dict.fromkeys((name, name.replace("-", "_")))
    return next((f"./{stem}{suffix}" for suffix in suffixes for stem in stems if Path(f"{stem}{suffix}").is_file()), None)


def summary(path: Path) -> str:
    """The first line of a file's docstring (Python, without importing it) or of its first comment (YAML)."""
    if path.suffix != ".py":
        first_line = path.read_text(encoding="utf-8-sig", errors="replace").lstrip().partition("\n")[0]
        return first_line.lstrip("# ").strip() if first_line.startswith("#") else ""
    return (ast.get_docstring(_parse(path)) or "").split("\n")[0].strip()


def class_constants(path: Path) -> dict[str, Any]:
    """The literal constants that a module and its classes assign (`group = "RPE"`), read without importing the module.

    Where a name is assigned more than once, the first value counts.
    """
    stat = path.stat()
    return dict(_class_constants(path, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=256)  # a report of a thousand runs reads the same ten files
def _class_constants(path: Path, *_: int) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for node in ast.walk(_parse(path)):
        body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        for statement in body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name):
                with suppress(ValueError, TypeError):  # not a literal
                    constants.setdefault(target.id, ast.literal_eval(statement.value))
    return constants


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())  # bytes: Python's own rules for the encoding and the byte order mark
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise _load_error(f"{path}{line}", str(getattr(error, "msg", error))) from error


def _load_error(place: str, reason: str) -> ChoiceError:
    return ChoiceError(f"{place}: this file does not load: {reason}")


def data_fingerprint(path: str) -> str:
    """Eight digits of the content of a file, of all files of a folder or a pattern; a name of anything else stays as it is.

    To NAME.src belongs NAME.tgt, which has its answers.
    """
    if not path:  # pathlib takes it for the working folder
        return ""
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob("*") if root.is_dir() else map(Path, glob.glob(path, recursive=True)))
    files = sorted({*files, *(file.with_suffix(".tgt") for file in files if file.suffix.lower() == ".src")})
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return _content(tuple((file, stat.st_mtime_ns, stat.st_size) for file, stat in stats)) if stats else path


@lru_cache(maxsize=64)  # a file may be large, and a run's identity is asked for often
def _content(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, *_ in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:8]


def fingerprint(path: Path) -> str:
    """The first eight hex digits of the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def kind_of(path: Path) -> str:
    """Whether a user's file is of `tasks` or `encodings`: what it imports says so."""
    froms = [node for node in ast.walk(_parse(path)) if isinstance(node, ast.ImportFrom)]
    modules = {name for node in froms for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))}
    return "tasks" if f"{PACKAGE.name}.task" in modules and f"{PACKAGE.name}.encoding" not in modules else "encodings"


def is_shipped(path: Path) -> bool:
    """Whether a file comes with rpe; any other is a user's own."""
    return any(path.is_relative_to(folder(kind)) for kind in SUFFIX)


def load(path: Path) -> ModuleType:
    """Imports one file as a module with a private name; another text of the file is another module. Its prints go to stderr.

    Raises:
        ChoiceError: the file does not load, or is a user's that nobody named; the message names the file and the line.
    """
    text = path.read_bytes()
    name = f"{PRIVATE}{path.parent.name}_{path.stem}_{hashlib.sha256(str(path).encode() + text).hexdigest()[:8]}"
    own = not is_shipped(path)
    if own:
        trust.check(path, text)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    if own:
        vars(module)["print"] = _print_to_stderr  # also in its hooks: a command's own output is for other programs to read
    sys.modules[name] = module  # before exec: dataclasses and pickling look the module up by its name
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _load_error(_place(path, error), cause(error)) from error
    return module


def _print_to_stderr(*values: object, **keys: Any) -> None:
    print(*values, **{"file": sys.stderr, **keys})


def _place(path: Path, error: BaseException) -> str:
    """`file:line`, the last line of `path` in the traceback of an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    line = line_in(path, error)
    return f"{path}:{line}" if line else str(path)


def line_in(path: Path, error: BaseException) -> int | None:
    """The last line of a file in the traceback of an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def blame(error: BaseException) -> str:
    """`mine.py:10: ` where the last line of an error that is not of rpe or a package is a user's, else nothing."""
    files = {str(module.__file__) for name, module in list(sys.modules.items()) if name.startswith(PRIVATE)}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files and not is_shipped(Path(frame.filename)):
            return f"{shown(Path(frame.filename))}:{frame.lineno}: "
    return ""


def shown(path: Path) -> str:
    """A path as messages write it: that of the user's file for a copy of it, relative to the working folder where it is below."""
    path = trust.original(path) if path.parent.parent.name == COPIES else path
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def load_class(kind: str, name: str, parent: type) -> type:
    """The one public subclass of `parent` that the file of `name` defines.

    Raises:
        ChoiceError: the file does not load, or defines no such class or several.
    """
    path = find(kind, name)
    module = load(path)
    subclasses = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, parent)]
    own = [cls for cls in subclasses if cls.__module__ == module.__name__ and not cls.__name__.startswith("_")]
    if len(own) != 1:
        listed = ", ".join(cls.__name__ for cls in own) or "none"
        raise ChoiceError(f"{path}:1: the file must define exactly one subclass of {parent.__name__}; it defines: {listed}")
    return own[0]


def convert(cls: type, options: dict[str, Any], what: str) -> dict[str, Any]:
    """Turns option strings into the types of the defaults of `cls.__init__`'s keyword-only parameters.

    Args:
        cls: The class that takes the options.
        options: Values by option name; values that are not strings are passed on as they are.
        what: What the options belong to, for messages: `encoding rope`.

    Raises:
        ChoiceError: an option is unknown, or its value does not have the type of the default.
    """
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    keyword_only = {parameter.name: parameter for parameter in parameters.values() if parameter.kind is parameter.KEYWORD_ONLY}
    converted = {}
    for key, value in options.items():
        if key not in keyword_only:
            hint = nearest(key, sorted(keyword_only)) if keyword_only else "it has none"
            raise ChoiceError(f"{what} has no option {key!r}: {hint}")
        converted[key] = _as_type(value, keyword_only[key], f"{what}: option {key}")
    return converted


def construct(cls: type, arguments: tuple[Any, ...], options: dict[str, Any], what: str) -> Any:
    """An instance of the class of an encoding or a task.

    Raises:
        ChoiceError: whatever its constructor raises, with the line of a user's file; options that make no sense.
    """
    path = Path(inspect.getfile(cls))
    where = what if is_shipped(path) else f"{shown(path)}:{line_of(path, cls.__name__)}"
    try:
        inspect.signature(cls).bind(*arguments, **options)
    except TypeError as error:
        names = ", ".join(["self", *("shape" for _ in arguments), "*", "option=1.0"])
        raise ChoiceError(f"{where}: {cls.__name__}.__init__: {error}: write def __init__({names})") from None
    try:
        with redirect_stdout(sys.stderr):
            return cls(*arguments, **options)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise ChoiceError(f"{blame(error) or f'{what}: '}{place}{(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        reason = " ".join(str(error).split()) or f"{cls.__name__}.__init__: {cause(error)}"
        raise ChoiceError(f"{blame(error) or f'{what}: '}{reason}") from error
    except (Exception, SystemExit) as error:
        raise ChoiceError(f"{blame(error) or f'{where}: '}{cls.__name__}.__init__: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """An error in one line: `KeyError: 'k'`."""
    if isinstance(error, SystemExit):
        return "the file ends the process"
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")[:300]


def line_of(path: Path, name: str) -> int:
    """The line of a file where a class, a function, a constant or `self.NAME = ` of this name stands; 1 where none does."""
    for node in ast.walk(_parse(path)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if name in (getattr(node, "name", None), *(getattr(t, "id", getattr(t, "attr", None)) for t in targets)):
            return int(getattr(node, "lineno", 1))
    return 1


def line_with(path: Path, name: str) -> int | None:
    """The first line of a file that calls a function of this name, on its own or of a module; None where none does."""
    calls = [node for node in ast.walk(_parse(path)) if isinstance(node, ast.Call)]
    return min((c.lineno for c in calls if name in (getattr(c.func, "id", None), getattr(c.func, "attr", None))), default=None)


def _as_type(value: Any, parameter: inspect.Parameter, where: str) -> Any:
    kind = type(parameter.default)
    if not isinstance(value, str) or kind is str:
        return value
    if kind not in (bool, int, float):
        raise ChoiceError(f"{where} needs a default that shows its type: a number, a string, True or False")
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ChoiceError(f"{where} must be true or false, not {value!r}")
        return value.lower() == "true"
    try:
        number = kind(value)
    except ValueError:
        raise ChoiceError(f"{where} must be {'a whole number' if kind is int else 'a number'}, not {value!r:.40}") from None
    if not abs(number) < LARGEST:
        finite = "" if number == number and abs(number) != float("inf") else ", finite and"
        raise ChoiceError(f"{where} must be a number{finite} below {LARGEST:.0e}, not {value!r:.40}")
    return number
