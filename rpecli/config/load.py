"""Loads a recipe: defaults, then the file, then flags; every error at once with file, line, key and remedy."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rpecli import catalog
from rpecli.choice import ChoiceError, parse_choice
from rpecli.config import yaml_source as recipe_file
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Recipe, Settings
from rpecli.config.yaml_source import PER_TASK, Problem, RecipeError


@dataclass
class RecipeSource:
    """Where a recipe came from: its name, and where each key stands, for messages."""

    name: str = "default"
    where: dict[str, str] = field(default_factory=dict)

    def place(self, key: str, task: str) -> tuple[str, str]:
        """Where a task's value of a key stands, and under which keys: for all, or under the task."""
        names = [*(f"{PER_TASK}: {choice}: {key}" for choice in (task, parse_choice(task)[0])), key]
        name = next((name for name in names if name in self.where), key)
        return self.where.get(name, ""), name


def load(recipe: str | None = None, flags: dict[str, str] | None = None) -> tuple[Recipe, RecipeSource]:
    """The recipe of a name or path (None: the defaults) with `flags` on top. Raises RecipeError with every problem."""
    source, values, problems = RecipeSource(), dict[str, Any](), list[Problem]()
    if recipe is not None:
        path = _find(recipe)
        source.name = catalog.name_of(path) if path.stem != "recipe" else path.parent.name
        found = recipe_file.read(path)
        values, source.where, problems = found.values, found.where, found.problems
    for key, value in (flags or {}).items():
        key = key.replace("-", "_")
        _overrule(values, source, key)
        values[key], source.where[key] = value, f"--{key.replace('_', '-')}"
    made, wrong = _validate(values)
    problems += [_explain(item, source.where) for item in wrong]
    problems += _cross_field_errors(made, source, _uncertain_keys(values, wrong))
    if problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=_line))
    return made, source


def _overrule(values: dict[str, Any], source: RecipeSource, key: str) -> None:
    """A flag holds for every task: what `by_task` says of its key is gone, right or wrong."""
    tasks = values.get(PER_TASK)
    for task, settings in tasks.items() if isinstance(tasks, dict) else []:
        if isinstance(settings, dict):
            settings.pop(key, None)
            source.where.pop(f"{PER_TASK}: {task}: {key}", None)


def _validate(values: dict[str, Any]) -> tuple[Recipe, list[Any]]:
    """A recipe of the keys that are right, and pydantic's errors about the others."""
    try:
        return Recipe(**values), []
    except ValidationError as error:
        bad = {item["loc"][0] for item in error.errors()}
        return Recipe(**{key: value for key, value in values.items() if key not in bad}), error.errors()


def _uncertain_keys(values: dict[str, Any], wrong: list[Any]) -> set[str]:
    """Keys whose values are not what the file means: wrong ones, and those that a wrong `by_task` was to set."""
    keys = {str(item["loc"][0]) for item in wrong}
    tasks = values.get(PER_TASK)
    if PER_TASK in keys and isinstance(tasks, dict):
        keys |= {key for settings in tasks.values() if isinstance(settings, dict) for key in settings}
    return keys


def _line(problem: Problem) -> int:
    """The file's problems in its order, then those of flags."""
    line = problem.where.rpartition(":")[2]
    return int(line) if line.isdigit() else sys.maxsize


def _find(recipe: str) -> Path:
    try:
        return catalog.find("recipes", recipe)
    except ChoiceError as error:
        raise RecipeError([Problem("", "", str(error))]) from None


def _explain(error: Any, where: dict[str, str]) -> Problem:
    """One of pydantic's errors in the words of the user's file."""
    keys = [str(key) for key in error["loc"] if key != "[key]"][: 3 if error["loc"][0] == PER_TASK else 1]
    key, name, kind, given = keys[-1], ": ".join(keys), error["type"], error["input"]
    place = where.get(name, "")
    if kind == "extra_forbidden":
        return Problem(place, name, _unknown(key, one_task=len(keys) > 1))
    if given is None:
        return Problem(place, name, "is empty: write a value, or leave the line out")
    if kind == "value_error":
        return Problem(place, name, str(error["ctx"]["error"]))
    if kind in ("int_parsing", "float_parsing", "int_from_float", "int_type", "float_type"):
        default = Recipe.model_fields[key].default
        number = "a whole number" if kind.startswith("int") else "a number"
        return Problem(place, name, f"{given!r} is not {number}: write for example {1 if default is None else default}")
    if kind in ("dict_type", "model_type"):
        remedy = f"write a task, then its keys, in a file: {PER_TASK}: {{NAME: {{steps: 500}}}}"
        return Problem(place, name, f"{given!r:.60}: {remedy}")
    return Problem(place, name, f"{given!r:.60}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _unknown(key: str, one_task: bool) -> str:
    if one_task and key in Recipe.model_fields:
        return f"is for the whole recipe: write it outside {PER_TASK}"
    known = sorted((Settings if one_task else Recipe).model_fields)
    return f"unknown key: {catalog.nearest(key, known)}  (rpe check --keys)"


def _cross_field_errors(recipe: Recipe, source: RecipeSource, uncertain: set[str]) -> Iterator[Problem]:
    """What only several keys together can get wrong, as far as their values are known."""
    if not uncertain & {"task", PER_TASK} and not source.where.get("task", "").startswith("--"):
        yield from _unused_by_task(recipe, source)
    for task, keys, text in _cross_checks(recipe):
        if not uncertain & set(keys):
            places = [source.place(key, task) for key in keys]
            where, name = next((place for place in places if place[0]), places[0])
            yield Problem(where, name, text)


def _unused_by_task(recipe: Recipe, source: RecipeSource) -> Iterator[Problem]:
    """Tasks of `by_task` that the recipe has no run of; where a flag chose the tasks, some are left out on purpose."""
    known = sorted({*recipe.task, *(parse_choice(task)[0] for task in recipe.task)})
    for choice in recipe.by_task:
        if choice not in known:
            name = f"{PER_TASK}: {choice}"
            yield Problem(source.where.get(name, ""), name, f"is no task of this recipe: {catalog.nearest(choice, known)}")


def _cross_checks(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Task, keys (the one to change first) and what to write instead; of tasks with the same settings the first."""
    seen = set()
    for task in recipe.task:
        try:
            one = Settings(**recipe.settings(task))
        except ChoiceError as error:
            yield task, ("task",), str(error)
            continue
        alike = (one.length, one.min_length, one.lengths, one.d_model, one.n_head, one.normalizer, one.attention)
        if alike not in seen:
            seen.add(alike)
            yield from ((task, keys, text) for keys, text in _of_task(one, task))


def _of_task(one: Settings, task: str) -> Iterator[tuple[tuple[str, ...], str]]:
    if one.d_model % one.n_head:
        near = 2 * one.n_head * max(1, round(one.d_model / (2 * one.n_head)))  # even heads: rotations need pairs
        yield ("d_model", "n_head"), f"d_model={one.d_model} is not divisible by n_head={one.n_head}: d_model={near} is"
    if one.normalizer == "stick-breaking" and one.attention != "causal":
        yield ("normalizer", "attention"), "stick-breaking goes back from the newest token: write attention: causal"
    if one.min_length > one.length:
        text = f"{one.min_length} is above the training length {one.length} of {task}"
        yield ("min_length", "length", "task"), f"min_length={text}: lower it, or raise length"
    try:
        parse_lengths(one.lengths, one.length)
    except ValueError as error:
        yield ("lengths", "length", "task"), f"{error}  ({task} trains on length {one.length})"
