"""Turns flags into recipes, lengths and evaluation requests, and stops on every error before anything starts."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli import trust
from rpecli.choice import canonical
from rpecli.cli._exit import USAGE, stop, warn
from rpecli.config import load
from rpecli.config.load import RecipeSource
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, Recipe
from rpecli.config.yaml_source import RecipeError
from rpecli.evaluate.request import EvalRequest
from rpecli.run import code
from rpecli.run.directory import Run

if TYPE_CHECKING:
    from rpecli.trial.child import Trial

FAR = 32  # multiples of the training length beyond which nearly every encoding is at chance


def checked_recipe(name: str | None, overrides: dict[str, str], sets: list[str] | None) -> tuple[Recipe, RecipeSource]:
    """The recipe with the flags and every `--set` above it, checked completely."""
    for text in sets or []:
        key, equals, value = text.partition("=")
        if not (equals and key.strip()):
            stop(f"--set {text}: write --set key=value", USAGE)
        overrides[key.strip()] = value.strip()
    recipe, source = load_recipe(name, overrides)
    check_recipe(recipe, source)
    return recipe, source


def load_recipe(name: str | None, overrides: dict[str, str]) -> tuple[Recipe, RecipeSource]:
    """The recipe with the flags above it; tasks and encodings are not built."""
    try:
        return load.load(name, overrides)
    except RecipeError as error:
        stop(str(error), USAGE)


def check_recipe(recipe: Recipe, source: RecipeSource) -> None:
    """Builds every task and encoding of a recipe, which finds the errors that only their code can find."""
    from rpecli.launch import preflight

    problems = preflight.problems(recipe, source)
    if problems:
        stop("\n".join(map(str, problems)), USAGE)


def check_device(device: str) -> None:
    """Stops for a device that this machine lacks, before anything starts."""
    if device in ("auto", "cpu"):  # always there: torch need not be loaded to know
        return
    from rpecli.device import pick_device

    try:
        pick_device(device)
    except ValueError as error:
        stop(f"--device: {error}", USAGE)


def named_choice(text: str) -> str:
    """A choice that the user wrote on the command line, in canonical spelling; its files may run."""
    choice = canonical(text)
    trust.allow([choice])
    return choice


def try_code(trials: Iterable["Trial"]) -> None:
    """Stops with what is wrong with code that this command names, before anything starts."""
    from rpecli.launch import preflight

    if faults := preflight.faults(trials):
        stop("\n".join(faults), USAGE)


def check_lengths(flag: str, text: str) -> None:
    """Checks lengths whose multiples of the training length are resolved later, run by run."""
    try:
        parse_lengths(text)
    except ValueError as error:
        stop(f"{flag}: {error}", USAGE)


def absolute_lengths(flag: str, text: str, remedy: str) -> list[int]:
    """Lengths where there is no training length to multiply."""
    check_lengths(flag, text)
    if "x" in text:
        stop(f"{flag} {text}: {remedy}", USAGE)
    return parse_lengths(text)


def warn_of_lengths(evaluations: list[tuple[Config, str]]) -> None:
    """Warns, in one line per task, of lengths that its problems cannot have, and of those far beyond its training length.

    `evaluations` are the configs of runs, and the lengths to evaluate each at as they are written.
    """
    from rpecli import task

    warned = set()
    for name, train_length, text in dict.fromkeys((config.task, config.length, text) for config, text in evaluations):
        lengths, built = parse_lengths(text, train_length), task.build(name)
        left_out = [length for length in lengths if not built.has_length(length)]
        warning = None
        if left_out:
            warning = f"{name} has {built.missing(*left_out)}: left out at {', '.join(map(str, left_out))}"
        elif lengths[-1] > FAR * train_length:
            multiple = lengths[-1] // train_length
            warning = (
                f"{name}: {lengths[-1]} is {multiple}x the training length {train_length}: few encodings are above chance there"
            )
        if warning and name not in warned:
            warned.add(name)
            warn(warning)


def eval_overrides(overrides: dict[str, str], data: Path | None) -> dict[str, Any]:
    """The typed values of evaluation flags; also checks the folder of `--data`."""
    recipe, _ = load_recipe(None, overrides)
    if data is not None and not (data / "data").is_dir():
        remedy = f"write it with rpe data TASK --lengths 16,32 --out {data}"
        stop(f"--data {data}: it has no data/length_N.parquet: {remedy}", USAGE)
    return {key: getattr(recipe, key) for key in overrides}


def eval_requests(
    runs: list[Run], request: EvalRequest, overrides: dict[str, Any], encoding: str | None, scaling: str | None
) -> dict[Run, EvalRequest]:
    """The request of each run: `request` with the run's own settings under `overrides`, and the encoding to swap in."""
    settings = {run: run.config.eval.model_copy(update=overrides) for run in runs}
    if encoding is not None:
        from rpecli.launch import preflight

        try_code([trial for run in runs for trial in preflight.encodings_to_try(run.config, choice=named_choice(encoding))])
    return {run: replace(request, settings=settings[run], encoding_override=_swap(run, encoding, scaling)) for run in runs}


def _swap(run: Run, encoding: str | None, scaling: str | None) -> str | None:
    """The encoding to swap into a trained model, checked; None for its own."""
    if encoding is None and scaling is None:
        return None
    from rpecli import encoding as encodings

    config = run.config
    choice = named_choice(encoding) if encoding else canonical(config.encoding + f":scaling={scaling}")
    encodings.make_all(choice, encodings.Shape(config.d_model, config.n_head, causal=config.attention == "causal"))
    return code.keep("encodings", choice, run.path)
