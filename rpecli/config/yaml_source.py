"""Reads the YAML of a recipe as plain text, with the place of every key and everything that the file itself gets wrong."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rpecli.choice import ChoiceError, canonical

PER_TASK = "by_task"  # the one key whose value has keys: tasks, and under each of them keys of a run


@dataclass(frozen=True)
class Problem:
    """One thing wrong, where it stands (`file:line` or `--flag`), under which key, and what to type instead."""

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        key = "" if self.where.startswith("--") else self.key
        return ": ".join(part for part in (self.where, key, self.text) if part)


class RecipeError(ValueError):
    """Everything wrong with a recipe, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass
class Read:
    """Keys to plain text; `steps` and `by_task: NAME: steps` to `file:line`; syntax, repeated keys, values of no use."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read(path: Path) -> Read:
    """What a file says. Raises RecipeError where it is no YAML, or no lines of `key: value`."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RecipeError([Problem(f"{path}{line}", "", f"not YAML: {reason}")]) from None
    found = Read(path)
    if root is None:
        return found
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError([Problem(f"{path}:1", "", "a recipe is lines of `key: value`")])
    found.values = _pairs(found, root, ())
    return found


def _pairs(into: Read, mapping: yaml.MappingNode, above: tuple[str, ...]) -> dict[str, Any]:
    """The pairs of a mapping under the keys `above`."""
    values: dict[str, Any] = {}
    for key_node, value_node in mapping.value:
        here = f"{into.path}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            into.problems.append(Problem(here, ": ".join(above), "a recipe is lines of `key: value`, and a key is one word"))
            continue
        key = _one_spelling(str(key_node.value)) if above == (PER_TASK,) else str(key_node.value)
        name = ": ".join([*above, key])
        if name in into.where:
            into.problems.append(Problem(here, name, f"stands twice (first at {into.where[name]}): keep one"))
            continue
        into.where[name] = here
        nests = above == (PER_TASK,) or (not above and key == PER_TASK)
        if isinstance(value_node, yaml.ScalarNode):
            values[key] = _plain(value_node)
        elif nests and isinstance(value_node, yaml.MappingNode):
            values[key] = _pairs(into, value_node, (*above, key)) if value_node.value else None
        elif all(isinstance(item, yaml.ScalarNode) for item in value_node.value):
            values[key] = [str(item.value) for item in value_node.value]
        else:
            remedy = f"options go as NAME:option=value, settings of one task under {PER_TASK}"
            into.problems.append(Problem(here, name, f"takes a value or a list of values, no more; {remedy}"))
    return values


def _one_spelling(choice: str) -> str:
    with suppress(ChoiceError):  # the schema says what is wrong with it
        return canonical(choice)
    return choice


def _plain(node: yaml.ScalarNode) -> str | None:
    text = str(node.value)
    return None if not node.style and text in ("", "null", "~") else text
