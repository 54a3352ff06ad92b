"""Results in memory with tokens and whole strings given apart, at any training length."""

from functools import cache
from pathlib import Path
from typing import Any

from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.load import RunResults
from rpecli.run.directory import group_of

CHANCE = 0.1
Accuracies = dict[int, float]  # by length


@cache
def config(task: str, encoding: str, seed: int, length: int) -> Config:
    flags = {"task": task, "encoding": encoding, "seed": seed, "length": length, "steps": 100}
    recipe, _ = config_load.load(None, {key: str(value) for key, value in flags.items()})
    (only,) = recipe.configs()
    return only


def result(
    encoding: str, token: Accuracies, exact: Accuracies | None = None, *, task: str = "copy", seed: int = 0, length: int = 16,
    chance: float = CHANCE,
) -> RunResults:  # fmt: skip
    """One run; whole strings are as often right as tokens unless `exact` says otherwise at some length."""
    evaluations: dict[int, Any] = {
        n: {
            "length": n,
            "sequence": 2 * n + 3,
            "n": 100,
            "token_accuracy": value,
            "exact_match": (exact or {}).get(n, value),
            "chance": chance,
            "eval_seed": 0,
            "data": None,
        }
        for n, value in token.items()
    }
    group = group_of(encoding)
    record = {"id": f"{task}-{encoding}-s{seed}", "task": task, "encoding": encoding, "group": group, "seed": seed}
    record |= {"status": "trained", "parameters": 150_000}
    return RunResults(Path("runs") / str(record["id"]), record, config(task, encoding, seed, length), evaluations, {}, {})


def results(tokens: dict[str, Accuracies], exact: dict[str, Accuracies] | None = None, **keys: Any) -> list[TaskResults]:
    """One task with one run per encoding."""
    return aggregate([result(encoding, token, (exact or {}).get(encoding), **keys) for encoding, token in tokens.items()])
