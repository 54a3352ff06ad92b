"""Turns flags into recipes, lengths and evaluation requests, and stops on every error before anything starts."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rpecli import trust
from rpecli.choice import canonical
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop, warn
from rpecli.config import load, ranges, suites
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, EvalSettings, Recipe, label
from rpecli.config.yaml_source import Problem, RecipeError, RecipeSource
from rpecli.run.directory import Run
from rpecli.run.files import RunError, problem_of_folder
from rpecli.table import duration

if TYPE_CHECKING:
    from rpecli.evaluate.request import EvalRequest
    from rpecli.trial.child import Trial

MANY = 1 << 16  # sequences of an evaluation set that are worth a look at its size
MANY_TOKENS, MANY_LENGTHS = 1 << 24, 16  # of a run, that are worth measuring how long they take; and as many lengths at most
LONG = 180.0  # seconds; from there on they are said before
MAX_SEED = 999_999_999  # as in recipes
FAR = 32  # multiples of the training length beyond which nearly every encoding is at chance


def read_recipe(
    name: str | None, overrides: dict[str, str], sets: list[str] | None, added: str | None = None
) -> tuple[Recipe, RecipeSource]:
    """The recipe with the flags and every `--set` above it; its tasks and encodings are not built.

    The encodings of `added` join those that it lists.
    """
    by_default = {key for key in overrides if not flags.given(_flag(key))}  # the command's own, which its flag sets
    for text in sets or []:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not (equals and key):
            stop(f"--set {text}: write --set key=value", USAGE)
        if key in by_default:
            stop(f"--set {text}: write {_flag(key)} {value.strip()}", USAGE)
        if key in overrides:
            stop(f"--set {text}: {key} is given twice: keep one", USAGE)
        overrides[key] = value.strip()
    if added is not None:
        listed = load_recipe(name, overrides)[0].encoding
        overrides["encoding"] = ",".join([*listed, added])
    recipe, source = load_recipe(name, overrides)
    _refuse_unused(recipe, overrides)
    return recipe, source


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _refuse_unused(recipe: Recipe, overrides: dict[str, str]) -> None:
    """Stops for flags that no run of the recipe would read."""
    for key, use in recipe.unread_keys.items():
        if key in overrides:
            first, _, rest = use.partition(" ")
            words = f"{_flag(first)} {rest}".strip() if first in Recipe.model_fields else use
            stop(f"{_flag(key)}: of use with {words} only: remove it", USAGE)


def load_recipe(name: str | None, overrides: dict[str, str]) -> tuple[Recipe, RecipeSource]:
    """The recipe with the flags above it; tasks and encodings are not built."""
    try:
        return load.load(name, overrides)
    except RecipeError as error:
        stop(str(RecipeError(sorted([*error.problems, *_option_problems(error)], key=load.line_number))), USAGE)


def _option_problems(error: RecipeError) -> list[Problem]:
    """Wrong options of tasks and encodings, which their code knows, to be told beside the errors of the recipe."""
    if error.valid is None or error.source is None or not any(":" in name for name in (*error.valid.task, *error.valid.encoding)):
        return []
    from rpecli.launch import preflight

    return preflight.option_problems(error.valid, error.source)


def check_recipe(recipe: Recipe, source: RecipeSource) -> None:
    """Builds every task and encoding of a recipe, which finds the errors that only their code can find."""
    from rpecli.launch import preflight

    problems = preflight.problems(recipe, source)
    if problems:
        stop("\n".join(map(str, problems)), USAGE)
    for note in preflight.notes(recipe, source):
        typer.echo(note, err=True)


def require_writable(flag: str, folder: Path) -> None:
    """Stops where a folder cannot be written, before the work; a folder that is not there yet is not created."""
    if problem := problem_of_folder(folder):
        stop(f"{flag} {folder} cannot be written ({problem}): choose another place", USAGE)


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
    suites.refuse(text)
    choice = canonical(text)
    trust.allow([choice])
    return choice


def check_evaluation_sizes(evaluations: list[tuple[Config, EvalSettings]], scored: bool = True) -> None:
    """Stops for evaluation sets that cannot fit in memory: too many sequences. `scored`: every one is measured."""
    from rpecli import task
    from rpecli.device import available_memory, memory_problem
    from rpecli.launch import sizes

    for config, settings in evaluations:
        if settings.samples < MANY:
            continue
        name = settings.eval_task or config.task
        needed = sizes.evaluation_set_bytes(settings, task.build(name).sequence(config.length), scored)
        if problem := memory_problem(needed, available_memory()):
            stop(f"an evaluation set of {name} {problem}: lower --samples or --eval-tokens", USAGE)


def warn_of_time(requests: "dict[Run, EvalRequest]", device: str, scored: bool = True) -> None:
    """Says how long evaluation sets of very many tokens take, before they are drawn; `scored`: every sequence is measured.

    The run with the most tokens stands for all.
    """
    from rpecli import task
    from rpecli.launch import sizes

    tokens = dict[Run, int]()
    for run, request in requests.items():
        settings = request.settings or run.config.eval
        if request.folder is None and settings.eval_tokens >= MANY_TOKENS // MANY_LENGTHS:
            config = run.config.model_copy(update={"eval": settings})
            tokens[run] = sizes.evaluation_tokens(config, task.build(config.evaluated_task))
    largest = max(tokens, key=lambda run: tokens[run], default=None)
    if largest is None or tokens[largest] < MANY_TOKENS:
        return
    from rpecli.evaluate import cost
    from rpecli.evaluate.load import load

    with suppress(RunError):  # its job says what is wrong
        seconds = cost.seconds(load(largest, device, requests[largest])[0], scored)
        if seconds >= LONG:
            what = f"{'measuring' if scored else 'drawing'} up to {tokens[largest]:,} tokens"
            time = f"about {duration(seconds)} per run, by the time of a few batches"
            warn(f"{what} takes {time}: lower --samples or --eval-tokens for less")


def check_shift_sizes(configs: list[Config], shift: int) -> None:
    """Stops for shifts whose prefix cannot fit in memory, or would take longer than anybody waits."""
    from rpecli import task
    from rpecli.device import available_memory, memory_problem
    from rpecli.launch import sizes

    for config in configs:
        sequence = task.build(config.task).sequence(config.length)
        if sizes.shift_products(config, sequence, shift) > sizes.MOST_PRODUCTS:
            stop(f"--shifts {shift}: attention over that many tokens takes many hours: leave it out", USAGE)
        needed = sizes.shift_bytes(config, sequence, shift)
        if problem := memory_problem(needed, available_memory()):
            stop(f"--shifts {shift} {problem}: leave it out", USAGE)


def try_code(trials: Iterable["Trial"]) -> None:
    """Stops with what is wrong with code that this command names, before anything starts."""
    from rpecli.launch import preflight

    if faults := preflight.faults(trials):
        stop("\n".join(faults), USAGE)


def check_lengths(flag: str, text: str) -> None:
    """Checks lengths whose multiples of the training length are resolved later, run by run."""
    try:
        ranges.check_lengths(text)
    except ValueError as error:
        stop(f"{flag}: {error}", USAGE)


def absolute_lengths(flag: str, text: str, remedy: str) -> list[int]:
    """Lengths where there is no training length to multiply."""
    check_lengths(flag, text)
    if "x" in text:
        stop(f"{flag} {text}: {remedy}", USAGE)
    return parse_lengths(text)


def warn_of_lengths(evaluations: list[tuple[Config, EvalSettings]]) -> None:
    """Warns, in one line per task, of lengths that its problems cannot have, and of those far beyond its training length."""
    from rpecli import task

    warned = set()
    asked = ((settings.eval_task or config.task, config.length, settings.lengths) for config, settings in evaluations)
    for name, train_length, text in dict.fromkeys(asked):
        lengths, built = parse_lengths(text, train_length), task.build(name).split("test", train_length)
        too_long = [str(length) for length in lengths if not built.has_length(length)]
        warning = None
        if too_long:
            warning = f"{label(name)} has no problem {built.why_not(int(too_long[0]))}: left out at {', '.join(too_long)}"
        elif lengths[-1] > FAR * train_length:
            multiple = lengths[-1] // train_length
            far = f"{label(name)}: {lengths[-1]} is {multiple}x the training length {train_length}"
            warning = f"{far}: few encodings are above chance there"
        if warning and name not in warned:
            warned.add(name)
            warn(warning)
