"""Loads a recipe: defaults, then the file, then flags; reports every error at once with file, line, key and remedy."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rpecli import catalog, trust
from rpecli.choice import ChoiceError, canonical, split_list, without_options
from rpecli.config import yaml_source
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, Recipe
from rpecli.config.settings import EMPTY, Settings
from rpecli.config.yaml_source import BY_TASK, Problem, RecipeError

RUN_KEYS = ("task", "encoding", "positions", "seed")  # lists in a recipe, one value in a run


@dataclass
class RecipeSource:
    """The name of a recipe, and the location (`file:line` or `--flag`) of each key, for messages."""

    name: str = "default"
    locations: dict[str, str] = field(default_factory=dict)

    def place(self, key: str, task: str) -> tuple[str, str]:
        """The location of a task's value of a key, and the key in full: `steps`, or `by_task: NAME: steps`."""
        names = [*(f"{BY_TASK}: {choice}: {key}" for choice in (task, without_options(task))), key]
        name = next((name for name in names if name in self.locations), key)
        return self.locations.get(name, ""), name


def load(recipe: str | None = None, flags: dict[str, str] | None = None) -> tuple[Recipe, RecipeSource]:
    """Loads a recipe by name or path (None: the defaults), with `flags` above it.

    Raises:
        RecipeError: with every error of the file and the flags.
    """
    source, values, problems = RecipeSource(), dict[str, Any](), list[Problem]()
    if recipe is not None:
        try:
            path = catalog.find("recipes", recipe)
        except ChoiceError as error:
            raise RecipeError([Problem("", "", str(error))]) from None
        source.name = catalog.name_of(path) if path.stem != "recipe" else path.parent.name
        file = yaml_source.read(path)
        values, source.locations, problems = file.values, file.locations, file.problems
        if not (path.parent / "run.json").exists():  # a run's recipe is not the user's own
            _allow(values)
    _allow(flags or {})
    for name, value in (flags or {}).items():
        key = name.replace("-", "_")
        _drop_by_task(values, source, key)
        values[key], source.locations[key] = value, f"--{key.replace('_', '-')}"
    loaded, errors = _validate(values)
    problems += [_explain(error, source.locations) for error in errors]
    problems += _cross_field_errors(loaded, source, _uncertain_keys(values, errors))
    if problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=_line_number))
    return loaded, source


def _allow(values: Mapping[str, Any]) -> None:
    """The files that these values name may run: the user named them."""
    texts = [values.get("task"), values.get("encoding"), list(values.get(BY_TASK) or [])]
    choices = [choice for text in texts for choice in (split_list(text) if isinstance(text, str) else text or [])]
    for choice in choices:
        with suppress(ChoiceError):  # the schema reports what is wrong with it
            trust.allow([canonical(choice)])


def load_config(path: Path) -> Config:
    """The one run that a run directory's recipe.yaml stands for. Its names need not exist here: reading results needs no code.

    Raises:
        RecipeError: with every error of the file.
    """
    file = yaml_source.read(path, written_by_rpe=True)
    problems, values = file.problems, dict[str, Any]()
    for key, value in file.values.items():
        if isinstance(value, list) and len(value) > 1 and key in RUN_KEYS:
            problems.append(Problem(file.locations[key], key, "the recipe of a run has one value: see its name"))
        values[key] = value[0] if isinstance(value, list) and len(value) == 1 else value
    try:
        config = Config.from_keys(**values)
    except ValidationError as error:
        problems += [_explain(item, file.locations) for item in error.errors()]
    if problems:
        raise RecipeError(problems)
    return config


def _drop_by_task(values: dict[str, Any], source: RecipeSource, key: str) -> None:
    """Drops a key under `by_task`, whether its value is valid or not: a flag holds for every task."""
    tasks = values.get(BY_TASK)
    for task, settings in tasks.items() if isinstance(tasks, dict) else []:
        if isinstance(settings, dict):
            settings.pop(key, None)
            source.locations.pop(f"{BY_TASK}: {task}: {key}", None)


def _validate(values: dict[str, Any]) -> tuple[Recipe, list[Any]]:
    """A recipe of the valid keys, and pydantic's errors about the others."""
    try:
        return Recipe(**values), []
    except ValidationError as error:
        invalid = {item["loc"][0] for item in error.errors()}
        return Recipe(**{key: value for key, value in values.items() if key not in invalid}), error.errors()


def _uncertain_keys(values: dict[str, Any], errors: list[Any]) -> set[str]:
    """Keys whose values are not what the file means: invalid ones, and those that an invalid `by_task` sets."""
    keys = {str(error["loc"][0]) for error in errors}
    tasks = values.get(BY_TASK)
    if BY_TASK in keys and isinstance(tasks, dict):
        keys |= {key for settings in tasks.values() if isinstance(settings, dict) for key in settings}
    return keys


