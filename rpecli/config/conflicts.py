"""What contradicts in a recipe: keys that are each valid, and together are not, or are of no use."""

import itertools
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from rpecli import catalog
from rpecli.choice import ChoiceError, without_options
from rpecli.config import sweep
from rpecli.config.exclusions import Exclusion
from rpecli.config.ranges import parse_grid, parse_lengths
from rpecli.config.recipe import Recipe, task_defaults
from rpecli.config.settings import EvalSettings, Settings
from rpecli.config.sweep import PAIRED
from rpecli.config.yaml_source import BY_ENCODING, BY_TASK, EXCLUDE, LR_SEARCH, VARY, Problem, RecipeSource

SEARCHED = {"seed", VARY, EXCLUDE, LR_SEARCH, "lr_search_seed"}  # the keys that a search of the learning rate looks at
DECIDING = {"task", "encoding", BY_TASK, BY_ENCODING}  # keys that decide what a run has of the others


def cross_field_errors(recipe: Recipe, source: RecipeSource, uncertain: set[str]) -> Iterator[Problem]:
    """Errors of several keys together, as far as the values of these keys are certain."""
    for parent, key in ((BY_TASK, "task"), (BY_ENCODING, "encoding")):
        if key not in uncertain and not source.is_flag(key):
            yield from _unused(recipe, source, parent, key)
    if _has_runs(recipe):
        if not uncertain & SEARCHED:
            yield from _search_errors(recipe, source)
        yield from _variation_errors(recipe, source, uncertain)
        yield from _exclusion_errors(recipe, source, uncertain)
    for task, encoding, keys, message in _conflicts(recipe):
        if not uncertain & set(keys):
            places = [source.place(key, task, encoding) for key in keys]
            location, name = next((place for place in places if place[0]), places[0])
            yield Problem(location, name, message)


def _has_runs(recipe: Recipe) -> bool:
    """Whether the runs of a recipe can be listed: the defaults of its tasks are valid."""
    with suppress(ChoiceError):
        return all(task_defaults(task) is not None for task in recipe.task)
    return False


def _search_errors(recipe: Recipe, source: RecipeSource) -> Iterator[Problem]:
    """What contradicts a search of the learning rate, or has no use without one."""

    def problem(key: str, message: str) -> Problem:
        return Problem(source.locations.get(key, ""), key, message)

    if not recipe.lr_search:
        if "lr_search_seed" in source.locations:
            yield problem("lr_search_seed", "of use with lr_search only: remove it")
        return
    if "lr" in source.locations and source.is_flag("lr") == source.is_flag(LR_SEARCH):
        yield problem("lr", f"given beside {source.locations[LR_SEARCH]}, which searches it: keep one")
    if any("lr" in axis.split(PAIRED) for axis in recipe.vary):
        yield problem(LR_SEARCH, "lr varies too: keep one of vary and lr_search")
    if any("lr" in exclusion.keys for exclusion in recipe.exclude):
        yield problem(EXCLUDE, "lr is searched: name other keys, or vary lr")
    if _is_fixed(recipe, "lr", [{"lr": rate} for rate in recipe.lr_search]):
        yield problem(LR_SEARCH, f"searches nothing: {BY_TASK} or {BY_ENCODING} sets lr for all: remove one of them")
    if shared := sorted({*recipe.seed} & {*recipe.lr_search_seed}):
        yield problem(
            "lr_search_seed", f"seed {shared[0]} is reported too, and its runs would profit from the choice: write another"
        )


def _variation_errors(recipe: Recipe, source: RecipeSource, uncertain: set[str]) -> Iterator[Problem]:
    """Keys of `vary` that are given twice, that vary for no run, or that do not change what is trained."""
    keys = [key.strip() for axis in recipe.vary for key in axis.split(PAIRED)]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        yield Problem(source.locations.get(VARY, ""), VARY, f"{twice[0]} is given twice: keep one")
        return
    for axis, points in recipe.vary.items():
        location, name = source.locations.get(f"{VARY}: {axis}", ""), f"{VARY}: {axis}"
        if len(points) < 2:
            continue
        if not uncertain & DECIDING and _is_fixed(recipe, axis, points):
            yield Problem(location, name, f"varies for no run: {BY_TASK} or {BY_ENCODING} sets it for all: remove one of them")
        elif all(key in EvalSettings.model_fields for key in points[0]):
            flag = next(iter(points[0])).replace("_", "-")
            remedy = f"write one value, and measure more with rpe eval --{flag}"
            yield Problem(location, name, f"is about evaluation, and its runs would be the same ones: {remedy}")
        elif not uncertain & DECIDING and (use := _use_of(recipe, points[0])):
            yield Problem(location, name, f"is of use with {use} only: its runs would be the same ones")


