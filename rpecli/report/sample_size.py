"""How many seeds per task should decide a claim, from the effect and the spread of the seeds there are."""

import math
from collections.abc import Sequence
from statistics import variance

from rpecli.report import stats

CLAIMS = 3  # tested together in most reports: the smallest p is compared with alpha / 3
POWER = 0.8
MOST = 30  # seeds per task beyond which no number is proposed


def seeds_needed(strata: Sequence[Sequence[float]], margin: float, claims: int = CLAIMS, by_interval: bool = False) -> int | None:
    """The fewest seeds per task with which a difference, or that there is none, is found in four of five studies.

    At least one more than there are, at least three, and enough for a p below 0.05 in so many claims to exist; that is not needed
    where a 95 % interval alone decides (`by_interval`). None beyond 30.
    """
    now = min(map(len, strata))
    first = max(stats.MIN_SEEDS, now + 1)
    numbers = (seeds for seeds in range(first, MOST + 1) if by_interval or p_exists(seeds * len(strata), claims))
    return next((seeds for seeds in numbers if _decides(strata, margin, seeds, claims, by_interval)), None)


def p_exists(pairs: int, claims: int = CLAIMS) -> bool:
    """Whether the smallest p of a sign-flip test over so many pairs is below 0.05 after Holm's correction."""
    return 2 / 2**pairs < stats.ALPHA / claims


def pairs_needed(claims: int) -> int:
    """The fewest pairs with which a claim can have such a p."""
    return next(pairs for pairs in range(1, 64) if p_exists(pairs, claims))


def _decides(strata: Sequence[Sequence[float]], margin: float, seeds: int, claims: int, by_interval: bool) -> bool:
    """Whether so many seeds have the power to find the difference, or that it lies within the margin."""
    from scipy.special import stdtrit

    if min(map(len, strata)) < 2:
        return True  # one seed has no spread to go by
    weights, sizes = [1 / len(strata)] * len(strata), [seeds] * len(strata)
    error, freedom = stats.standard_error([variance(values) for values in strata], sizes, weights)
    power = float(stdtrit(freedom, POWER))
    effect = abs(stats.mean(strata))
    different = effect > 0 and effect >= (float(stdtrit(freedom, 1 - stats.ALPHA / claims / 2)) + power) * error
    alpha = stats.ALPHA / claims / (2 if by_interval else 1)  # an interval has two sides, a test of equivalence one
    equal = effect < margin and margin - effect >= (float(stdtrit(freedom, 1 - alpha)) + power) * error
    return different or (equal and not math.isinf(margin))
