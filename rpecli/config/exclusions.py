"""What `exclude` leaves out of a recipe: lines of conditions, of which a run must meet every one of some line.

exclude:
  - encoding=learned and positions=randomized
  - positions=offset and encoding!=learned
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, without_options
from rpecli.config.ranges import parse_seeds
from rpecli.config.settings import Settings, check_choice, check_positions, checked, list_items
from rpecli.config.sweep import OWN_LISTS, PAIRED, TEXTS, Point, parse_axis

EXAMPLE = "encoding=learned and positions=randomized"
KINDS = {"task": "tasks", "encoding": "encodings"}
AND = re.compile(r"\s+and(?=\s|$)")
CONDITION = re.compile(r"(?P<key>[\w/ -]+?)\s*(?P<sign>!?=)\s*(?P<value>[^\s=!].*)", re.DOTALL)
OTHER_WORD = re.compile(r"(?:^|\s)(and|or|not|but|&{1,2}|\|{1,2}|;)(?:\s|$)|(&&|\|\|)", re.IGNORECASE)
OTHER_SIGN = re.compile(r"[=!<>~]{2,}|[<>~]|=\s*[=!]|!\s+=")


@dataclass(frozen=True)
class Condition:
    """`lr=0.003`, or with `negated` `lr!=0.003`; keys with `/` between them are compared together."""

    text: str
    wanted: dict[str, Any]  # by key
    negated: bool

    def holds(self, keys: Mapping[str, Any]) -> bool:
        """Whether the keys of a run meet it. A name without options stands for any options."""
        return all(_equals(key, keys[key], value) for key, value in self.wanted.items()) != self.negated


@dataclass(frozen=True)
class Exclusion:
    """One line of `exclude`."""

    text: str
    conditions: list[Condition]

    @property
    def keys(self) -> set[str]:
        return {key for condition in self.conditions for key in condition.wanted}

    def leaves_out(self, keys: Mapping[str, Any]) -> bool:
        return all(condition.holds(keys) for condition in self.conditions)

    def of_no_use(self, runs: Iterable[Mapping[str, Any]]) -> str | None:
        """Why it leaves out none of these runs; None where it does."""
        members = list(runs)
        if any(map(self.leaves_out, members)):
            return None
        unmet = [one.text for one in self.conditions if not any(map(one.holds, members))]
        why = f"no run of this recipe has {unmet[0]}" if unmet else "no run of this recipe meets all of its conditions"
        return f"{self.text!r} leaves out nothing, because {why}: change the line or remove it"


def _equals(key: str, own: Any, wanted: Any) -> bool:
    return wanted in (own, without_options(own)) if key in KINDS else bool(own == wanted)


def parse_exclusions(value: Any) -> list[Exclusion]:
    """The lines of `exclude`. Raises ValueError for a text that is not understood, saying what to write instead."""
    return checked(parse_exclusion, list_items(value if isinstance(value, list) else [value]))


def parse_exclusion(text: str) -> Exclusion:
    """The conditions of a line, with `and` between them. Raises ValueError."""
    try:
        conditions = list(map(_condition, _parts(text)))
        for number, condition in enumerate(conditions):
            for other in conditions[:number]:
                _check_pair(other, condition)
    except ValueError as error:  # a ChoiceError too
        told = str(error)
        raise ValueError(told if told.startswith(repr(text)) else f"{text!r}: {told}") from None
    return Exclusion(text, conditions)


def in_folder(text: str, folder: Path) -> str:
    """A line with absolute paths, which are relative to the folder of its recipe; as it is where it is not understood."""
    matches = [_match(part) for part in AND.split(f" {text}")]
    try:
        return " and ".join(_in_folder(match, folder) for match in matches if match) if all(matches) else text
    except ChoiceError:
        return text


def _in_folder(match: re.Match[str], folder: Path) -> str:
    value = canonical(match["value"], folder) if match["key"] in KINDS else match["value"]
    return f"{match['key']}{match['sign']}{value}"


def _parts(text: str) -> list[str]:
    """The conditions as they are written. Raises ValueError for an empty one."""
    parts = [part.strip() for part in AND.split(f" {text}")]
    if not all(parts):
        raise ValueError(f"a condition is missing beside `and`: write {EXAMPLE}")
    return parts


def _match(part: str) -> re.Match[str] | None:
    return CONDITION.fullmatch(part.strip())


def _condition(part: str) -> Condition:
    match = _match(part)
    if match is None or OTHER_WORD.search(part) or "!=" in match["value"]:
        raise ValueError(_advice(part))
    key, sign, value = match["key"].strip(), match["sign"], match["value"].strip()
    return Condition(f"{key}{sign}{value}", _wanted(key, sign, value), sign == "!=")


def _advice(part: str) -> str:
    """What is wrong with a condition that is none, and what to write."""
    if match := OTHER_WORD.search(part):
        word = match[1] or match[2]
        if word.lower() in ("or", "|", "||"):
            return f"{word!r}: write each side in a line of its own below exclude; a line has `and` alone"
        if word.lower() in ("not", "but"):
            return f"{word!r}: write key!=value, such as {EXAMPLE.replace('=', '!=', 1)}"
        return f"{word!r} is not `and`: write {EXAMPLE}"
    if OTHER_SIGN.search(part):
        return f"{part!r} is neither key=value nor key!=value: write for example encoding=learned or lr!=0.003"
    return f"{part!r} is not key=value: write {EXAMPLE}"


def _wanted(key: str, sign: str, value: str) -> dict[str, Any]:
    """The value of each key of a condition. Raises ValueError for an unknown key or name, and for several values."""
    known = sorted({*OWN_LISTS, *Settings.model_fields})
    for name in (name.strip() for name in key.split(PAIRED)):
        if name not in known:
            raise ValueError(f"unknown key {name!r}: {catalog.nearest(name, known)}")
        if name in OWN_LISTS and PAIRED in key:
            raise ValueError(f"{name} is compared by itself: write {EXAMPLE}")
    if "," in value and key not in TEXTS:
        first, *others = (one.strip() for one in value.split(","))
        if any("=" in one for one in others):
            raise ValueError(f"conditions have `and` between them: write {' and '.join([f'{key}{sign}{first}', *others])}")
        each = [f"{key}{sign}{one}" for one in (first, *others)]
        raise ValueError(f"a condition has one value: write {' and '.join(each)}{'' if sign == '!=' else ' in separate lines'}")
    if key in KINDS:
        return {key: check_choice(KINDS[key], value)}
    points = _points(key, value)
    if len(points) != 1:
        raise ValueError(f"{value!r} is {len(points)} values, and a condition has one: write a line for each")
    return points[0]


def _points(key: str, value: str) -> list[Point]:
    """The values that a text stands for: of seeds and of other keys it may be a range. Raises ValueError."""
    if key == "seed":
        return [{key: seed} for seed in parse_seeds(value)]
    if key == "positions":
        return [{key: check_positions(value)}]
    return parse_axis(key, [value])


def _check_pair(first: Condition, second: Condition) -> None:
    """Raises ValueError where a run meets both whenever it meets one, or never."""
    if first.wanted == second.wanted:
        raise ValueError(f"{first.text} and {second.text} are about one value: keep one of them")
    if first.wanted.keys() == second.wanted.keys() and not (first.negated or second.negated):
        raise ValueError(f"no run has both {first.text} and {second.text}: write them in separate lines")
