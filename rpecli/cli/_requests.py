"""What `rpe eval` and `rpe inspect` ask of each run; runs to which the flags do not apply are named and left out."""

from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from inspect import signature
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, join_layers, names_in, parse_choice, split_layers, split_switch
from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.cli._inputs import named_choice, try_code
from rpecli.config import load
from rpecli.config.recipe import Config, label
from rpecli.config.settings import EvalSettings
from rpecli.config.yaml_source import RecipeError
from rpecli.evaluate.request import EvalRequest
from rpecli.run import code
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.problems import folded
from rpecli.table import plural

NAMED = 3  # runs that a message names one by one


def eval_overrides(overrides: dict[str, str], data: Path | None) -> dict[str, Any]:
    """The typed values of evaluation flags, checked, with those of a data set."""
    try:
        recipe = load.load_evaluation(overrides)
    except RecipeError as error:
        stop(str(error), USAGE)
    flags.one_of("--swap-encoding", "--rope-scaling", why="both put an encoding into the trained model")
    if data is not None:
        from rpecli.evaluate.data_set import DataSetError, open_set

        own = [key for key in ("lengths", "grid", "samples", "eval_tokens", "eval_seed", "eval_task") if key in overrides]
        flags.refuse([f"--{key.replace('_', '-')}" for key in own], f"--data {data} decides which sequences are read")
        try:
            open_set(data)
        except DataSetError as error:
            stop(f"--data: {error}", USAGE)
    return {key: getattr(recipe, key) for key in overrides}


def eval_requests(
    runs: list[Run], request: EvalRequest, overrides: dict[str, Any], encoding: str | None, scaling: str | None
) -> tuple[dict[Run, EvalRequest], list[str]]:
    """The request of each run: `request` with the run's own settings under `overrides`, and the encoding to swap in.

    Runs that cannot be measured so are named, in one line per reason, and left out; the command stops where none is left.
    Also returns the names of those that are damaged.
    """
    requests, reasons, damaged = dict[Run, EvalRequest](), defaultdict[str, list[Run]](list), list[str]()
    check_set = cache(partial(_check_set, request.folder))
    if encoding is not None:
        _try_encoding(runs, encoding)
    if scaling is not None:
        _check_scaling(scaling)
    for run in runs:
        try:
            config = run.config
            settings = code.evaluation_with_copies(config.eval.model_copy(update=overrides), config.task, run.path)
            swapped = _swap(config, encoding, scaling)
            _check(config.model_copy(update={"eval": settings, "encoding": swapped or config.encoding}))
            check_set(config.task)
            if settings.eval_task:
                _check_task(config.task, settings.eval_task)
            if settings.grid:
                _check_grid(settings.eval_task or config.task)
            override = code.keep("encodings", swapped, run.path) if swapped else None
            requests[run] = replace(request, settings=settings, encoding_override=override)
        except (ValueError, OSError) as error:  # a ChoiceError, a DataSetError, a RunError: with its reason and its remedy
            reasons[str(error)].append(run)
            damaged += [run.name] * isinstance(error, RunError)
    messages = folded(((runs[0].path, _left_out(reason, runs)) for reason, runs in reasons.items()), see_all=None)
    if not requests:
        stop("\n".join(messages), FAILURE if damaged else USAGE)
    for message in messages:
        warn(message)
    return requests, damaged


def _check_task(trained: str, evaluated: str) -> None:
    from rpecli.evaluate.eval_set import evaluation_task

    evaluation_task(Config(task=trained, encoding="", eval=EvalSettings(eval_task=evaluated)))


def _check_grid(choice: str) -> None:
    from rpecli import task as tasks
    from rpecli.evaluate.grid import require_sizes

    require_sizes(choice, tasks.build(choice))


def _left_out(reason: str, runs: list[Run]) -> str:
    """The reason with the names of its runs, unless it has the only one in a path."""
    return f"{reason}  (left out)" if len(runs) == 1 and runs[0].name in reason else f"{reason}  ({_names(runs)} left out)"


