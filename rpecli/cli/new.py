"""`rpe new`: writes a file to start an encoding or a task of your own from."""

import importlib.util
import keyword
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._output import print_written, say
from rpecli.run.files import reason

EXAMPLES = """
Examples:
  # my_bias.py, an encoding that runs as it is
  rpe new encoding my-bias

  # shift_by_one.py, a task that runs as it is
  rpe new task shift-by-one

  # then
  rpe check ./my_bias.py
"""
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


class Kind(StrEnum):
    """What can be written."""

    ENCODING = "encoding"
    TASK = "task"


NEXT = {  # what to type next, with {file}, and what it does
    Kind.ENCODING: {
        "rpe show {file}": "what it does to the attention logits",
        "rpe check {file}": "whether it is causal, decodes, learns, ... with the line of what is wrong",
        "rpe run quick --encoding {file},rope,none --task copy --seed 0": "trains it beside two others and reports",
    },
    Kind.TASK: {
        "rpe show {file}": "its card and examples",
        "rpe check {file}": "whether its sequences, answers and chance are right, with the line of what is wrong",
        "rpe run quick --task {file} --encoding rope,none --seed 0": "trains two encodings on it, evaluates and reports",
    },
}


def new(
    kind: Annotated[str, typer.Argument(help="What to write: encoding or task.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its name, such as my-bias: the file is my_bias.py.", show_default=False)],
) -> None:
    """Write a commented file NAME.py, an encoding or a task that runs as it is, into this folder."""
    if kind not in list(Kind):
        stop(catalog.unknown("kind", kind, list(map(str, Kind))), USAGE)
    text = (catalog.PACKAGE / "templates" / f"{kind}.py").read_text(encoding="utf-8")
    path = Path(f"{name.replace('-', '_')}.py")
    title = "".join(word.capitalize() for word in re.split("[-_]", name))
    if problem := _problem(name, path.stem) or _clash(title, text):
        stop(f"{name!r} cannot name {'an' if kind == Kind.ENCODING else 'a'} {kind}: {problem}", USAGE)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text.replace("Template", title).replace("./FILE.py", f"./{path}"))
    except FileExistsError:
        stop(f"{path} is there already: choose another name, or delete it", USAGE)
    except OSError as error:
        stop(f"{path} cannot be written: {reason(error)}", FAILURE)
    print_written(str(path))
    commands = {command.format(file=f"./{path}"): meaning for command, meaning in NEXT[Kind(kind)].items()}
    say("\n".join(["Next:", *(f"  # {meaning}\n  {command}" for command, meaning in commands.items())]))


def _problem(name: str, module: str) -> str | None:
    """What is wrong with a name, and what to write instead."""
    if not NAME.fullmatch(name):
        return "write lower-case letters, digits and hyphens, a letter first: my-bias"
    shipped = (kind for kind in catalog.SUFFIX if name.replace("_", "-") in catalog.names(kind))
    if kind := next(shipped, None):
        return f"it is the name of one of the {kind} that ship: write another, such as my-{name}"
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or _is_installed(module):
        return f"Python has a module or a word {module}, which the file would hide: write another, such as my-{name}"
    return None


def _is_installed(module: str) -> bool:
    """Whether a package has this name; the user's own file of it does not count."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin != str(Path.cwd() / f"{module}.py")


def _clash(title: str, text: str) -> str | None:
    if re.search(rf"\b{title}\b", text):
        return f"the file needs {title} for something else: write another"
    return None
