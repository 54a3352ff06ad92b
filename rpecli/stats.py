"""Numbers about runs: Wilson intervals, means over seeds, rescaled accuracy, effective length, area over log length.

Plain functions of plain numbers; lengths and their values come as a dict `{length: value}`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

SOLVED = 0.9  # exact match at the training length from which a run counts as having learned its task
EFFECTIVE = 0.95  # exact match up to which a length still counts as handled


@dataclass(frozen=True)
class Summary:
    """One measure over the runs that have it."""

    mean: float
    low: float
    high: float
    number: int


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of k successes in n. Raises ValueError when there is no such count."""
    from scipy.stats import binomtest

    found = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def summary(values: Iterable[float]) -> Summary | None:
    """Mean, range and number of values; None of none."""
    kept = list(values)
    return Summary(fmean(kept), min(kept), max(kept), len(kept)) if kept else None


def solved(exact_match: Mapping[int, float], train_length: int) -> bool | None:
    """Whether a run learned its training length; None when it was never evaluated there."""
    return exact_match[train_length] >= SOLVED if train_length in exact_match else None


def rescaled(accuracy: float, chance: float) -> float:
    """Accuracy with chance at 0 and perfection at 1, below 0 when worse than chance; nan when chance is perfect."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else math.nan


def effective_length(exact_match: Mapping[int, float]) -> int:
    """The longest evaluated length handled together with every shorter evaluated one; 0 when the shortest is not."""
    reached = 0
    for length in sorted(exact_match):
        if exact_match[length] < EFFECTIVE:
            break
        reached = length
    return reached


def area(accuracy: Mapping[int, float]) -> float:
    """Mean of accuracy over log2 length (trapezoids): 1 is perfect at every length, each doubling counts the same."""
    points = [(math.log2(length), accuracy[length]) for length in sorted(accuracy)]
    if len(points) == 1:
        return points[0][1]
    pieces = [(x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points)]
    return math.fsum(pieces) / (points[-1][0] - points[0][0])


def censored_median(values: Sequence[float | None]) -> float | None:
    """The median where None is "never": None itself once the middle lies among the nevers, or when there is nothing."""
    middle = median(math.inf if value is None else value for value in values) if values else math.inf
    return middle if math.isfinite(middle) else None
