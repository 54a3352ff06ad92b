"""How a choice of encoding or task is written: `rope:base=500+none`, `rope:then=none`, `./mine.py`."""

import re
from pathlib import Path


class ChoiceError(ValueError):
    """An encoding, task or recipe that does not exist or does not load, or an option that it does not have."""


def is_path(name: str) -> bool:
    """Whether a name is the path of a user's own file."""
    return Path(name).suffix in (".py", ".yaml", ".yml")


def parse_choice(text: str) -> tuple[str, dict[str, str]]:
    """Splits a choice into its name and its options: `sort:distinct=false` -> ("sort", {"distinct": "false"}).

    Raises:
        ChoiceError: a part is not `option=value`, or an option is given twice.
    """
    name, *parts = text.strip().split(":")
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise ChoiceError(f"{text!r}: {part!r} is not option=value; write NAME:option=value:option=value")
        key = key.strip().replace("-", "_")
        if key in options:
            raise ChoiceError(f"{text!r}: option {key} is given twice; keep one")
        options[key] = value.strip()
    return name.strip(), options


def split_layers(text: str) -> list[str]:
    """The encodings that alternate over the layers: `rope+none` -> ["rope", "none"].

    A plus before a digit is part of a number (`rope:base=1e+4`).
    """
    return re.split(r"\+(?=[A-Za-z./~])", text.strip())


def split_switch(text: str) -> tuple[str, str | None]:
    """The encodings before and after the switch: `rope:then=none` -> ("rope", "none"); (text, None) without a switch."""
    before, after = [], []
    for part in split_layers(text):
        name, options = parse_choice(part)
        then = options.pop("then", None)
        before.append(":".join([name, *(f"{key}={value}" for key, value in options.items())]))
        after.append(then or before[-1])
    return "+".join(before), None if before == after else "+".join(after)


def canonical(text: str) -> str:
    """The one spelling of a choice: hyphens in the name, absolute paths, options in alphabetical order."""
    return "+".join(_canonical_part(part) for part in split_layers(text))


def _canonical_part(text: str) -> str:
    name, options = parse_choice(text)
    name = str(Path(name).expanduser().resolve()) if is_path(name) else name.replace("_", "-")
    return ":".join([name, *(f"{key}={value}" for key, value in sorted(options.items()))])
