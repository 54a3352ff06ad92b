"""How far a difference of two groups of encodings depends on which encodings are called relative, and what holds beyond them.

The deciding test holds for the encodings that were run. Here the encodings themselves are the sample, each with one number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, variance
from typing import Any

from rpecli.report.stats import N_RESAMPLES, standard_error

MAX_EXACT = 200_000  # relabellings that are enumerated; of more, 9,999 are drawn at random


@dataclass(frozen=True)
class LabelTest:
    """The permutation test over the labels of two groups of encodings, and Welch's t test of their means."""

    p: float
    smallest: float  # no smaller p exists for these numbers of encodings
    extreme: int  # relabellings that differ as much
    relabellings: int
    exact: bool
    p_welch: float | None  # None unless both groups have two encodings, and where all of a group are equal


def label_test(first: Sequence[float], second: Sequence[float]) -> LabelTest:
    """Two-sided tests of the difference of two groups, from one number per encoding.

    A relabelling calls other encodings the first group, as many as it has; the p is the share of all of them, the true one
    included, with a difference at least as large.
    """
    import numpy as np

    values = np.asarray([*first, *second], float)
    total = math.comb(len(values), len(first))
    exact = total <= MAX_EXACT
    sums = values[_chosen(len(values), len(first))].sum(axis=1)
    differences = np.abs(sums / len(first) - (values.sum() - sums) / len(second))
    observed = abs(fmean(first) - fmean(second))
    extreme = int((differences >= observed - 1e-12 * max(1.0, float(np.abs(values).sum()))).sum())
    if not exact:
        return LabelTest((extreme + 1) / (len(sums) + 1), 1 / (len(sums) + 1), extreme, len(sums), exact, _welch(first, second))
    mirrored = 2 if len(first) == len(second) else 1  # the two groups swapped differ by as much
    return LabelTest(extreme / total, mirrored / total, extreme, total, exact, _welch(first, second))


def _chosen(number: int, size: int) -> Any:
    """`[relabellings, size]`: the encodings that each relabelling calls the first group."""
    import numpy as np

    if math.comb(number, size) <= MAX_EXACT:
        return np.asarray(list(combinations(range(number), size)))
    return np.random.default_rng([number, size]).permuted(np.tile(np.arange(number), (N_RESAMPLES, 1)), axis=1)[:, :size]


def _welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    from scipy.special import stdtr

    sizes = [len(first), len(second)]
    if min(sizes) < 2:
        return None
    error, freedom = standard_error([variance(first), variance(second)], sizes, [1, 1])
    return 2 * float(stdtr(freedom, -abs(fmean(first) - fmean(second)) / error)) if error else None