def _names(runs: list[Run]) -> str:
    if len(runs) > NAMED:
        return f"{plural(len(runs), 'run')}, {runs[0].name} the first,"
    return ", ".join(run.name for run in runs)


def _try_encoding(runs: list[Run], encoding: str) -> None:
    """Tries a user's own encoding in a process of its own; stops where it is empty or fails."""
    from rpecli.launch import preflight

    if not encoding.strip():
        stop("--swap-encoding is empty: write none, rerope or rope:scaling=yarn", USAGE)
    configs = list[Config]()
    for run in runs:
        with suppress(RunError):  # named and left out below
            configs.append(run.config)
    choice = named_choice(encoding)
    try_code([trial for config in configs for trial in preflight.encodings_to_try(config, choice=choice)])


def _check_scaling(scaling: str) -> None:
    from rpecli.encodings._rotary import LONGROPE, SCALINGS

    if scaling == LONGROPE:
        stop("--rope-scaling: longrope needs factors: write --swap-encoding rope:scaling=longrope:factors=1/1.5/...", USAGE)
    if ":" in scaling:
        stop(f"--rope-scaling takes a name alone: with options, write --swap-encoding rope:scaling={scaling}", USAGE)
    if scaling not in SCALINGS:
        stop(f"--rope-scaling: {catalog.unknown('scaling', scaling, list(SCALINGS))}", USAGE)


def _swap(config: Config, encoding: str | None, scaling: str | None) -> str | None:
    """The encoding to swap into a trained model, checked; None for its own. Raises ChoiceError."""
    if encoding is None and scaling is None:
        return None
    from rpecli import encoding as encodings

    choice = named_choice(encoding) if encoding is not None else canonical(_stretched(config, str(scaling)))
    if choice == canonical(config.encoding):
        raise ChoiceError(f"{label(choice)} is the encoding that these runs were trained with: measure them without that flag")
    shape, trained = encodings.Shape(config.d_model, config.n_head, causal=config.attention == "causal"), label(config.encoding)
    for part in (part for phase in split_switch(choice) if phase for part in split_layers(phase)):
        name = label(part).partition(":")[0]
        if any(True for _ in encodings.make(part, shape).parameters()) and name not in names_in(trained):
            raise ChoiceError(f"{name} has weights that these runs did not train: choose an encoding without weights")
    return choice


def _stretched(config: Config, scaling: str) -> str:
    """The encoding of the trained model with another scaling. Raises ChoiceError where it has none."""
    before, after = split_switch(config.encoding)
    own = after or before
    parts, stretches = [], False
    for name, options in map(parse_choice, split_layers(own)):
        if _has_scaling(name):
            options, stretches = options | {"scaling": scaling}, True
        parts.append(":".join([name, *(f"{key}={value}" for key, value in options.items())]))
    if not stretches:
        raise ChoiceError(f"--rope-scaling {scaling}: encoding {own} has no scaling")
    return join_layers(parts)


def can_be_scaled(choice: str) -> bool:
    """Whether an encoding, or one of several, has frequencies that `--rope-scaling` scales, and was trained without a scaling."""
    before, after = split_switch(choice)
    scaled = [options for name, options in map(parse_choice, split_layers(after or before)) if _has_scaling(name)]
    return bool(scaled) and all(options.get("scaling", "none") == "none" for options in scaled)


def _has_scaling(name: str) -> bool:
    from rpecli.encoding import Encoding

    cls = catalog.load_class("encodings", name, Encoding)
    return "scaling" in signature(cls.__init__).parameters  # type: ignore[misc]


def _check(config: Config) -> None:
    """Raises ValueError for a task that does not load, and for lengths that do not suit its training length."""
    from rpecli import task as tasks

    tasks.build(config.task)
    config.eval.check_lengths(config.length, "--lengths")


def _check_set(folder: Path | None, choice: str) -> None:
    """Reads a data set once for all runs of a task. Raises DataSetError."""
    if folder is None:
        return
    from rpecli import task as tasks
    from rpecli.evaluate.data_set import open_set

    data_set = open_set(folder)
    data_set.require_task(choice)
    for length in data_set.lengths:
        data_set.blocks(length, tasks.build(choice))
