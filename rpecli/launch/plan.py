"""What `rpe run` would do: how far each run of a recipe is, and how long the rest takes, from measured steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rpecli.config.recipe import Config, label
from rpecli.launch.job import Job
from rpecli.launch.receipt import is_done
from rpecli.run.directory import Run, Status
from rpecli.run.files import RunError
from rpecli.run.lr_search import FOLDER, Choices, has_ended

DONE, UNEVALUATED, NEW = "done", "to evaluate", "to train"
SEARCHED, TRIAL, UNDECIDED = "searched", "to search", "to train after the search"  # where the learning rate is searched
MEASURING = 20.0  # seconds, after which the runs that are left are taken to be like those that were measured
OWN_COLUMNS = ("task", "encoding", "positions", "seed", "steps")
Step = tuple[float, float]  # seconds and tokens


@dataclass(frozen=True)
class PlannedRun:
    """One run of a recipe, what is left to do, and what that takes; no seconds where nothing is left to train."""

    config: Config
    state: str  # one of those above, or `to resume at step 400`
    steps: int  # left to train
    name: str | None  # of its directory in the folder of runs; None before its learning rate is chosen
    seconds: float = 0.0
    tokens: float = 0.0


def planned_runs(known: Choices, work: Mapping[str, Job], runs: Path) -> list[PlannedRun]:
    """How far the runs of a recipe are, whose jobs are `work` by id; before them the trials of a learning-rate search."""
    trials = [_planned_trial(trial, Run(runs / FOLDER / trial.id)) for trial in known.trials]
    undecided = [PlannedRun(config, UNDECIDED, config.steps, None) for config in known.undecided]
    return [*trials, *(_planned(work[config.id], config) for config in known.configs), *undecided]


def _planned_trial(config: Config, run: Run) -> PlannedRun:
    name = f"{FOLDER}/{config.id}"
    if has_ended(run):
        return PlannedRun(config, SEARCHED, 0, name)
    return _left_to_train(config, run, name, TRIAL)


def _planned(job: Job, config: Config) -> PlannedRun:
    if is_done(job, config):
        return PlannedRun(config, DONE, 0, config.id)
    return _left_to_train(config, job.run, config.id, NEW)


def _left_to_train(config: Config, run: Run, name: str, new: str) -> PlannedRun:
    step = _steps_done(run)
    if step is None:
        return PlannedRun(config, UNEVALUATED, 0, name)
    return PlannedRun(config, f"to resume at step {step}" if step else new, max(1, config.steps - step), name)


def _steps_done(run: Run) -> int | None:
    """The step at which a run goes on from its checkpoint; None for one that is trained."""
    with suppress(RunError, OSError):
        if run.is_trained:
            return None
        if run.record["status"] != Status.CREATED and run.checkpoint_file.exists():
            return int(run.record.get("step", 0))
    return 0


def with_estimates(runs: Sequence[PlannedRun], measure: Callable[[Config], Step]) -> list[PlannedRun]:
    """The runs with the seconds and tokens that their training is expected to take: a step of each kind is measured."""
    steps = _measured_steps({_kind(run.config): run.config for run in runs if run.steps}, measure)
    if not steps:
        return list(runs)
    typical = fmean(seconds for seconds, _ in steps.values()), fmean(tokens for _, tokens in steps.values())
    return [_estimated(run, steps.get(_kind(run.config), typical)) for run in runs]


def _estimated(run: PlannedRun, step: Step) -> PlannedRun:
    return replace(run, seconds=run.steps * step[0], tokens=run.steps * step[1])


def _kind(config: Config) -> str:
    """What runs have in common whose steps take equally long: everything but the seed."""
    return config.model_copy(update={"seed": 0, "steps": 1, "lr": 1.0}).model_dump_json()


def _measured_steps(kinds: Mapping[str, Config], measure: Callable[[Config], Step]) -> dict[str, Step]:
    steps, start = dict[str, Step](), time.monotonic()
    for kind, config in kinds.items():
        steps[kind] = measure(config)
        if time.monotonic() - start > MEASURING:
            break
    return steps


def varied_keys(configs: Sequence[Config]) -> list[str]:
    """The keys in which runs differ, beside those of OWN_COLUMNS and those that follow from the task alone."""
    keys = [config.to_keys() for config in configs]
    return [key for key in keys[0] if key not in OWN_COLUMNS and _varies(key, keys)] if keys else []


def _varies(key: str, runs: Sequence[Mapping[str, Any]]) -> bool:
    by_task: dict[str, set[str]] = {}
    for run in runs:
        by_task.setdefault(run["task"], set()).add(str(run[key]))
    return any(len(values) > 1 for values in by_task.values())


def records(runs: Sequence[PlannedRun], folder: Path) -> list[dict[str, Any]]:
    """The plan for a program."""
    return [_record(run, folder) for run in runs]


def _record(run: PlannedRun, folder: Path) -> dict[str, Any]:
    config = run.config
    return {
        "run": str(folder / run.name) if run.name else None, "task": label(config.task), "encoding": label(config.encoding),
        "positions": config.positions, "seed": config.seed, "lr": config.lr if run.name else None, "state": run.state,
        "steps_left": run.steps, "seconds": round(run.seconds, 1), "tokens": round(run.tokens),
    }  # fmt: skip
