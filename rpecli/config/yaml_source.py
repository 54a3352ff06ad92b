"""Reads a recipe's YAML as plain text, with the line of every key and every error of the file itself."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rpecli.choice import ChoiceError, canonical, split_list, without_options

if TYPE_CHECKING:
    from rpecli.config.recipe import Recipe

CHOICES = ("task", "encoding")  # the keys whose values may be paths, which are relative to the folder of the file
EVAL_TASK = "eval_task"  # and the one with a single such value, which may stand under a task, an encoding or `vary` too
LOADER = yaml.BaseLoader  # every scalar is text
C_LOADER = getattr(yaml, "CBaseLoader", LOADER)
MAX_C_TEXT = 1 << 12  # characters: deeper nesting would overflow the stack of the C code
BY_TASK, BY_ENCODING = "by_task", "by_encoding"  # keys whose values have keys: names, and under each name the keys of a run
VARY, EXCLUDE = "vary", "exclude"
LR_SEARCH = "lr_search"
IN_FILES = (VARY, EXCLUDE, BY_TASK, BY_ENCODING)  # keys that no flag has

NAMED = ((BY_TASK,), (BY_ENCODING,))  # below which keys are names


@dataclass(frozen=True)
class Problem:
    """One error: its location (`file:line` or `--flag`), its key, and a message that says what to write instead."""

    location: str
    key: str
    message: str

    def __str__(self) -> str:
        key = "" if self.location.startswith("--") else self.key
        return ": ".join(part for part in (self.location, key, self.message) if part)


class RecipeError(ValueError):
    """Every error of a recipe, in the order of the file; with what is valid of it, and its source, where it could be read."""

    def __init__(self, problems: Iterable[Problem], valid: "Recipe | None" = None, source: "RecipeSource | None" = None):
        self.problems, self.valid, self.source = list(problems), valid, source
        super().__init__("\n".join(map(str, self.problems)))


@dataclass
class YamlSource:
    """What a file holds: values as plain text, and locations (`file:line`) by key, where `by_task: NAME: steps` is one key."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    locations: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class RecipeSource:
    """The name of a recipe, and the location (`file:line` or `--flag`) of each key, for messages."""

    name: str = "default"
    locations: dict[str, str] = field(default_factory=dict)

    def is_flag(self, key: str) -> bool:
        """Whether a flag gave the key, so that what the file says of it may be of no use for this command."""
        return self.locations.get(key, "").startswith("--")

    def place(self, key: str, task: str, encoding: str = "") -> tuple[str, str]:
        """The location of the value of a key that a task's runs with an encoding have, and the key in full.

        That is `steps`, `vary: steps`, `by_task: NAME: steps` or `by_encoding: NAME: steps`.
        """
        own = ((BY_ENCODING, encoding), (BY_TASK, task))
        names = [f"{parent}: {choice}: {key}" for parent, one in own for choice in (one, without_options(one))]
        names += [name for name in self.locations if name.startswith(f"{VARY}: ") and key in re.split(r"[ /]+", name)]
        names.append(key)
        name = next((name for name in names if name in self.locations), key)
        return self.locations.get(name, ""), name


def read(path: Path, written_by_rpe: bool = False, text: str | None = None) -> YamlSource:
    """Reads a file, or its text; repeated keys and values of the wrong kind are collected as problems.

    What rpe wrote is read faster.

    Raises:
        RecipeError: the file is not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8") if text is None else text
        root = yaml.compose(text, Loader=C_LOADER if written_by_rpe and len(text) < MAX_C_TEXT else LOADER)
    except RecursionError:
        raise RecipeError([Problem(f"{path}:1", "", "nested too deeply: a recipe consists of lines `key: value`")]) from None
    except UnicodeDecodeError:
        raise RecipeError([Problem(f"{path}", "", "not YAML: it is no text in UTF-8")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RecipeError([Problem(f"{path}{line}", "", f"not YAML: {reason}")]) from None
    source = YamlSource(path)
    if root is None:
        return source
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError([Problem(f"{path}:1", "", "a recipe must consist of lines `key: value`")])
    source.values = _read_mapping(source, root, ())
    return source


def _read_mapping(source: YamlSource, mapping: yaml.MappingNode, parents: tuple[str, ...]) -> dict[str, Any]:
    """The values of a mapping that stands under the keys `parents`; locations and problems go to `source`."""
    values: dict[str, Any] = {}
    for key_node, value_node in mapping.value:
        location = f"{source.path}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            message = "a recipe must consist of lines `key: value`, and a key is one word"
            source.problems.append(Problem(location, ": ".join(parents), message))
            continue
        key = _canonical(str(key_node.value), source.path) if parents in NAMED else str(key_node.value)
        name = ": ".join([*parents, key])
        if name in source.locations:
            message = f"is given twice (first at {source.locations[name]}): keep one"
            source.problems.append(Problem(location, name, message))
            continue
        source.locations[name] = location
        may_nest = parents in NAMED or (not parents and key in (BY_TASK, BY_ENCODING, VARY))
        if isinstance(value_node, yaml.ScalarNode):
            values[key] = _scalar(value_node)
            if not parents and key in CHOICES and values[key]:
                values[key] = [_canonical(choice, source.path) for choice in split_list(values[key], source.path.parent)]
            elif key == EVAL_TASK and values[key]:
                values[key] = _canonical(values[key], source.path)
        elif may_nest and isinstance(value_node, yaml.MappingNode):
            values[key] = _read_mapping(source, value_node, (*parents, key)) if value_node.value else None
        elif all(isinstance(item, yaml.ScalarNode) for item in value_node.value):
            values[key] = [str(item.value) for item in value_node.value]
            if key == EVAL_TASK or (not parents and key in CHOICES):
                values[key] = [_canonical(choice, source.path) for choice in values[key]]
        else:
            remedy = f"write options as NAME:option=value, and settings of one task under {BY_TASK}"
            source.problems.append(Problem(location, name, f"takes a value or a list of values, nothing nested; {remedy}"))
    return values


def _canonical(choice: str, file: Path) -> str:
    """The canonical spelling, with paths relative to the folder of the file; the schema reports what is wrong with a choice."""
    with suppress(ChoiceError):
        return canonical(choice, file.parent)
    return choice


def _scalar(node: yaml.ScalarNode) -> str | None:
    text = str(node.value)
    return None if not node.style and text in ("", "null", "~") else text
