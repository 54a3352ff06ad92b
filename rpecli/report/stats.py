"""Statistics of runs: intervals, means over seeds, paired tests, ranks, effective length, area over log length, steps.

Plain functions of plain numbers. Values by length come as a dict `{length: value}`. Values of several tasks come as strata, one
list of values per task: resampling stays within a task, and every task has the same weight in a mean.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median, variance
from typing import Any

from rpecli.run.records import SOLVED

LEARNED = 0.1  # of the nats of the best guess without the input: by so much less a run has learned a task scored by perplexity
HOLDS, HOLDS_HALF = 0.01, 0.1  # the share by which perplexity may be above that at the training length where a length holds
EFFECTIVE = 0.95  # exact match from which a length counts towards the effective length
EFFECTIVE_HALF = 0.5  # the same for the half length
ALPHA = 0.05  # significance level of every test
MIN_SEEDS = 3  # with fewer there is no interval and no test
BOOTSTRAP_SEEDS = 6  # per task from which a mean has a bootstrap interval: with fewer it covers 72 to 90 %, so t takes its place
ANY = (-math.inf, math.inf)  # the bounds of values without bounds
SHARES, SHARE_DIFFERENCES = (0.0, 1.0), (-1.0, 1.0)
N_RESAMPLES = 9999  # of a bootstrap, and of a permutation test with too many arrangements to enumerate
PART = 1_000_000  # values of a bootstrap that are resampled at a time
MANY_VALUES = 128  # of an interquartile mean, from which the resamples are not sorted one by one
MAX_EXACT_PAIRS = 13  # pairs for which all sign flips (8,192) are enumerated


@dataclass(frozen=True)
class Summary:
    """One measure over the runs that have it."""

    mean: float
    low: float
    high: float
    n: int
    median: float = math.nan


def summary(values: Iterable[float | None]) -> Summary | None:
    """Mean, range, number and median of the values that are not None; None without any."""
    numbers = [value for value in values if value is not None]
    return Summary(fmean(numbers), min(numbers), max(numbers), len(numbers), median(numbers)) if numbers else None


def solved(values: Mapping[int, float], train_length: int, threshold: float = SOLVED) -> bool | None:
    """Whether a run learned its training length; None if it was not evaluated there."""
    return values[train_length] >= threshold if train_length in values else None


def effective_length(quality: Mapping[int, float], threshold: float = EFFECTIVE) -> int:
    """The longest evaluated length such that quality is at least the threshold there and at every shorter one; else 0."""
    longest = 0
    for length in sorted(quality):
        if quality[length] < threshold:
            break
        longest = length
    return longest


def area(accuracy: Mapping[int, float]) -> float:
    """Mean of accuracy over log2 length (trapezoidal rule): 1 if perfect at every length; every doubling has the same weight."""
    points = [(math.log2(length), accuracy[length]) for length in sorted(accuracy)]
    if len(points) == 1:
        return points[0][1]
    trapezoids = [(x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points)]
    return math.fsum(trapezoids) / (points[-1][0] - points[0][0])


def censored_median(values: Sequence[float | None]) -> float | None:
    """The median where None means "never", which sorts last; None where the median is "never", or without values."""
    result = median(math.inf if value is None else value for value in values) if values else math.inf
    return result if math.isfinite(result) else None


def median_steps(values: Sequence[float | None], budgets: Sequence[float]) -> float | None:
    """The Kaplan-Meier median of the steps to a target, where None is a run censored at its budget.

    Where the survival curve is flat at exactly one half, the midpoint of that stretch; None where it never falls to one half, or
    stays there to the end. With one budget for all runs this is `censored_median`.
    """
    from scipy.stats import CensoredData, ecdf

    if not any(value is not None for value in values):
        return None
    reached = [value for value in values if value is not None]
    censored = [budget for value, budget in zip(values, budgets, strict=True) if value is None]
    curve = ecdf(CensoredData(uncensored=reached, right=censored)).sf
    rounding = math.ulp(1.0) * len(values)
    at_half = [float(q) for q, p in zip(curve.quantiles, curve.probabilities, strict=True) if p <= 0.5 + rounding]
    below_half = [float(q) for q, p in zip(curve.quantiles, curve.probabilities, strict=True) if p < 0.5 - rounding]
    return (at_half[0] + below_half[0]) / 2 if at_half and below_half else None


def mean(strata: Sequence[Sequence[float]]) -> float:
    """The mean over tasks of the means over seeds."""
    return fmean(fmean(values) for values in strata)


def interquartile_mean(values: Iterable[float]) -> float:
    """The mean of the middle half (IQM): a quarter of the values, rounded down, is cut from either end."""
    from scipy.stats import trim_mean

    return float(trim_mean(list(values), 0.25))


def mean_interval(strata: Sequence[Sequence[float]], bounds: tuple[float, float] = ANY) -> tuple[float, float] | None:
    """The 95 % interval of `mean`, cut at the bounds of the values; None if a task has fewer than three seeds.

    Below six seeds in a task it is a t interval. From six on it is a bootstrap interval: percentile, not BCa, whose acceleration
    is undefined (nan) where runs are equal.
    """
    if not strata or min(map(len, strata)) < MIN_SEEDS:
        return None
    if min(map(len, strata)) < BOOTSTRAP_SEEDS:
        return _t_interval(mean(strata), strata, [1 / len(strata)] * len(strata), bounds)
    return _bootstrapped_mean(tuple(array("d", values).tobytes() for values in strata))


@lru_cache(maxsize=8192)
def _bootstrapped_mean(strata: tuple[bytes, ...]) -> tuple[float, float] | None:
    """The interval of doubles, of which tables, figures and files ask for the same ones: to the bit, -0.0 is not 0.0."""
    import numpy as np

    values: list[Any] = list(map(np.frombuffer, strata))
    return _bootstrap(values, lambda resampled: sum(values.mean(axis=-1) for values in resampled) / len(resampled))


def unpaired_interval(
    first: Sequence[float], second: Sequence[float], bounds: tuple[float, float] = ANY
) -> tuple[float, float] | None:
    """The 95 % interval of the second mean minus the first, for samples that are not paired: Welch's t, or bootstrap."""
    smaller = min(len(first), len(second))
    if smaller < MIN_SEEDS:
        return None
    if smaller < BOOTSTRAP_SEEDS:
        return _t_interval(fmean(second) - fmean(first), [first, second], [1, 1], bounds)
    return _bootstrap([first, second], lambda resampled: resampled[1].mean(axis=-1) - resampled[0].mean(axis=-1))


