"""Numbers about runs: intervals, means over seeds, paired tests, ranks, effective length, area over log length, steps.

Plain functions of plain numbers; lengths and their values come as a dict `{length: value}`. Several tasks come as strata, a list
of values a task: what is drawn again is drawn within a task, and each task weighs the same in a mean.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median
from typing import Any

SOLVED = 0.9  # exact match at the training length from which a run counts as having learned its task
EFFECTIVE = 0.95  # exact match up to which a length still counts as handled
HALF = 0.5  # the same for a length handled at least half the time
LEVEL = 0.05  # of every test
SEEDS = 3  # below this nothing is said about seeds that were not run: no interval, no test
RESAMPLES = 9999  # of a bootstrap, and of a permutation test whose arrangements are too many to list
LISTED = 13  # pairs, up to which all sign flips (8,192) are listed


@dataclass(frozen=True)
class Summary:
    """One measure over the runs that have it."""

    mean: float
    low: float
    high: float
    number: int
    median: float = math.nan


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of k successes in n. Raises ValueError when there is no such count."""
    from scipy.stats import binomtest

    found = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def summary(values: Iterable[float]) -> Summary | None:
    """Mean, range, number and median of values; None of none."""
    kept = list(values)
    return Summary(fmean(kept), min(kept), max(kept), len(kept), median(kept)) if kept else None


def solved(exact_match: Mapping[int, float], train_length: int) -> bool | None:
    """Whether a run learned its training length; None when it was never evaluated there."""
    return exact_match[train_length] >= SOLVED if train_length in exact_match else None


def rescaled(accuracy: float, chance: float) -> float:
    """Accuracy with chance at 0 and perfection at 1, below 0 when worse than chance; nan when chance is perfect."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else math.nan


def effective_length(exact_match: Mapping[int, float], at: float = EFFECTIVE) -> int:
    """The longest evaluated length handled together with every shorter evaluated one; 0 when the shortest is not."""
    reached = 0
    for length in sorted(exact_match):
        if exact_match[length] < at:
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


def median_steps(values: Sequence[float | None], budgets: Sequence[float]) -> float | None:
    """The Kaplan-Meier median of steps to a target, where None is a run that was stopped at its budget without getting there.

    Where the curve is flat at exactly one half, the middle of that stretch; None where it never comes down to one half, or stays
    there to the end. With one budget for all this is `censored_median`; with several it uses what the shorter runs still tell.
    """
    from scipy.stats import CensoredData, ecdf

    if not any(value is not None for value in values):
        return None
    reached = [value for value in values if value is not None]
    stopped = [budget for value, budget in zip(values, budgets, strict=True) if value is None]
    curve = ecdf(CensoredData(uncensored=reached, right=stopped)).sf
    half = math.ulp(1.0) * len(values)
    low = [float(q) for q, p in zip(curve.quantiles, curve.probabilities, strict=True) if p <= 0.5 + half]
    below = [float(q) for q, p in zip(curve.quantiles, curve.probabilities, strict=True) if p < 0.5 - half]
    return (low[0] + below[0]) / 2 if low and below else None


# --------------------------------------------------------------------------------------------------------------- intervals


def mean(strata: Sequence[Sequence[float]]) -> float:
    """The mean over tasks of the means over seeds."""
    return fmean(fmean(values) for values in strata)


def interquartile_mean(values: Iterable[float]) -> float:
    """The mean of the middle half: a quarter of the values, rounded down, is cut from either end."""
    from scipy.stats import trim_mean

    return float(trim_mean(list(values), 0.25))


def mean_interval(strata: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of `mean`; None when a task has fewer than three seeds.

    Percentile, not BCa: three to ten seeds are too few for BCa's acceleration, which is undefined (nan) when runs are equal.
    With three seeds the interval is their range, since the lowest seed three times over is 1/27 of all resamples.
    """
    return _interval(strata, lambda drawn: sum(each.mean(axis=-1) for each in drawn) / len(drawn))


def between(first: Sequence[float], second: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of the second mean minus the first, for samples that are not paired."""
    return _interval([first, second], lambda drawn: drawn[1].mean(axis=-1) - drawn[0].mean(axis=-1))


def interquartile_interval(strata: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of the interquartile mean over all (task, seed), drawn again within each task."""
    import numpy as np
    from scipy.stats import trim_mean

    return _interval(strata, lambda drawn: trim_mean(np.concatenate(drawn, axis=-1), 0.25, axis=-1))


def _interval(strata: Sequence[Sequence[float]], statistic: Any) -> tuple[float, float] | None:
    import numpy as np

    if not strata or min(map(len, strata)) < SEEDS:
        return None
    drawn = [np.asarray(values, float)[_draws(len(values), place)] for place, values in enumerate(strata)]
    low, high = np.quantile(statistic(drawn), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


@lru_cache(maxsize=256)
def _draws(number: int, place: int) -> Any:
    """Places drawn with replacement; one draw for all values of a size, since 8,000 cells at 2 ms each would be the report."""
    import numpy as np

    return np.random.default_rng([number, place]).integers(number, size=(RESAMPLES, number))


# ------------------------------------------------------------------------------------------------------------------- tests


def sign_flip(strata: Sequence[Sequence[float]]) -> float | None:
    """Two-sided p of paired differences against "either of a pair could have been the other"; None below three seeds a task.

    A permutation test of the mean itself, the number that tables show. Wilcoxon's test would throw the sizes away and drop pairs
    that tie, of which floors and ceilings of accuracy give many. Exact up to 13 pairs; the smallest p there is 2 / 2**pairs, so
    that fewer than six pairs can never reach .05. Beyond, 9,999 random flips, the observed one counted.
    """
    import numpy as np

    if not strata or min(map(len, strata)) < SEEDS:
        return None
    scaled = np.concatenate([np.asarray(values, float) / len(values) for values in strata])
    sums = np.abs(_flips(len(scaled)) @ scaled)
    reached = sums >= abs(scaled.sum()) - 1e-12 * max(1.0, np.abs(scaled).sum())
    return float(reached.mean()) if len(scaled) <= LISTED else float((reached.sum() + 1) / (len(reached) + 1))


@lru_cache(maxsize=64)
def _flips(number: int) -> Any:
    import numpy as np

    if number > LISTED:
        return np.random.default_rng(number).choice([-1.0, 1.0], size=(RESAMPLES, number))
    bits = (np.arange(2**number)[:, None] >> np.arange(number)) & 1
    return 1.0 - 2.0 * bits


@lru_cache(maxsize=65536)
def mcnemar(first_alone: int, second_alone: int) -> float:
    """McNemar's exact p from the strings that one of two models got right and the other wrong; 1 when there are none."""
    from scipy.stats import binomtest

    total = first_alone + second_alone
    return float(binomtest(first_alone, total, 0.5).pvalue) if total else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p adjusted for having tested them all (Holm 1979), in the order given."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    adjusted = [0.0] * len(values)
    worst = 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - place) * values[i]))
        adjusted[i] = worst
    return adjusted


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the highest; those that tie share the mean of their places."""
    from scipy.stats import rankdata

    return [float(rank) for rank in rankdata([-value for value in values])]


def bits(correct: str, number: int) -> Any:
    """The hexadecimal `correct` of an evaluation as one bool a string."""
    import numpy as np

    return np.unpackbits(np.frombuffer(bytes.fromhex(correct), np.uint8))[:number].astype(bool)
