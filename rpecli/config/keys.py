"""The keys of a recipe as help and documentation show them: group, type, default and meaning, read from the schema."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from rpecli import catalog
from rpecli.choice import ChoiceError
from rpecli.config.recipe import Recipe, task_defaults
from rpecli.config.settings import EvalSettings, LengthSettings, ModelSettings, OptimizationSettings, Settings

GROUPS = {
    "What": {name: field for name, field in Recipe.model_fields.items() if name not in Settings.model_fields},
    "Length": LengthSettings.model_fields,
    "Training": OptimizationSettings.model_fields,
    "Model": ModelSettings.model_fields,
    "Evaluation": EvalSettings.model_fields,
}
NUMBERS = {int: "INT", float: "FLOAT"}
TYPES = {**NUMBERS, str: "TEXT", dict: "MAPPING"}


@dataclass(frozen=True)
class RecipeKey:
    """One key: `default` is empty where there is none."""

    name: str
    group: str
    type: str  # INT, FLOAT, TEXT, or the choices as [softmax|stick-breaking]
    default: str
    meaning: str


def recipe_keys() -> list[RecipeKey]:
    """Every key of a recipe, group by group."""
    return [
        RecipeKey(name, group, type_text(field.annotation), default_text(field.default), field.description or "")
        for group, fields in GROUPS.items()
        for name, field in fields.items()
    ]


@cache
def keys_set_by_tasks() -> set[str]:
    """The keys that a shipped task sets a default for; a task that does not load is an error elsewhere, not in the help."""
    keys: set[str] = set()
    with suppress(ChoiceError):
        for task in catalog.names("tasks"):
            keys |= task_defaults(task).keys()
    return keys


def type_text(annotation: Any) -> str:
    """How help writes a type: `int` -> `INT`, `Literal["a", "b"]` -> `[a|b]`, `list[int]` -> `INT,...`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin in (Union, UnionType):
        return "|".join(type_text(argument) for argument in arguments if argument is not NoneType)
    if origin is Literal:
        return f"[{'|'.join(map(str, arguments))}]"
    if origin is list:
        return f"{NUMBERS.get(arguments[0], 'NAME')},..."
    return TYPES[origin or annotation]


def default_text(default: Any) -> str:
    """How help writes a default; empty where there is none."""
    if default in (None, {}, []):
        return ""
    return ",".join(map(str, default)) if isinstance(default, list) else str(default)
