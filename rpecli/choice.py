"""How a choice of encoding or task is written: `rope:base=500+none`, `3*rope+none`, `rope:then=none`.

A choice is made canonical where it enters: as a flag, or in a recipe, whose paths are relative to its folder. In a canonical
choice every path is absolute, and `+`, `:`, `,`, `"` and `%` inside it are written as `%2B` and so on, so that no folder
name is taken for grammar (`/home/u/c%2B%2B/mine.py`). So is the value of an option in double quotes (`:input="{a}+{b}"`).
`parse_choice` and `names_in` return paths and values as they are meant.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in '%+:,"'})
SWITCH = "then"  # the option whose value is an encoding
DATA = ("path", "test_path")  # the options whose values are files, folders or patterns of data, or names of data sets
_QUOTED = re.compile(r'(?<==)"([^"]*)"')
_PATH_END = re.compile(r"\.(?:py|yaml|yml)(?=\s*(?:[+:,]|$))")
_NEXT_NAME = re.compile(r"[+,=*]\s*")
_TIMES = re.compile(r"([1-9]\d?)\s*\*\s*(.+)")  # how often an encoding is repeated
MAX_TIMES = 99


class ChoiceError(ValueError):
    """An encoding, task or recipe that does not exist or does not load, or an option that it does not have."""


def is_path(name: str) -> bool:
    """Whether a name is the path of a user's own file."""
    return "." in name and Path(name).suffix in (".py", ".yaml", ".yml")  # a path takes 3 us: reports ask 100,000 times


def parse_choice(text: str) -> tuple[str, dict[str, str]]:
    """Splits a choice into its name and its options: `sort:distinct=false` -> ("sort", {"distinct": "false"}).

    Raises:
        ChoiceError: a part is not `option=value`, or an option is given twice.
    """
    name, options = _split(text)
    return _plain(name), {key: unquote(value) for key, value in options.items()}


def _split(text: str) -> tuple[str, dict[str, str]]:
    """`parse_choice` with the name as it is written."""
    name, *parts = text.strip().split(":")
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise ChoiceError(f"{text!r}: {part!r} is not option=value; {_remedy(options, part)}")
        key = key.strip().replace("-", "_")
        if key in options:
            raise ChoiceError(f"{text!r}: option {key} is given twice; keep one")
        options[key] = value.strip()
    return name.strip(), options


def _remedy(options: dict[str, str], part: str) -> str:
    """What to write for a part that is not option=value: behind a path it may be the rest of that path."""
    last = next(reversed(options), "")
    if last not in DATA:
        return "write NAME:option=value:option=value"
    return f"write a colon within a path as %3A: {last}={options[last]}%3A{part}"


def _join(name: str, options: dict[str, str]) -> str:
    return ":".join([name, *(f"{key}={value}" for key, value in options.items())])


def _plain(name: str) -> str:
    """A name without escapes; only paths have them."""
    return unquote(name) if is_path(name) else name


def without_options(choice: str) -> str:
    """A choice's name as it is written there, which is how `by_task` spells it; encodings that alternate as they are."""
    return _split(choice)[0] if len(split_layers(choice)) == 1 else choice


def split_layers(text: str) -> list[str]:
    """The encodings that alternate over the layers: `rope+none` -> ["rope", "none"].

    `3*rope+none` is short for `rope+rope+rope+none`. A plus before a digit is part of a number (`rope:base=1e+4`), unless that
    digit repeats an encoding.
    """
    parts = re.split(r"\+(?=[^\d\s]|\s+\S|\d{1,2}\s*\*)", text.strip())
    return [part for item in parts for part in _repeated(item.strip())]


def _repeated(text: str) -> list[str]:
    match = _TIMES.fullmatch(text)
    return [match[2].strip()] * int(match[1]) if match else [text]


def join_layers(parts: Iterable[str]) -> str:
    """The inverse of `split_layers`: neighbours that are equal are written once, with their number."""
    return "+".join(part if number == 1 else f"{number}*{part}" for part, number in neighbours(parts))


def neighbours(parts: Iterable[str]) -> list[tuple[str, int]]:
    """Each part with how often it stands in a row, at most 99 times: `rope, rope, none` -> (rope, 2), (none, 1)."""
    counted: list[tuple[str, int]] = []
    for part in parts:
        if counted and counted[-1][0] == part and counted[-1][1] < MAX_TIMES:
            counted[-1] = (part, counted[-1][1] + 1)
        else:
            counted.append((part, 1))
    return counted


def split_switch(text: str) -> tuple[str, str | None]:
    """The encodings before and after the switch: `rope:then=none` -> ("rope", "none"); (text, None) without a switch."""
    before, after = [], []
    for part in split_layers(text):
        name, options = _split(part)
        then = options.pop(SWITCH, None)
        before.append(_join(name, options))
        after.append(then or before[-1])
    return join_layers(before), None if before == after else join_layers(after)