def standard_error(variances: Sequence[float], sizes: Sequence[int], weights: Sequence[float]) -> tuple[float, float]:
    """The standard error of a weighted sum of means, and its degrees of freedom after Welch and Satterthwaite."""
    parts = [weight**2 * variance / size for variance, size, weight in zip(variances, sizes, weights, strict=True)]
    total = math.fsum(parts)
    if total == 0:
        return 0.0, float(sum(sizes) - len(sizes))
    # shares of the total, because the squares of tiny parts are 0
    freedom = 1 / math.fsum((part / total) ** 2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return math.sqrt(total), freedom


def _t_interval(
    centre: float, strata: Sequence[Sequence[float]], weights: Sequence[float], bounds: tuple[float, float]
) -> tuple[float, float]:
    from scipy.special import stdtrit

    error, freedom = standard_error([variance(values) for values in strata], [len(values) for values in strata], weights)
    half = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    return max(bounds[0], centre - half), min(bounds[1], centre + half)


def interquartile_interval(strata: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of the interquartile mean over all (task, seed), resampled within each task."""
    import numpy as np
    from scipy.stats import trim_mean

    if sum(map(len, strata)) > MANY_VALUES and min(map(len, strata)) >= MIN_SEEDS:
        return _ends(_resampled_iqm(strata))
    return _bootstrap(strata, lambda resampled: trim_mean(np.concatenate(resampled, axis=-1), 0.25, axis=-1))


def _resampled_iqm(strata: Sequence[Sequence[float]]) -> Any:
    """The interquartile mean of every resample, from how often each has each value: these are sorted once, not per resample."""
    import numpy as np

    values = np.concatenate(list(map(np.asarray, strata)))
    order, cut, rows = values.argsort(kind="stable"), len(values) // 4, max(1, PART // len(values))
    counts = [_resample_counts(len(stratum), number) for number, stratum in enumerate(strata)]
    means = []
    for start in range(0, N_RESAMPLES, rows):
        part = np.concatenate([count[start : start + rows] for count in counts], axis=1).take(order, axis=1)
        inside = part.cumsum(axis=1, dtype=np.int32).clip(cut, len(values) - cut)
        means.append(np.einsum("ij,j->i", np.diff(inside, prepend=cut, axis=1), values[order]) / (len(values) - 2 * cut))
    return np.concatenate(means)


def share_intervals(
    strata: Sequence[Sequence[float]], thresholds: Sequence[float]
) -> list[tuple[float, float] | tuple[None, None]]:
    """The pointwise 95 % bootstrap intervals of the share of values above each threshold, resampled within each task.

    The thresholds ascend.
    """
    import numpy as np

    if not strata or min(map(len, strata)) < MIN_SEEDS:
        return [(None, None)] * len(thresholds)
    passed = [np.searchsorted(thresholds, values) for values in strata]  # how many thresholds a value is above
    bins = len(thresholds) + 1

    def shares_above(resampled: list[Any]) -> Any:
        numbers = np.concatenate(resampled, axis=-1)
        first_bins = bins * np.arange(len(numbers))[:, None]
        counts = np.bincount((numbers + first_bins).ravel(), minlength=bins * len(numbers)).reshape(-1, bins)
        above = counts[:, ::-1].cumsum(axis=-1)[:, -2::-1]  # of each threshold, the values that have passed it
        return above.T / numbers.shape[-1]

    shares = _resampled(passed, shares_above)
    return [(float(low), float(high)) for low, high in np.quantile(shares, [ALPHA / 2, 1 - ALPHA / 2], axis=-1).T]


def _bootstrap(strata: Sequence[Sequence[float]], statistic: Any) -> tuple[float, float] | None:
    if not strata or min(map(len, strata)) < MIN_SEEDS:
        return None
    return _ends(_resampled(strata, statistic))


def _ends(resampled: Any) -> tuple[float, float]:
    """The ends of the interval that holds 95 % of the resamples."""
    import numpy as np

    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def _resampled(strata: Sequence[Any], statistic: Any) -> Any:
    """A statistic of every resample: of `[some resamples, seeds]` per task, in parts that need little memory."""
    import numpy as np

    values = list(map(np.asarray, strata))
    rows = max(1, PART // sum(map(len, values)))
    indices = [_resample_indices(len(stratum), number) for number, stratum in enumerate(values)]
    parts = [
        statistic(
            [stratum.take(index[start : start + rows], mode="clip") for stratum, index in zip(values, indices, strict=True)]
        )
        for start in range(0, N_RESAMPLES, rows)
    ]  # clip, since no index is out of range: half the time of checking each
    return np.concatenate(parts, axis=-1)


@lru_cache(maxsize=256)
def _resample_indices(size: int, stratum: int) -> Any:
    """`[N_RESAMPLES, size]`, with replacement; the same for all strata of a size: 8,000 cells would take 2 ms each."""
    import numpy as np

    drawn = np.random.default_rng([size, stratum]).integers(size, size=(N_RESAMPLES, size))
    return drawn.astype(np.min_scalar_type(size))


@lru_cache(maxsize=256)
def _resample_counts(size: int, stratum: int) -> Any:
    """`[N_RESAMPLES, size]`: how often a resample of `_resample_indices` has each value."""
    import numpy as np

    indices = _resample_indices(size, stratum) + size * np.arange(N_RESAMPLES)[:, None]
    counts = np.bincount(indices.ravel(), minlength=N_RESAMPLES * size).reshape(-1, size)
    return counts.astype(np.min_scalar_type(size))


def sign_flip(strata: Sequence[Sequence[float]]) -> float | None:
    """Two-sided p of the paired sign-flip permutation test of the mean; None with fewer than three seeds per task.

    The test is of the mean itself, the number that tables show. Wilcoxon's test would ignore the sizes of the differences and
    drop ties, which floors and ceilings of accuracy make frequent. Exact up to 13 pairs, where the smallest p is 2 / 2**pairs, so
    that fewer than six pairs cannot reach 0.05; beyond that, 9,999 random sign flips, and the observed signs counted as one more.
    """
    if not strata or min(map(len, strata)) < MIN_SEEDS:
        return None
    return _flipped(strata, two_sided=True)


def equivalence(strata: Sequence[Sequence[float]], margin: float) -> float | None:
    """p of "the mean differs from 0 by the margin or more": the larger p of two one-sided sign-flip tests (TOST)."""
    if not strata or min(map(len, strata)) < MIN_SEEDS:
        return None
    above = _flipped([[margin + value for value in values] for values in strata], two_sided=False)
    below = _flipped([[margin - value for value in values] for values in strata], two_sided=False)
    return max(above, below)


def _flipped(strata: Sequence[Sequence[float]], two_sided: bool) -> float:
    """The share of sign flips whose mean is at least as large as the observed one."""
    import numpy as np

    scaled = np.concatenate([np.asarray(values, float) / len(values) for values in strata])
    sums = np.einsum("ij,j->i", _signs(len(scaled)), scaled)  # @ starts threads, which cost twenty times the product
    observed, rounding = float(scaled.sum()), 1e-12 * max(1.0, float(np.abs(scaled).sum()))
    extreme = np.abs(sums) >= abs(observed) - rounding if two_sided else sums >= observed - rounding
    return float(extreme.mean()) if len(scaled) <= MAX_EXACT_PAIRS else float((extreme.sum() + 1) / (len(extreme) + 1))


@lru_cache(maxsize=64)
def _signs(n_pairs: int) -> Any:
    """`[arrangements, n_pairs]` of -1 and 1."""
    import numpy as np

    if n_pairs > MAX_EXACT_PAIRS:
        return np.random.default_rng(n_pairs).choice([-1.0, 1.0], size=(N_RESAMPLES, n_pairs)).astype(np.int8)
    bits = (np.arange(2**n_pairs)[:, None] >> np.arange(n_pairs)) & 1
    return (1 - 2 * bits).astype(np.int8)


@lru_cache(maxsize=65536)
def mcnemar(only_first_correct: int, only_second_correct: int) -> float:
    """p of McNemar's exact test, from the sequences that only one of two models got right; 1 without such sequences."""
    from scipy.stats import binomtest

    discordant = only_first_correct + only_second_correct
    return float(binomtest(only_first_correct, discordant, 0.5).pvalue) if discordant else 1.0


def holm(values: Sequence[float], most_true: int | None = None) -> list[float]:
    """p values adjusted for multiple tests (Holm 1979), in the order given.

    Where at most so many of the hypotheses can be true together, no p needs a larger factor (Shaffer 1986).
    """
    most_true = len(values) if most_true is None else most_true
    adjusted = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        largest = max(largest, min(1.0, min(len(values) - rank, most_true) * values[index]))
        adjusted[index] = largest
    return adjusted


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the highest; ties share the mean of their ranks."""
    from scipy.stats import rankdata

    return [float(rank) for rank in rankdata([-value for value in values])]


def correct_flags(correct: str, n: int) -> Any:
    """The hexadecimal `correct` of an evaluation as an array of `n` flags, one per sequence."""
    import numpy as np

    return np.unpackbits(np.frombuffer(bytes.fromhex(correct), np.uint8))[:n].astype(bool)