def _is_fixed(recipe: Recipe, axis: str, points: sweep.Axis) -> bool:
    """Whether `by_task` and `by_encoding` set the same keys for every run, so that these points make no difference."""
    every = recipe.model_copy(update={"exclude": [], "seed": recipe.seed[:1]})
    one, both = (every.model_copy(update={"vary": {**recipe.vary, axis: some}}) for some in (points[:1], points))
    return len(one.configs()) == len(both.configs())


def _use_of(recipe: Recipe, point: Collection[str]) -> str:
    """What the keys of a point are of use with, where no run of a recipe reads any of them; else empty."""
    unused = recipe.unused_keys
    return unused[next(iter(point))] if set(point) <= unused.keys() else ""


def _exclusion_errors(recipe: Recipe, source: RecipeSource, uncertain: set[str]) -> Iterator[Problem]:
    """Lines of `exclude` that leave out every run, or none, of those about keys whose values are certain.

    Where a flag sets one of its keys, to leave out none is no error.
    """
    lines = [line for line in recipe.exclude if _is_certain(line, uncertain)]
    if not lines:
        return

    def problem(message: str) -> Problem:
        return Problem(source.locations.get(EXCLUDE, ""), EXCLUDE, message)

    every = [config.to_keys() for config in recipe.model_copy(update={"exclude": []}).configs()]
    left = [keys for keys in every if not any(line.leaves_out(keys) for line in lines)]
    whole = next((line for line in lines if all(map(line.leaves_out, every))), None)
    if whole:
        yield problem(f"{whole.text!r} leaves no run: add a condition, or remove the line")
    elif not left:
        yield problem("its lines together leave no run: remove a line, or add a condition to it")
    for line in lines:
        if not any(map(source.is_flag, line.keys)) and (message := line.of_no_use(every)):
            yield problem(message)


def _is_certain(line: Exclusion, uncertain: set[str]) -> bool:
    """Whether it is known which runs a line leaves out: what tasks and encodings decide is as certain as they are."""
    return not uncertain & line.keys and (line.keys <= {*sweep.OWN_LISTS} or not uncertain & {*DECIDING, VARY})


def _unused(recipe: Recipe, source: RecipeSource, parent: str, key: str) -> Iterator[Problem]:
    """Tasks under `by_task`, or encodings under `by_encoding`, that the recipe does not train.

    Where a flag chooses the tasks or the encodings, this is not an error.
    """
    choices = getattr(recipe, key)
    trained = sorted({*choices, *map(without_options, choices)})
    for choice in getattr(recipe, parent):
        if choice not in trained:
            name = f"{parent}: {choice}"
            kind = "a task" if key == "task" else "an encoding"
            message = f"is not {kind} of this recipe: {catalog.nearest(choice, trained)}"
            yield Problem(source.locations.get(name, ""), name, message)


def _all_settings(recipe: Recipe) -> Iterator[tuple[str, str, Settings | ChoiceError]]:
    """The settings of each combination of task, encoding and what varies that has runs; an error for wrong defaults of a task."""
    for task in recipe.task:
        try:
            defaults = task_defaults(task)
        except ChoiceError as error:
            yield task, "", error
            continue
        for encoding, point in itertools.product(recipe.encoding, sweep.points(recipe.vary)):
            settings = Settings(**recipe.settings(defaults, task, encoding, point))
            if not (recipe.exclude and _all_excluded(recipe, settings.model_dump() | {"task": task, "encoding": encoding})):
                yield task, encoding, settings


def _all_excluded(recipe: Recipe, keys: dict[str, Any]) -> bool:
    """Whether `exclude` leaves out the runs with these keys of all positions and seeds."""
    runs = itertools.product(recipe.positions, recipe.seed)
    return all(recipe.is_excluded(keys | {"positions": positions, "seed": seed}) for positions, seed in runs)


def _conflicts(recipe: Recipe) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Task, encoding, keys (the one to change first) and message of each conflict, once for all runs with the same settings."""
    checked = set()
    for task, encoding, settings in _all_settings(recipe):
        if isinstance(settings, ChoiceError):
            yield task, encoding, ("task",), str(settings)
            continue
        key = (settings.length, settings.min_length, settings.lengths, settings.checkpoint_lengths, settings.grid,
               settings.d_model, settings.n_head, settings.normalizer, settings.attention)  # fmt: skip
        if key not in checked:
            checked.add(key)
            yield from ((task, encoding, keys, message) for keys, message in _conflicts_of_task(settings, task))


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
    for name, parse in (("lengths", parse_lengths), ("checkpoint_lengths", parse_lengths), ("grid", parse_grid)):
        try:
            parse(getattr(settings, name) or "1x", settings.length)
        except ValueError as error:
            yield (name, "length", "task"), f"{error}  ({task} trains on length {settings.length})"