def names_in(choice: str) -> list[str]:
    """The names and paths of a choice, without their options: those of `rope+alibi:then=none` are rope, alibi and none."""
    return [parse_choice(part)[0] for phase in split_switch(choice) if phase for part in split_layers(phase)]


def paths_in(choice: str) -> list[Path]:
    """The user's own files in a canonical choice; those that are an option's value too (`dape:over=./mine.py`)."""
    if "." not in choice:  # as every path has it: reports ask 30,000 times
        return []
    paths: dict[Path, None] = {}
    map_paths(choice, lambda path: paths.setdefault(path) or path)
    return list(paths)


def split_list(text: str, folder: Path | None = None) -> list[str]:
    """The choices of a text with commas, each as it is written except that existing paths are escaped."""
    return [part.strip() for part in _with_escaped_paths(text, folder or Path()).split(",")]


def canonical(text: str, folder: Path | None = None) -> str:
    """The one spelling of a choice: hyphens in names, options in alphabetical order, absolute and escaped paths.

    Paths are relative to `folder`, by default the working folder. What is canonical stays as it is.
    """
    parts = split_layers(_with_escaped_paths(text, folder or Path()))
    return join_layers(_canonical_part(part, folder or Path()) for part in parts)


def _canonical_part(text: str, folder: Path) -> str:
    name, options = _split(text)
    for key, value in options.items():
        if key in DATA:
            options[key] = _canonical_data(unquote(value), folder)
        elif key == SWITCH or is_path(value):
            options[key] = _canonical_name(value, folder)
    return _join(_canonical_name(name, folder), dict(sorted(options.items())))


def _canonical_name(name: str, folder: Path) -> str:
    if not is_path(name):
        return name.replace("_", "-")
    path = _file(_plain(name), folder).resolve()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ChoiceError(f"{str(path)!r}: the path is not UTF-8: rename the file or its folder") from None
    return str(path).translate(ESCAPES)


def _canonical_data(value: str, folder: Path) -> str:
    """An absolute path, or the name of a data set on the hub as it is: `owner/name`."""
    path = _file(value, folder)
    is_name = not path.exists() and not path.suffix and not set("*?[~") & set(value) and not value.startswith((".", "/"))
    return (value if is_name else os.path.abspath(path)).translate(ESCAPES)


def map_data(choice: str, change: Callable[[str], str]) -> str:
    """A canonical choice with the values of its options for data replaced."""
    parts = []
    for part in split_layers(choice):
        name, options = _split(part)
        for key in options.keys() & set(DATA):
            options[key] = change(unquote(options[key])).translate(ESCAPES)
        parts.append(_join(name, options))
    return join_layers(parts)


def data_in(choice: str) -> list[str]:
    """The paths and names of data in a canonical choice."""
    values: list[str] = []
    map_data(choice, lambda value: values.append(value) or value)  # type: ignore[func-returns-value]
    return values


def map_paths(choice: str, change: Callable[[Path], Path | str]) -> str:
    """A canonical choice with every path of a user's file replaced; what `change` returns is escaped."""

    def changed(name: str) -> str:
        return str(change(Path(_plain(name)))).translate(ESCAPES) if is_path(name) else name

    parts = []
    for part in split_layers(choice):
        name, options = _split(part)
        parts.append(_join(changed(name), {key: changed(value) for key, value in options.items()}))
    return join_layers(parts)


def relative_to(choice: str, folder: Path) -> str:
    """A canonical choice whose paths are written relative to a folder: `./code/encodings/mine.py:base=2`."""
    return map_paths(choice, lambda path: _dotted(os.path.relpath(path, folder.resolve())))


def _dotted(path: str) -> str:
    return path if path.startswith("..") else f"./{path}"


def _with_escaped_paths(text: str, folder: Path) -> str:
    """Escapes what stands in quotes, and the paths of existing files, the shortest at each place.

    `/c++/a,b/mine.py+none` is a path and a name.
    """
    text = _QUOTED.sub(lambda match: match[1].translate(ESCAPES), text)
    result, start = "", 0
    while start < len(text):
        ends = (match.end() for match in _PATH_END.finditer(text, start))
        end = next((end for end in ends if _is_file(_file(text[start:end].strip(), folder))), None)
        if end is not None:
            result += text[start:end].translate(ESCAPES)
            start = end
        following = _NEXT_NAME.search(text, start)
        stop = following.end() if following else len(text)
        result += text[start:stop]
        start = stop
    return result


def _file(name: str, folder: Path) -> Path:
    return folder / os.path.expanduser(name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
