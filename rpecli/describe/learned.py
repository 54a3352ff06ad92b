"""Which tasks are learned in distribution at their defaults: measured once for every task, and shown on its card.

`learned.csv` holds one row per task and encoding. `scripts/learned.py` writes it from the runs of the recipe `every-task`.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from rpecli.run.records import SOLVED
from rpecli.titles import display

FILE = Path(__file__).with_name("learned.csv")


@dataclass(frozen=True)
class Result:
    """One run of a task at its defaults, evaluated at its training length and at twice that."""

    task: str
    encoding: str
    length: int
    steps: int  # that the defaults allow
    trained: int  # of them: training stops once the validation strings are right
    tokens: int  # trained on
    exact_match: float
    token_accuracy: float
    exact_match_2x: float | None  # None: the task has no problem of that length
    token_accuracy_2x: float | None
    chance: float  # token accuracy
    id: str
    commit: str
    machine: str

    @property
    def is_learned(self) -> bool:
        return self.exact_match >= SOLVED

    @property
    def right(self) -> str:
        """`ALiBi 0.98`."""
        return f"{display('encodings', self.encoding)} {self.exact_match:.2f}"


@cache
def results() -> dict[str, list[Result]]:
    """Every result of every task, in the order of the file."""
    by_task = defaultdict(list)
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_task[row["task"]].append(Result(**{field.name: _value(field.type, row[field.name]) for field in fields(Result)}))
    return dict(by_task)


def _value(kind: object, text: str) -> Any:
    if kind is int:
        return int(text)
    return text if kind is str else float(text) if text else None


def sentence(choice: str) -> str | None:
    """`yes: ALiBi 1.00 of strings after 350 of 1000 steps, RoPE 0.98; NoPE 0.41`; None where it was not measured."""
    measured = sorted(results().get(choice, []), key=lambda result: -result.exact_match)
    if not measured:
        return None
    learned = [result for result in measured if result.is_learned]
    rest = [result for result in measured if not result.is_learned]
    parts = [", ".join(f"{result.right} ({_steps(result)})" for result in learned), ", ".join(result.right for result in rest)]
    answer = "yes, share of strings right: " if learned else f"no, in {measured[0].steps} steps; share of strings right: "
    return answer + "; ".join(filter(None, parts))


def _steps(result: Result) -> str:
    return f"{result.trained} steps" if result.trained < result.steps else f"all {result.steps} steps"


def table_rows() -> list[dict[str, str]]:
    """One row per task: what the encodings reach at the training length and at twice that."""
    encodings = list(dict.fromkeys(result.encoding for measured in results().values() for result in measured))
    rows = []
    for task, measured in results().items():
        by_encoding = {result.encoding: result for result in measured}
        first = measured[0]
        learned = [display("encodings", result.encoding) for result in measured if result.is_learned]
        row = {
            "task": f"`{task}`",
            "length": str(first.length),
            "steps": str(first.steps),
            "learned by": ", ".join(learned) or "none",
        }
        for name in encodings:
            row[display("encodings", name)] = _cell(by_encoding.get(name))
        rows.append(row)
    return rows


def _cell(result: Result | None) -> str:
    """`1.00 (350), 0.12`: strings right at the training length, the steps it took, strings right at twice the length."""
    if result is None:
        return "not run"
    beyond = "" if result.exact_match_2x is None else f", {result.exact_match_2x:.2f}"
    return f"{result.exact_match:.2f} ({result.trained}){beyond}"
