"""Loads a recipe: defaults, then the file, then flags; reports errors together, with file, line, key and remedy.

An error that depends on what is wrong elsewhere is told when that is mended: the lengths of a misspelt task, or what a line of
`exclude` leaves out of runs that are not known.
"""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rpecli import catalog, trust
from rpecli.choice import ChoiceError, canonical, split_list
from rpecli.config import yaml_source
from rpecli.config.conflicts import cross_field_errors
from rpecli.config.exclusions import in_folder
from rpecli.config.recipe import Config, Recipe
from rpecli.config.settings import EMPTY, Settings
from rpecli.config.sweep import PAIRED
from rpecli.config.yaml_source import (
    BY_ENCODING,
    BY_TASK,
    CHOICES,
    EXCLUDE,
    IN_FILES,
    LR_SEARCH,
    VARY,
    Problem,
    RecipeError,
    RecipeSource,
)

SEED = re.compile(r"^seed: ([0-9]{1,9})$", re.MULTILINE)
NO_SEED = "seed: 4294967291"  # no seed of ten digits has the form of SEED
OWN_FILES = re.compile(r"/|path=|\.(?:py|ya?ml)")  # what a choice of the user's files or data has in it
RUN_KEYS = ("task", "encoding", "positions", "seed")  # lists in a recipe, one value in a run


def load(recipe: str | None = None, flags: dict[str, str] | None = None, dashes: str = "--") -> tuple[Recipe, RecipeSource]:
    """Loads a recipe by name or path (None: the defaults), with `flags` above it, which Python writes without `dashes`.

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
        if lines := values.get(EXCLUDE):
            values[EXCLUDE] = [in_folder(line, path.parent) for line in ([lines] if isinstance(lines, str) else lines)]
        if not (path.parent / "run.json").exists():  # a run's recipe is not the user's own
            _allow(values)
    _allow(flags or {})
    for name, value in (flags or {}).items():
        key = name.replace("-", "_")
        _drop_below(values, source, key)
        values[key], source.locations[key] = value, f"{dashes}{key.replace('_', '-')}" if dashes else ""
    loaded, errors = _validate(values)
    problems += [_explain(error, source.locations) for error in errors]
    problems += cross_field_errors(loaded, source, _uncertain_keys(values, errors))
    if problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=line_number), loaded, source)
    return loaded, source


def load_evaluation(flags: dict[str, str], dashes: str = "--") -> Recipe:
    """Flags about the evaluation of runs that there are: whether lengths suit what a run was trained on is known run by run.

    Raises:
        RecipeError: with every error of the flags by themselves.
    """
    values: dict[str, Any] = {name.replace("-", "_"): value for name, value in flags.items()}
    locations = {key: f"{dashes}{key.replace('_', '-')}" if dashes else "" for key in values}
    loaded, errors = _validate(values)
    if errors:
        raise RecipeError(dict.fromkeys(_explain(error, locations) for error in errors))
    return loaded


def _allow(values: Mapping[str, Any]) -> None:
    """The files that these values name may run: the user named them."""
    texts = [values.get("task"), values.get("encoding"), list(values.get(BY_TASK) or []), list(values.get(BY_ENCODING) or [])]
    choices = [choice for text in texts for choice in (split_list(text) if isinstance(text, str) else text or [])]
    for choice in choices:
        with suppress(ChoiceError):  # the schema reports what is wrong with it
            trust.allow([canonical(choice)])


def load_config(path: Path) -> Config:
    """The one run that a run directory's recipe.yaml stands for. Its names need not exist here: reading results needs no code.

    Raises:
        RecipeError: with every error of the file.
    """
    with suppress(UnicodeDecodeError):  # an error of the file, told below
        text = path.read_text(encoding="utf-8")
        (seed, *more) = SEED.findall(text) or [""]
        if seed and not more and not OWN_FILES.search(text) and (config := _config_but_seed(SEED.sub(NO_SEED, text))):
            return config.model_copy(update={"seed": int(seed)})
    return _parsed_config(path)


@lru_cache(maxsize=1024)
def _config_but_seed(text: str) -> Config | None:
    """The run of a recipe that names no files, for all its seeds: a thousand runs have few recipes. None for a wrong one."""
    with suppress(RecipeError):
        config = _parsed_config(Path(), text)
        return config if f"seed: {config.seed}" == NO_SEED else None
    return None


def _parsed_config(path: Path, text: str | None = None) -> Config:
    file = yaml_source.read(path, written_by_rpe=True, text=text)
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


def _drop_below(values: dict[str, Any], source: RecipeSource, key: str) -> None:
    """Drops a key under `by_task`, `by_encoding` and `vary`, and its search, whether its value is valid or not.

    A flag holds for every run.
    """
    for parent in (BY_TASK, BY_ENCODING):
        names = values.get(parent)
        for name, settings in names.items() if isinstance(names, dict) else []:
            if isinstance(settings, dict):
                settings.pop(key, None)
                source.locations.pop(f"{parent}: {name}: {key}", None)
    if key == "lr" and not source.is_flag(LR_SEARCH):  # two flags are an error
        values.pop(LR_SEARCH, None)
        source.locations.pop(LR_SEARCH, None)
    axes = values.get(VARY)
    axes = axes if isinstance(axes, dict) else {}
    for axis in [axis for axis in axes if key in axis.split(PAIRED)]:
        if PAIRED in axis:
            raise RecipeError([Problem(f"--{key.replace('_', '-')}", key, f"{axis} vary together: change the recipe")])
        del axes[axis]
        source.locations.pop(f"{VARY}: {axis}", None)


def _validate(values: dict[str, Any]) -> tuple[Recipe, list[Any]]:
    """A recipe of what is valid, and pydantic's errors about the rest."""
    try:
        return Recipe(**values), []
    except ValidationError as error:
        invalid = {str(item["loc"][0]) for item in error.errors()}
        valid = {key: value for key, value in values.items() if key not in invalid}
        parts = {key: _valid_part(key, values[key]) for key in invalid & {*CHOICES, *IN_FILES} & values.keys()}
        return Recipe(**valid, **{key: part for key, part in parts.items() if part}), error.errors()


