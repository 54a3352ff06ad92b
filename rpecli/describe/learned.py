"""Which tasks are learned in distribution at their defaults: measured once for every task, and shown on its card.

`learned.csv` holds one row per run of the recipe `every-task`, `tried.csv` one row per run of its tasks with other settings.
`scripts/learned.py` writes both.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from rpecli.config.recipe import Config, task_defaults
from rpecli.run.records import SOLVED
from rpecli.titles import display

FILE, TRIED_FILE = (Path(__file__).with_name(name) for name in ("learned.csv", "tried.csv"))


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


@dataclass(frozen=True)
class Attempt:
    """One run of a task at settings that are not its defaults, measured on the validation strings alone."""

    task: str
    encoding: str
    length: int
    min_length: int
    curriculum: float
    batch_tokens: int
    lr: float
    steps: int
    trained: int  # fewer than the steps where it was given up
    tokens: int
    exact_match: float  # of validation: strings of all training lengths
    id: str
    commit: str
    machine: str

    @property
    def settings(self) -> str:
        """`lengths 1 to 8, 1500 of 2000 steps of 4096 tokens, lr 0.003, curriculum 0.5`."""
        steps = f"{self.trained} of {self.steps}" if self.trained < self.steps else f"{self.steps}"
        curriculum = f", curriculum {self.curriculum:g}" if self.curriculum else ""
        lengths = f"lengths {self.min_length} to {self.length}"
        return f"{lengths}, {steps} steps of {self.batch_tokens} tokens, lr {self.lr:g}{curriculum}"


AnyRow = TypeVar("AnyRow", Result, Attempt)


@cache
def results() -> dict[str, list[Result]]:
    """Every result of every task, in the order of the file."""
    return _by_task(read(FILE, Result))


@cache
def attempts() -> dict[str, list[Attempt]]:
    """Every attempt of every task, in the order of the file."""
    return _by_task(read(TRIED_FILE, Attempt))


def read(path: Path, kind: type[AnyRow]) -> list[AnyRow]:
    """The rows of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            kind(**{field.name: _value(field.type, row[field.name]) for field in fields(kind)}) for row in csv.DictReader(file)
        ]


def write(path: Path, kind: type[AnyRow], rows: Iterable[AnyRow]) -> None:
    """Writes the rows of a file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(vars(row) for row in rows)


def _by_task(rows: Iterable[AnyRow]) -> dict[str, list[AnyRow]]:
    by_task = defaultdict(list)
    for row in rows:
        by_task[row.task].append(row)
    return dict(by_task)


def _value(kind: object, text: str) -> Any:
    if kind is int:
        return int(text)
    return text if kind is str else float(text) if text else None


def sentence(choice: str) -> str | None:
    """`yes, share of strings right: ALiBi 1.00 (350 steps); NoPE 0.41`; None where it was not measured."""
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


def tried(choice: str) -> str | None:
    """What was tried with other settings, `RoPE 0.04 with lengths 1 to 8, ...`, a line per attempt; None for a task that is
    learned at its defaults."""
    if any(result.is_learned for result in results().get(choice, [])):
        return None
    lines = [
        f"{display('encodings', attempt.encoding)} {attempt.exact_match:.2f} with {attempt.settings}"
        for attempt in attempts().get(choice, [])
    ]
    return "\n".join(lines) or None


def tried_rows() -> list[dict[str, str]]:
    """One row per attempt of the tasks that no encoding learns at their defaults."""
    return [
        {
            "task": f"`{task}`",
            "settings": attempt.settings,
            "encoding": display("encodings", attempt.encoding),
            "strings right": f"{attempt.exact_match:.2f}",
        }
        for task, rows in attempts().items()
        if tried(task)
        for attempt in rows
    ]


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
            "learned by": ", ".join(learned) or "not yet",
            "million tokens": _tokens(task, measured),
        }
        for name in encodings:
            row[display("encodings", name)] = _cell(by_encoding.get(name))
        rows.append(row)
    return rows


def _tokens(task: str, measured: list[Result]) -> str:
    """`1.6 (2.5)`: the fewest tokens with which an encoding learned the task, and those of all steps, in millions."""
    fewest = min((f"{result.tokens / 1e6:.1f} " for result in measured if result.is_learned), key=float, default="")
    batch = Config.from_keys(task=task, encoding=measured[0].encoding, **task_defaults(task)).tokens
    return f"{fewest}({measured[0].steps * batch / 1e6:.1f})"


def _cell(result: Result | None) -> str:
    """`1.00 (350), 0.12`: strings right at the training length, the steps it took, strings right at twice the length."""
    if result is None:
        return "not run"
    beyond = "" if result.exact_match_2x is None else f", {result.exact_match_2x:.2f}"
    return f"{result.exact_match:.2f} ({result.trained}){beyond}"