def _line_number(problem: Problem) -> int:
    """Sorts the problems of the file by line, and those of flags behind them."""
    line = problem.location.rpartition(":")[2]
    return int(line) if line.isdigit() else sys.maxsize


def _explain(error: Any, locations: dict[str, str]) -> Problem:
    """One of pydantic's errors in terms of the user's file."""
    keys = [str(key) for key in error["loc"] if key != "[key]"][: 3 if error["loc"][0] == BY_TASK else 1]
    key, name, kind, value = keys[-1], ": ".join(keys), error["type"], error["input"]
    location = locations.get(name, "")
    if kind == "extra_forbidden":
        return Problem(location, name, _unknown_key(key, one_task=len(keys) > 1))
    if value is None:
        return Problem(location, name, EMPTY)
    if kind == "value_error":
        return Problem(location, name, str(error["ctx"]["error"]))
    if kind in ("int_parsing", "float_parsing", "int_from_float", "int_type", "float_type"):
        default = Recipe.model_fields[key].default
        number = "a whole number" if kind.startswith("int") else "a number"
        return Problem(location, name, f"{value!r} is not {number}: write for example {1 if default is None else default}")
    if kind in ("dict_type", "model_type"):
        remedy = f"write settings of single tasks in a file: {BY_TASK}: {{NAME: {{steps: 500}}}}"
        return Problem(location, name, f"{value!r:.60}: {remedy}")
    return Problem(location, name, f"{value!r:.60}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _unknown_key(key: str, one_task: bool) -> str:
    if one_task and key in Recipe.model_fields:
        return f"applies to the whole recipe: write it outside {BY_TASK}"
    keys = sorted((Settings if one_task else Recipe).model_fields)
    return f"unknown key: {catalog.nearest(key, keys)}  (rpe check --keys)"


def _cross_field_errors(recipe: Recipe, source: RecipeSource, uncertain: set[str]) -> Iterator[Problem]:
    """Errors of several keys together, as far as the values of these keys are certain."""
    if not uncertain & {"task", BY_TASK} and not source.locations.get("task", "").startswith("--"):
        yield from _unused_by_task(recipe, source)
    for task, keys, message in _conflicts(recipe):
        if not uncertain & set(keys):
            places = [source.place(key, task) for key in keys]
            location, name = next((place for place in places if place[0]), places[0])
            yield Problem(location, name, message)


def _unused_by_task(recipe: Recipe, source: RecipeSource) -> Iterator[Problem]:
    """Tasks under `by_task` that the recipe does not train. Where a flag chooses the tasks, this is not an error."""
    trained = sorted({*recipe.task, *map(without_options, recipe.task)})
    for task in recipe.by_task:
        if task not in trained:
            name = f"{BY_TASK}: {task}"
            message = f"is not a task of this recipe: {catalog.nearest(task, trained)}"
            yield Problem(source.locations.get(name, ""), name, message)


def _conflicts(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Task, keys (the one to change first) and message of each conflict, once for all tasks with the same settings."""
    checked = set()
    for task in recipe.task:
        try:
            settings = Settings(**recipe.settings(task))
        except ChoiceError as error:
            yield task, ("task",), str(error)
            continue
        key = (settings.length, settings.min_length, settings.lengths, settings.d_model, settings.n_head,
               settings.normalizer, settings.attention)  # fmt: skip
        if key not in checked:
            checked.add(key)
            yield from ((task, keys, message) for keys, message in _conflicts_of_task(settings, task))


def _conflicts_of_task(settings: Settings, task: str) -> Iterator[tuple[tuple[str, ...], str]]:
    width, heads = settings.d_model, settings.n_head
    if width % heads:
        near = 2 * heads * max(1, round(width / (2 * heads)))  # even head widths: rotations need pairs
        yield ("d_model", "n_head"), f"d_model={width} is not divisible by n_head={heads}: d_model={near} is"
    if settings.normalizer == "stick-breaking" and settings.attention != "causal":
        yield ("normalizer", "attention"), "stick-breaking needs causal attention: write attention: causal"
    if settings.min_length > settings.length:
        message = f"min_length={settings.min_length} is above the training length {settings.length} of {task}"
        yield ("min_length", "length", "task"), f"{message}: lower it, or raise length"
    try:
        parse_lengths(settings.lengths, settings.length)
    except ValueError as error:
        yield ("lengths", "length", "task"), f"{error}  ({task} trains on length {settings.length})"