def _valid_part(key: str, value: Any) -> Any:
    """The valid items of a list, the valid names of a mapping, and under `by_task` and `by_encoding` the valid keys of each."""
    if not isinstance(value, dict):
        items = split_list(value) if isinstance(value, str) else value or []
        return [item for item in items if _is_valid(key, [item])]
    if key == VARY:
        return {axis: values for axis, values in value.items() if _is_valid(key, {axis: values})}
    known = {name: settings for name, settings in value.items() if _is_valid(key, {name: {}})}
    return {name: _valid_settings(key, name, settings) for name, settings in known.items()}


def _valid_settings(key: str, name: str, settings: Any) -> dict[str, Any]:
    """The valid settings of a name under `by_task` or `by_encoding`."""
    items = settings.items() if isinstance(settings, dict) else []
    return {own: text for own, text in items if _is_valid(key, {name: {own: text}})}


def _is_valid(key: str, value: Any) -> bool:
    with suppress(ValidationError):
        return bool(Recipe(**{key: value}))
    return False


def _uncertain_keys(values: dict[str, Any], errors: list[Any]) -> set[str]:
    """Keys whose values are not what the file means: invalid ones, and those that an invalid `by_task` or `by_encoding` sets."""
    keys = {str(error["loc"][0]) for error in errors}
    for parent in {BY_TASK, BY_ENCODING} & keys:
        names = values.get(parent)
        every = names.values() if isinstance(names, dict) else []
        keys |= {key for settings in every if isinstance(settings, dict) for key in settings}
    return keys


def line_number(problem: Problem) -> int:
    """Sorts the problems of the file by line, and those of flags behind them."""
    line = problem.location.rpartition(":")[2]
    return int(line) if line.isdigit() else sys.maxsize


def _explain(error: Any, locations: dict[str, str]) -> Problem:
    """One of pydantic's errors in terms of the user's file."""
    keys = [str(key) for key in error["loc"] if key != "[key]"][: 3 if error["loc"][0] in (BY_TASK, BY_ENCODING) else 1]
    key, name, kind, value = keys[-1], ": ".join(keys), error["type"], error["input"]
    location = locations.get(name, "")
    if kind == "extra_forbidden":
        return Problem(location, name, _unknown_key(key, parent=keys[0] if len(keys) > 1 else ""))
    if value is None:
        return Problem(location, name, EMPTY)
    if kind == "value_error":
        return Problem(location, name, str(error["ctx"]["error"]))
    if isinstance(value, list) and len(keys) == 1 and key in Settings.model_fields:
        values = ", ".join(map(str, value))
        return Problem(location, name, f"takes one value: to vary it, write {VARY}: {{{key}: [{values}]}}"[:200])
    if kind in ("int_parsing", "float_parsing", "int_from_float", "int_type", "float_type"):
        default = Recipe.model_fields[key].default
        number = "a whole number" if kind.startswith("int") else "a number"
        return Problem(location, name, f"{value!r} is not {number}: write for example {1 if default is None else default}")
    if kind in ("less_than", "less_than_equal"):
        most, example = error["ctx"].get("lt", error["ctx"].get("le")), Recipe.model_fields[key].default
        what = f"must be {'below' if kind == 'less_than' else 'at most'} {int(most) if most == int(most) else most:,}"
        return Problem(location, name, f"{value!r:.60}: {what}" + ("" if example is None else f": write for example {example}"))
    if kind in ("dict_type", "model_type"):
        remedy = f"write settings of single {keys[0].removeprefix('by_')}s in a file: {keys[0]}: {{NAME: {{steps: 500}}}}"
        return Problem(location, name, f"{value!r:.60}: {remedy}")
    return Problem(location, name, f"{value!r:.60}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _unknown_key(key: str, parent: str) -> str:
    """A hint for a key of the whole recipe, or of single names below `parent`."""
    if parent and key in Recipe.model_fields:
        return f"applies to the whole recipe: write it outside {parent}"
    keys = sorted((Settings if parent else Recipe).model_fields)
    return f"unknown key: {catalog.nearest(key, keys)}  (rpe check --keys)"
