"""Names as people know them: `RoPE (scaling=yarn)` for `rope:scaling=yarn`, `Sort (distinct)` for `sort:distinct=true`.

A file states its own name as the class attribute `title`; without one, its name is what is typed, or the stem of a user's file.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.choice import DATA, ChoiceError, is_path, neighbours, parse_choice, split_layers, split_switch

ABSOLUTE = "APE"  # the group whose encodings are marked as such


def display(kind: str, choice: str, marked: bool = False) -> str:
    """The name of a whole choice of `kind` (encodings or tasks): `RoPE + NoPE`, `RoPE, then NoPE`, `Sort (distinct)`.

    With `marked`, an absolute encoding says so: `Learned APE`. A name that is not there, such as that of a file on another
    machine, stands as it is.
    """
    before, after = split_switch(choice)
    return ", then ".join(_phase(kind, phase, marked) for phase in (before, after) if phase)


def _phase(kind: str, choice: str, marked: bool) -> str:
    """`3x RoPE + NoPE`."""
    parts = ((_part(kind, part, marked), number) for part, number in neighbours(split_layers(choice)))
    return " + ".join(part if number == 1 else f"{number}x {part}" for part, number in parts)


def display_trained(choice: str, positions: str = "start", marked: bool = False) -> str:
    """An encoding with the positions that it was trained at: `RoPE, randomized positions`."""
    return display("encodings", choice, marked) + ("" if positions == "start" else f", {positions} positions")


def is_own(choice: str) -> bool:
    """Whether a choice of an encoding begins with a user's own file, given by its path or, in a label, by its stem."""
    name = parse_choice(split_layers(choice)[0])[0]
    return is_path(name) or name.replace("_", "-") not in catalog.names("encodings")


def own_name(path: Path) -> str:
    """The name of a user's file: its stem, or `own-rope` where that is the name of an encoding or a task that ships."""
    name = catalog.name_of(path)
    return f"own-{name}" if name in _shipped() else name


@cache
def _shipped() -> frozenset[str]:
    return frozenset(catalog.names("encodings") + catalog.names("tasks"))


def constants(kind: str, name: str) -> dict[str, Any]:
    """The literal class attributes of a shipped name or a user's file; empty where there is no such file."""
    with suppress(ChoiceError, OSError):
        return catalog.class_constants(catalog.find(kind, name))
    return {}


def _part(kind: str, part: str, marked: bool) -> str:
    name, options = parse_choice(part)
    stated = constants(kind, name)
    title = str(stated.get("title") or (own_name(Path(name)) if is_path(name) else name))
    title += f" {ABSOLUTE}" if marked and stated.get("group") == ABSOLUTE else ""
    words = ", ".join(_words(key, value) for key, value in options.items())
    return f"{title} ({words})" if words else title


def _words(key: str, value: str) -> str:
    """An option in words: a flag by its key, a file of data by its name."""
    return key if value == "true" else Path(value).name if key in DATA else f"{key}={value}"
