"""`rpe check`: validates recipes before hours of training, and tries everything that must hold of an encoding or a task."""

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, data_in, is_path, names_in
from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import check_recipe, load_recipe, named_choice
from rpecli.cli._output import print_tables, say, text_width
from rpecli.table import plural

if TYPE_CHECKING:
    from rpecli.trial.checks import Check, Result

EXAMPLES = """
Examples:
  # every shipped recipe
  rpe check

  rpe check ./mine.yaml

  # an encoding or a task: is it causal, does it decode, learn, ...
  rpe check ./mine.py

  # all recipe keys with their defaults
  rpe check --keys
"""
KINDS = {"encodings": "encoding", "tasks": "task"}  # of code, with their words
TRAINED = 32  # tokens to which the models are trained that an encoding is checked in


def check(
    name: Annotated[
        str | None,
        typer.Argument(help="A recipe, an encoding or a task: a name or a path.", autocompletion=flags.complete_names("recipes")),
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every recipe key with its default.")] = False,
) -> None:
    """Validate a recipe, an encoding or a task; without a name, every shipped recipe.

    Errors of a recipe are reported together, with file, line, key and remedy; those that depend on others, or on the code of its
    tasks and encodings, when these are mended. An encoding or a task gets one line for each thing that must hold, with the line
    of the file where it does not.
    """
    from rpecli.describe import listing

    if keys:
        flags.refuse([name] if name else [], "--keys lists the keys of all recipes")
        print_tables(listing.table(listing.keys()))
        return
    if name and (kind := _kind(name)):
        _check_code(named_choice(name), kind)
        return
    for recipe in catalog.names("recipes") if name is None else [name]:
        loaded, source = load_recipe(recipe, {})
        check_recipe(loaded, source)
        defaults = "" if loaded.model_fields_set else " (it has no keys: all are at their defaults)"
        say(f"{recipe}: {plural(len(loaded.configs()), 'run')}, no errors{defaults}")


def _kind(name: str) -> str | None:
    """Whether a name is of `encodings` or of `tasks`; None for a recipe."""
    first, *others = names_in(canonical(name))
    if is_path(first):
        kind = _kind_of_file(catalog.find("encodings", first)) if first.endswith(".py") else None
    else:
        kind = next((kind for kind in ("recipes", *KINDS) if first in catalog.names(kind)), None)
        kind = kind if kind in KINDS else None
    if kind and others:
        stop(f"{name!r}: write one {kind[:-1]}: rpe check {first}", USAGE)
    known = {other: word for kind, word in {**KINDS, "recipes": "recipe"}.items() for other in catalog.names(kind)}
    unknown = not kind and not is_path(first) and first not in known
    if unknown and (own := catalog.own_file(name, ".py", ".yaml")):
        stop(f"{name!r} is no recipe, encoding or task: did you mean {own}?", USAGE)
    if unknown and (close := catalog.close_names(first, [*known])):
        stop(f"{name!r} is no recipe, encoding or task: did you mean {' or '.join(f'{n} ({known[n]})' for n in close)}?", USAGE)
    return kind


def _kind_of_file(path: Path) -> str:
    """What a file imports says it; of one that cannot be read as Python, its text, since its first check says what is wrong."""
    try:
        return catalog.kind_of(path)
    except ChoiceError:
        text = path.read_bytes()
        return "tasks" if b"rpecli.task" in text and b"rpecli.encoding" not in text else "encodings"


def _check_code(choice: str, kind: str) -> None:
    """Prints a line for each check of an encoding or a task; stops with a failure where one does not hold."""
    from rpecli.titles import display
    from rpecli.trial import encoding_checks, task_checks
    from rpecli.trial.checks import FAILED
    from rpecli.trial.child import Trial, results_of

    checks = encoding_checks.CHECKS if kind == "encodings" else task_checks.CHECKS
    trials = [Trial(kind, choice, lengths=(TRAINED,), check=check) for check in checks]
    say(f"{display(kind, choice)} ({KINDS[kind]})")
    (first,) = results = results_of(trials[:1])
    if first.outcome != FAILED:
        results += results_of(trials[1:])
    width = max(len(result.outcome) for result in results)
    for name, result in zip(checks, results, strict=False):
        check = replace(checks[name], remedy="") if result is first and data_in(choice) else checks[name]  # no code of the user's
        say("\n".join(_lines(f"  {name:<9}  {result.outcome:<{width}}  ", check, result)))
    if first.outcome == FAILED:
        stop(f"the other {len(checks) - 1} checks need this one to pass first", FAILURE)
    if failed := sum(result.outcome == FAILED for result in results):
        stop(f"{failed} of {plural(len(checks), 'check')} failed", FAILURE)


def _lines(start: str, check: "Check", result: "Result") -> list[str]:
    """What a check found, behind its name and outcome; of one that failed also what that means and what to do."""
    from rpecli.trial.checks import FAILED, OK

    more = f" ({result.text})" if result.text else ""
    texts = {OK: [check.holds + more], FAILED: [result.text, check.remedy]}.get(result.outcome, [result.text])
    width = max(40, text_width() - len(start))
    lines = [line for text in texts for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)]
    return [(start if number == 0 else " " * len(start)) + line for number, line in enumerate(lines)]
