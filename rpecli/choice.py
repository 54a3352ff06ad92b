"""How a choice is written: `rope:base=500+none`, `rope:then=none`, `./mine.py`."""

import re
from pathlib import Path


class ChoiceError(ValueError):
    """An encoding, task or recipe that does not exist, does not load or was given an option it does not have."""


def is_path(name: str) -> bool:
    return Path(name).suffix in (".py", ".yaml", ".yml")


def parse_choice(text: str) -> tuple[str, dict[str, str]]:
    """`sort:distinct=false` -> ("sort", {"distinct": "false"}). Raises ChoiceError on a part without `=`."""
    name, *parts = text.strip().split(":")
    options = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise ChoiceError(f"{text!r}: {part!r} is not option=value; write NAME:option=value:option=value")
        key = key.strip().replace("-", "_")
        if key in options:
            raise ChoiceError(f"{text!r}: option {key} stands twice: keep one")
        options[key] = value.strip()
    return name.strip(), options


def split_layers(text: str) -> list[str]:
    """`rope+none` (encodings that take turns over the layers) -> ["rope", "none"]; a plus before a digit is part of a number."""
    return re.split(r"\+(?=[A-Za-z./~])", text.strip())


def split_switch(text: str) -> tuple[str, str | None]:
    """`rope:then=none` (an encoding that another takes the place of) -> ("rope", "none"); (text, None) where nothing changes."""
    first, later = [], []
    for part in split_layers(text):
        name, options = parse_choice(part)
        then = options.pop("then", None)
        first.append(":".join([name, *(f"{key}={value}" for key, value in options.items())]))
        later.append(then or first[-1])
    return "+".join(first), None if first == later else "+".join(later)


def canonical(text: str) -> str:
    """One spelling for each choice: hyphens in the name, whole paths, options sorted."""
    return "+".join(_canonical(part) for part in split_layers(text))


def _canonical(text: str) -> str:
    name, options = parse_choice(text)
    name = str(Path(name).expanduser().resolve()) if is_path(name) else name.replace("_", "-")
    return ":".join([name, *(f"{k}={v}" for k, v in sorted(options.items()))])
