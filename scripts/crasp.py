"""The C-RASP tasks by encoding, from results/crasp/runs.csv: what scripts/docs.py writes into results/crasp/README.md.

rpe run crasp-table --runs runs/crasp                # hours, resumable; --task and --seed do a part of it
rpe report --runs runs/crasp --out results --name crasp --records
python scripts/docs.py
"""

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from rpecli.catalog import folder
from rpecli.config.load import load
from rpecli.config.recipe import Config
from rpecli.config.suites import expressible
from rpecli.report.overview import UNSOLVED
from rpecli.run.records import SOLVED
from rpecli.table import MISSING, Table
from rpecli.titles import display, display_trained

FILE = Path(__file__).resolve().parents[1] / "results" / "crasp" / "runs.csv"
BINS = ((51, 100), (101, 150))
YES_NO = {True: "yes", False: "no"}
Row = tuple[str, str]  # encoding and positions


class RunBins(NamedTuple):
    """One run: whether it learned its training length, as in a report, and the strings it gets right in the bins beyond.

    The share of strings of a bin counts the end token too and is the mean over the lengths of the bin.
    """

    solved: bool
    middle: float
    longest: float


@cache
def configs() -> list[Config]:
    """Every run of the table, done or not."""
    return load(str(folder("recipes") / "crasp-table.yaml"), {})[0].configs()


@cache
def results() -> dict[tuple[str, Row], list[RunBins]]:
    """The runs that there are, by task and row, in the order of their seeds."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    exact: dict[tuple[str, int], float] = {}
    if FILE.exists():
        with FILE.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                if line["status"] == "trained" and line["exact_match_eos"]:
                    values[line["run"]][int(line["length"])] = float(line["exact_match_eos"])
                    exact[line["run"], int(line["length"])] = float(line["exact_match"])
    runs: dict[tuple[str, Row], list[RunBins]] = defaultdict(list)
    for config in configs():
        if by_length := values.get(config.id):
            means = (fmean(value for n, value in by_length.items() if low <= n <= high) for low, high in BINS)
            solved = exact[config.id, config.length] >= SOLVED
            runs[config.task, (config.encoding, config.positions)].append(RunBins(solved, *means))
    return runs


def tasks() -> list[str]:
    return list(dict.fromkeys(config.task for config in configs()))


def rows() -> list[Row]:
    return list(dict.fromkeys((config.encoding, config.positions) for config in configs()))


def n_seeds() -> int:
    return len({config.seed for config in configs()})


def cell(task: str, row: Row) -> str:
    """`100 / 93`: per cent of strings right in the two bins beyond training; a star where a run did not learn its length."""
    runs = results().get((task, row), [])
    if not runs:
        return MISSING
    solved = sum(run.solved for run in runs)
    numbers = " / ".join(f"{100 * fmean(values):.0f}" for values in zip(*(run[1:] for run in runs), strict=True))
    few = f" ({len(runs)} of {n_seeds()})" if len(runs) < n_seeds() else ""
    return f"{numbers}{UNSOLVED if solved < len(runs) else ''}{few}"


def predictions() -> dict[str, str]:
    """By task: whether a C-RASP program solves it with absolute positions / with none."""
    return {task: " / ".join(YES_NO[value] for value in expressible(task) or ()) or MISSING for task in tasks()}


def crasp_table() -> str:
    """One row per encoding, one column per task, and the predictions above them."""
    names = {task: display("tasks", task) for task in tasks()}
    head = {"encoding": "predicted: absolute / none"} | {names[task]: text for task, text in predictions().items()}
    lines = [{"encoding": display_trained(*row)} | {names[task]: cell(task, row) for task in tasks()} for row in rows()]
    return Table.of([head, *lines], "", ("encoding", *names.values())).markdown(padded=False)


def crasp_sizes() -> str:
    """The architecture and the training of each task."""
    first = {config.task: config for config in reversed(configs())}
    lines = [
        {
            "task": display("tasks", task),
            "layers/heads/width": f"{config.n_layer}/{config.n_head}/{config.d_model}",
            "trained to": str(config.length),
            "steps": str(config.steps),
            "tokens a step": str(config.tokens),
            "learning rate": f"{config.lr:g}",
            "runs": f"{sum(len(results().get((task, row), [])) for row in rows())} of {len(rows()) * n_seeds()}",
        }
        for task in tasks()
        for config in [first[task]]
    ]
    return Table.of(lines, "", tuple(lines[0])).markdown(padded=False)


def crasp_findings() -> str:
    """What came out of each task that has been run, one line a task: who learned it, who holds at two to three times it."""
    lines = []
    for task in tasks():
        done = {row: runs for (name, row), runs in results().items() if name == task and len(runs) == n_seeds()}
        learned = {row: runs for row, runs in done.items() if all(run.solved for run in runs)}
        means = {display_trained(*row): fmean(run.longest for run in runs) for row, runs in learned.items()}
        if done:
            text = f"- **{display('tasks', task)}**: {len(means) or 'none'} of {len(done)} encodings learned it with every seed"
            lines.append(f"{text}{_longest(means)}.")
    return "\n".join(lines)


def _longest(means: dict[str, float]) -> str:
    """Who of the encodings that learned a task holds in the longest bin, by their means there."""
    if not means:
        return ""
    held = [name for name, mean in means.items() if mean >= SOLVED]
    at = f"; at {BINS[-1][0]} to {BINS[-1][1]} symbols"
    if held:
        who = f"only {held[0]} still gets" if len(held) == 1 else f"{len(held)} of these still get"
        return f"{at} {who} {100 * SOLVED:.0f} % of strings right or more"
    best = max(means, key=means.__getitem__)
    return f"{at} {best}{', the best of these,' if len(means) > 1 else ''} gets {100 * means[best]:.0f} % of strings right"


def finding() -> str:
    """The table in one sentence: how far along it is, and what the predictions came to."""
    done = {key: runs for key, runs in results().items() if len(runs) == n_seeds()}
    n_cells = len(tasks()) * len(rows())
    learned = [key for key, runs in done.items() if all(run.solved for run in runs)]
    held = [key for key in learned if fmean(run.longest for run in done[key]) >= SOLVED]
    return (
        f"of {n_cells} pairs of task and encoding {len(done)} have all their seeds; {len(learned)} of them learned their "
        f"training length with every seed, and {len(held)} get {100 * SOLVED:.0f} % of strings right at two to three times it."
    )
