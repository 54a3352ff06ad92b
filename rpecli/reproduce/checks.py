"""What no type can say of a paper's file: names that occur twice, keys that a cell cannot have, values out of their range."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from rpecli import catalog
from rpecli.choice import ChoiceError
from rpecli.config.recipe import Recipe

if TYPE_CHECKING:
    from rpecli.reproduce.paper import Bin, Cell, Paper

RANGES = {"perplexity": (1.0, math.inf)}  # of values; others are shares
COLUMNS = ("cell", "seeds", "verdict", "time a seed")  # of the tables, beside the bins
NOT_OF_A_CELL = {
    "lr_search": "a published protocol has one learning rate: write lr",
    "seed": "seeds are 0, 1, ... (rpe reproduce --seeds): remove it",
    "lengths": "the bins say what is evaluated: remove it, and to leave lengths out write bins: [{lengths: [41, 500], step: 51}]",
    "eval_task": "the bins say what is evaluated: remove it, and write bins: [..., {lengths: [1, 50], task: TASK, label: NAME}]",
    "grid": "the bins say what is evaluated, and are of lengths: remove it",
    "vary": "a cell is one run: remove it, and write a cell for each value",
    "exclude": "a cell is one run: remove it",
    "by_task": "a cell has one task: write its keys under tasks",
    "by_encoding": "a cell has one encoding: write its keys under arms",
}


def problems(paper: "Paper") -> Iterator[str]:
    """Everything that is wrong with a paper, the bins first, which the cells count on."""
    yield from _problems_of_bins(paper)
    if len(paper.by_name) < len(paper.cells):
        yield f"two cells are named {_twice(cell.name for cell in paper.cells)}: tell them apart with variant"
    if paper.measure == "perplexity" and paper.compare != "order":
        yield "measure: a perplexity is of one text and vocabulary: write compare: order"
    every = (paper.protocol, *paper.tasks.values(), *paper.arms.values(), *(cell.keys for cell in paper.cells))
    for key, reason in NOT_OF_A_CELL.items():
        if any(key in keys for keys in every):
            yield f"{key}: {reason}"
    for cell in paper.cells:
        yield from (f"cell {cell.name}: {problem}" for problem in _problems_of_cell(paper, cell))


def _problems_of_bins(paper: "Paper") -> Iterator[str]:
    if paper.bins[0].task:
        yield "bins: the first is of the trained task: leave task out there"
    for part in paper.bins:
        if not 1 <= part.lengths[0] <= part.lengths[1]:
            yield f"bins: {part.name}: write the first length, from 1 on, and then the last"
        if part.name in COLUMNS:
            yield f"bins: {part.name}: a column of the table has this name: write another label"
    if len(set(paper.bin_names)) < len(paper.bins):
        yield f"bins: two are named {_twice(paper.bin_names)}: tell them apart with label"
    for first, second in combinations(paper.bins, 2):
        if first.task == second.task and _overlap(first, second):
            yield f"bins: {first.name} and {second.name} share lengths of one test set: write lengths that do not overlap"


def _overlap(first: "Bin", second: "Bin") -> bool:
    return first.lengths[0] <= second.lengths[1] and second.lengths[0] <= first.lengths[1]


def _twice(names: Iterable[str]) -> str:
    """The first of the names that stand there more than once, in alphabetical order."""
    return min(name for name, count in Counter(names).items() if count > 1)


def _problems_of_cell(paper: "Paper", cell: "Cell") -> Iterator[str]:
    for key, known in (("task", paper.tasks), ("arm", paper.arms)):
        if getattr(cell, key) not in known:
            yield catalog.unknown(key, getattr(cell, key), list(known))
            return
    if any(len(values) != len(paper.bins) for values in cell.seeds):
        yield f"every seed has {len(paper.bins)} values, one per bin"
    low, high = RANGES.get(paper.measure, (0.0, 1.0))
    if wrong := [value for values in cell.seeds for value in values if not low <= value <= high]:
        yield f"{wrong[0]:g}: a value of {paper.measure} is from {low:g} to {high:g}"
    for key, place in (
        ("task", f"tasks: {{{cell.task}: {{task: NAME}}}}"),
        ("encoding", f"arms: {{{cell.arm}: {{encoding: NAME}}}}"),
    ):
        if key not in paper.keys(cell):
            yield f"no {key} is given: write {place}"
            return
    try:
        configs = paper.configs(cell, 1)
    except ValidationError as error:
        yield first_of(error, Recipe)
        return
    except ChoiceError as error:
        yield str(error)
        return
    if len(configs) != 1:
        yield f"its keys name {len(configs)} runs: a cell is one, so write a cell for each"


def first_of(error: ValidationError, model: type[BaseModel], parts: Mapping[str, type[BaseModel]] = MappingProxyType({})) -> str:
    """The first problem of a file in words: a key that `model`, or the model of its part, does not know before all others."""
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    place, kind = problem["loc"], problem["type"]
    if kind == "extra_forbidden":
        known = parts.get(str(place[0]), model) if len(place) > 1 else model
        text = f"unknown key: {catalog.nearest(str(place[-1]), sorted(known.model_fields))}"
    else:
        texts = {"missing": "is missing: write it", "too_short": "needs at least one"}
        text = texts.get(kind, problem["msg"].removeprefix("Value error, "))
    return f"{'.'.join(map(str, place))}: {text}"
