"""Runs made up in memory: what a report reads from directories, with every number given."""

from functools import cache
from pathlib import Path
from typing import Any

from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.report.aggregate import Panel, panels
from rpecli.report.load import Run

GROUP = {"learned": "APE", "sinusoidal": "APE", "rope": "RPE", "alibi": "RPE", "none": "none"}


@cache
def config(task: str, encoding: str, seed: int) -> Config:
    flags = {"task": task, "encoding": encoding, "seed": seed, "length": 16, "steps": 100}
    (made,) = config_load.load(None, {key: str(value) for key, value in flags.items()})[0].configs()
    return made


def made_up(
    encoding: str, seed: int, exact: dict[int, float], *, task: str = "copy", token: dict[int, float] | None = None,
    steps: int | None = 50, right: dict[int, str] | None = None, **info: Any,
) -> Run:  # fmt: skip
    """A trained run: exact match by length, token accuracy the same unless given, steps to 90 %, and which strings were right."""
    tokens = token or exact
    lines = {
        n: {"length": n, "n": 8, "exact_match": exact[n], "token_accuracy": tokens[n], "correct": (right or {}).get(n, "ff")}
        for n in exact
    }
    record = {"id": f"{task}-{encoding}-s{seed}", "task": task, "encoding": encoding, "group": GROUP[encoding], "seed": seed}
    record |= {"status": "trained", "tokens": 5000, "parameters": 1000}
    record |= {"steps_to_accuracy": {f"{what}_to_{at}": steps for what in ("steps", "tokens") for at in (90, 99)}}
    return Run(Path("runs") / record["id"], record | info, config(task, encoding, seed), lines, {}, {})


def study(
    values: dict[str, list[float]],
    tasks: tuple[str, ...] = ("copy",),
    learned: float = 1.0,
    steps: dict[str, int | None] | None = None,
) -> list[Panel]:
    """Every encoding on every task: exact match beyond training by seed, the same for each task."""
    runs = [
        made_up(name, seed, {16: learned, 32: value, 64: value}, task=task, steps=(steps or {}).get(name, 50))
        for name, seeds in values.items() for seed, value in enumerate(seeds) for task in tasks
    ]  # fmt: skip
    return panels(runs)
