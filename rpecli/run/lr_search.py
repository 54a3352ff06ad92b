"""The learning-rate search of a recipe: the runs that it compares, what they gave, and the rate that is taken.

A trial is a run of the same recipe with another learning rate and a seed that is not reported. Trials are trained and never
evaluated, in a folder that no report reads: the choice sees validation, on the training lengths, and nothing else.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rpecli.config.recipe import Config, Recipe
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import LrSearch, LrTrials

FOLDER = ".lr_search"  # in the folder of runs


@dataclass
class Choices:
    """The runs of a recipe as far as their learning rates are known, and the trials that decide the others."""

    trials: list[Config] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    searches: dict[str, LrSearch] = field(default_factory=dict)  # by the id of a run of `configs`: how its rate was chosen
    undecided: list[Config] = field(default_factory=list)  # runs without a rate yet


def choices(recipe: Recipe, runs: Path) -> Choices:
    """What is known of the runs of a recipe. Raises RunError for a trial whose result is damaged."""
    groups = _groups(recipe.trials())
    searches = {group: result(trials, runs / FOLDER) for group, trials in groups.items()}
    known = Choices(trials=[trial for trials in groups.values() for trial in trials])
    for config in recipe.configs():
        group = config.searched_together
        if group not in groups:
            known.configs.append(config)
        elif search := searches[group]:
            chosen = config.model_copy(update={"lr": search["taken"]})
            known.configs.append(chosen)
            known.searches[chosen.id] = search
        else:
            known.undecided.append(config)
    return known


def _groups(trials: Iterable[Config]) -> dict[Config, list[Config]]:
    """Trials by what they share; without those of a single rate, which `by_task` or `by_encoding` sets."""
    groups: dict[Config, list[Config]] = {}
    for trial in trials:
        groups.setdefault(trial.searched_together, []).append(trial)
    return {group: members for group, members in groups.items() if len({trial.lr for trial in members}) > 1}


def has_ended(run: Run) -> bool:
    """Whether a trial is trained, or its loss was not finite, as it would be again."""
    with suppress(RunError, OSError):
        return run.is_trained or bool(run.record.get("diverged"))
    return False


def result(trials: list[Config], folder: Path) -> LrSearch | None:
    """What trials gave and the rate to take; None where one has not ended, or none of the rates trains."""
    by_rate: dict[float, list[Run]] = {}
    for trial in trials:
        by_rate.setdefault(trial.lr, []).append(Run(folder / trial.id))
    if not all(has_ended(run) for runs in by_rate.values() for run in runs):
        return None
    tried = [_tried(rate, by_rate[rate]) for rate in sorted(by_rate)]
    taken = best(tried)
    return None if taken is None else LrSearch(taken=taken, seeds=sorted({trial.seed for trial in trials}), tried=tried)


def _tried(rate: float, runs: list[Run]) -> LrTrials:
    """The last validations of the trials of a rate, averaged over seeds."""
    entry = LrTrials(lr=rate, runs=[run.name for run in runs], token_accuracy=None, loss=None)
    if all(run.is_trained for run in runs):
        lines = [_last_validation(run) for run in runs]
        entry["token_accuracy"], entry["loss"] = (
            round(fmean(line[key] for line in lines), 6) for key in ("token_accuracy", "loss")
        )
    return entry


def _last_validation(run: Run) -> Mapping[str, Any]:
    line = run.last_metrics()
    if line is None:
        raise RunError(f"{run.metrics_file}: its last validation is damaged or gone: delete {run}, then start the same command")
    return line


def best(tried: list[LrTrials]) -> float | None:
    """The rate with the highest token accuracy in validation, of equal ones that with the lowest training loss."""
    scores = {one["lr"]: (one["token_accuracy"], -one["loss"]) for one in tried
              if one["token_accuracy"] is not None and one["loss"] is not None}  # fmt: skip
    return max(scores, key=lambda rate: scores[rate], default=None)


def record(runs: Iterable[Run], searches: Mapping[str, LrSearch]) -> None:
    """Writes into the record of each run how its rate was chosen.

    One that another process works on, or that cannot be written, keeps what it has.
    """
    for run in runs:
        search = searches.get(run.name)
        with suppress(RunError):
            if search and run.record.get("lr_search") != search:
                with run.lock():
                    run.update(lr_search=search)
