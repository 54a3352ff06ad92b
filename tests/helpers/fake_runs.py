"""Runs in memory: what a report reads from directories, with every number given."""

from functools import cache
from pathlib import Path
from typing import Any

from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.load import RunResults

GROUP = {"learned": "APE", "sinusoidal": "APE", "rope": "RPE", "alibi": "RPE", "t5": "RPE", "none": "none"}


@cache
def config(task: str, encoding: str, seed: int) -> Config:
    flags = {"task": task, "encoding": encoding, "seed": seed, "length": 16, "steps": 100}
    recipe, _ = config_load.load(None, {key: str(value) for key, value in flags.items()})
    (only,) = recipe.configs()
    return only


def fake_run(
    encoding: str, seed: int, exact: dict[int, float], *, task: str = "copy", steps: int | None = 50,
    correct: dict[int, str] | None = None, **record: Any,
) -> RunResults:  # fmt: skip
    """A trained run: exact match, and with it token accuracy, by length; steps to 90 and 99 %; correct sequences by length."""
    evaluations = {
        n: {"length": n, "sequence": 2 * n + 3, "n": 8, "exact_match": match, "token_accuracy": match,
            "correct": (correct or {}).get(n, "ff"), "eval_seed": 0, "data": None}
        for n, match in exact.items()
    }  # fmt: skip
    base = {
        "id": f"{task}-{encoding}-s{seed}",
        "task": task,
        "encoding": encoding,
        "group": GROUP[encoding.partition(":")[0]],
        "seed": seed,
    }
    base |= {"status": "trained", "tokens": 5000, "parameters": 1000}
    base |= {"steps_to_accuracy": {f"{what}_to_{at}": steps for what in ("steps", "tokens") for at in (90, 99)}}
    return RunResults(Path("runs") / str(base["id"]), base | record, config(task, encoding, seed), evaluations, {}, {})


def fake_study(
    scores: dict[str, list[float]],
    tasks: tuple[str, ...] = ("copy",),
    learned: float = 1.0,
    steps: dict[str, int | None] | None = None,
) -> list[TaskResults]:
    """Exact match beyond training by encoding and seed, the same on every task; `learned` is that at the training length."""
    runs = [
        fake_run(encoding, seed, {16: learned, 32: score, 64: score}, task=task, steps=(steps or {}).get(encoding, 50))
        for encoding, by_seed in scores.items() for seed, score in enumerate(by_seed) for task in tasks
    ]  # fmt: skip
    return aggregate(runs)


def scored(scores: dict[str, dict[int, float]]) -> TaskResults:
    """One task with these scores beyond training, by encoding and seed."""
    runs = [
        fake_run(encoding, seed, {16: 1.0, 32: score}) for encoding, by_seed in scores.items() for seed, score in by_seed.items()
    ]
    (task,) = aggregate(runs)
    return task
