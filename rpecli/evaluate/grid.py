"""A grid of two sizes, such as the digits of two operands: its cells, and the problems of one of them as a task."""

from copy import copy

import numpy as np

from rpecli import data
from rpecli.choice import ChoiceError
from rpecli.config.ranges import parse_grid
from rpecli.config.recipe import Config
from rpecli.run.records import GridCell
from rpecli.task import Batch, Task, measured_chance

Sizes = tuple[int, int]
TRIED = 32  # sequences, of which the longest tells how long they are


def cells(config: Config, task: Task) -> list[Sizes]:
    """The pairs of sizes to evaluate; none without a grid. Those above the task's greatest length are left out."""
    if not config.eval.grid:
        return []
    require_sizes(config.evaluated_task, task)
    return [sizes for sizes in parse_grid(config.eval.grid, config.length) if task.has_length(max(sizes))]


def has_two_sizes(task: Task) -> bool:
    return len(task.size_names) == 2


def require_sizes(choice: str, task: Task) -> None:
    """Raises ChoiceError for a task whose problems have one size, their length."""
    if not has_two_sizes(task):
        raise ChoiceError(
            f"grid: {choice} has one size, its length: a grid is for a task whose card names two (rpe show {choice})"
        )


def cell(task: Task, config: Config, sizes: Sizes) -> GridCell:
    """What a line of eval.jsonl says of a cell."""
    return {"sizes": list(sizes), "names": list(task.size_names), "trained": list(task.trained_sizes(config.length))}


def of_sizes(task: Task, sizes: Sizes) -> Task:
    """The task, of whose problems all have these two sizes, whatever length is asked for."""
    sized = copy(task)

    def draw(rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return task.draw_sizes(data.generator("sizes", int(rng.integers(1 << 62)), *sizes), batch, sizes)

    def sequence(length: int) -> int:
        return _sample(sized, TRIED).tokens_BxT.shape[1]

    sized.draw, sized.sequence = draw, sequence  # type: ignore[method-assign]
    sized.chance = lambda length: measured_chance(sized, length)  # type: ignore[method-assign]
    return sized


def _sample(task: Task, batch: int) -> Batch:
    return task.sample(np.random.default_rng(0), batch, 1)
