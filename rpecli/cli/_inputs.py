"""What the flags ask for, as a recipe or as an order of measurements, checked before anything starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rpecli.choice import canonical
from rpecli.cli._exit import USAGE, stop
from rpecli.config import load as config_load
from rpecli.config import ranges as config_ranges
from rpecli.config import yaml_source as config_yaml_source
from rpecli.config.load import RecipeSource
from rpecli.config.recipe import Recipe
from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run


def asked_recipe(name: str | None, given: dict[str, str], sets: list[str] | None) -> tuple[Recipe, RecipeSource]:
    """The recipe with every flag of this command on top, checked to the last option."""
    for text in sets or []:
        key, equals, value = text.partition("=")
        if not equals:
            stop(f"--set {text}: write --set key=value", USAGE)
        given[key.strip()] = value.strip()
    made, source = load_recipe(name, given)
    check_recipe(made, source)
    return made, source


def load_recipe(name: str | None, given: dict[str, str]) -> tuple[Recipe, RecipeSource]:
    try:
        return config_load.load(name, given)
    except config_yaml_source.RecipeError as error:
        stop(str(error), USAGE)


def check_recipe(made: Recipe, source: RecipeSource) -> None:
    from rpecli.launch import preflight as check

    found = check.problems(made, source)
    if found:
        stop("\n".join(map(str, found)), USAGE)


def check_lengths(flag: str, text: str) -> None:
    try:
        config_ranges.parse_lengths(text)
    except ValueError as error:
        stop(f"{flag}: {error}", USAGE)


def whole_lengths(flag: str, text: str, remedy: str) -> list[int]:
    """Lengths where there is no training length to multiply."""
    check_lengths(flag, text)
    if "x" in text:
        stop(f"{flag} {text}: {remedy}", USAGE)
    return config_ranges.parse_lengths(text)


def check_eval_keys(given: dict[str, str], data: Path | None) -> dict[str, Any]:
    """The evaluation keys given as flags, typed; stops on a wrong value, or a folder without a data set."""
    recipe, _ = load_recipe(None, given)
    if data is not None and not (data / "data").is_dir():
        stop(f"--data {data}: no data/length_N.parquet there: write it with rpe data TASK --lengths 16,32 --out {data}", USAGE)
    return {key: getattr(recipe, key) for key in given}


def eval_requests(
    runs: list[Run], request: EvalRequest, overrides: dict[str, Any], encoding: str | None, scaling: str | None
) -> dict[Run, EvalRequest]:
    """The request of each run: `request` with the run's own settings under `overrides`, and the encoding to put into it."""
    settings = {run: run.config.eval.model_copy(update=overrides) for run in runs}
    return {run: replace(request, settings=settings[run], encoding_override=_swap(run, encoding, scaling)) for run in runs}


def _swap(run: Run, encoding: str | None, scaling: str | None) -> str | None:
    """The encoding to put into a trained model, checked; None for its own."""
    if encoding is None and scaling is None:
        return None
    from rpecli import encoding as encodings

    config = run.config
    choice = canonical(encoding or config.encoding + f":scaling={scaling}")
    encodings.make_all(choice, encodings.Shape(config.d_model, config.n_head, causal=config.attention == "causal"))
    return choice
