"""Whether encodings come out in the order that a paper published, task by task: where sizes differ, values cannot agree.

Spearman's rank correlation of published and own means over the encodings that have enough seeds. Ours is the published order
where the correlation is positive, and the permutation test over which of our means belongs to which encoding gives p < 0.05
(two-sided; all permutations of up to eight encodings, of more as many random ones, always the same). The interval beside it,
which decides nothing, is that of Bonett and Wright (2000, Psychometrika 65): tanh(atanh(r) +- 1.96 sqrt((1 + r^2 / 2) / (n -
3))). It has no width where the orders are equal; there it begins where that of the next possible r = 1 - 12 / (n^3 - n) does,
of two neighbours that are exchanged.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rpecli.reproduce.outcome import MIN_SEEDS, Outcome

MIN_CORRELATED = 4  # arms; below, there is no correlation
MIN_ARMS = 5  # below, there is no test: of four arms, one order in 24 is the published one by chance, p = 0.083
ALPHA = 0.05
PERMUTATIONS = 40_320  # all of eight arms
Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Order:
    """One task: which arms were compared, in the order that was published and in ours, and how alike the two are."""

    task: str
    arms: list[list[str]]  # the best first, equal ones together
    arms_here: list[list[str]]  # the same arms by our values
    n_published: int
    correlation: float | None  # None below MIN_CORRELATED, or where one side does not order them
    interval: tuple[float, float] | None  # None below MIN_ARMS
    p: float | None  # as the interval

    @property
    def is_like_published(self) -> bool | None:
        """Whether more alike than chance makes two orders; None where that cannot be tested."""
        return None if self.correlation is None or self.p is None else self.correlation > 0 and self.p < ALPHA


def orders(outcomes: Iterable[Outcome], best_is_least: bool = False) -> list[Order]:
    """The orders of all tasks with an arm that has enough seeds, by their last bin, the best first."""
    by_task: dict[str, list[Outcome]] = {}
    for each in outcomes:
        by_task.setdefault(each.cell.task, []).append(each)
    enough = {task: [one for one in members if one.n_kept >= MIN_SEEDS] for task, members in by_task.items()}
    return [_order(task, members, len(by_task[task]), best_is_least) for task, members in enough.items() if members]


def _order(task: str, compared: list[Outcome], n_published: int, best_is_least: bool) -> Order:
    published = [one.bins[-1].published for one in compared]
    ours = [one.bins[-1].ours or 0.0 for one in compared]  # of those with enough seeds there is a mean
    arms, arms_here = (_ranked([one.cell.arm for one in compared], values, best_is_least) for values in (published, ours))
    correlation = _spearman(published, ours) if len(compared) >= MIN_CORRELATED else None
    is_tested = correlation is not None and len(compared) >= MIN_ARMS
    interval = _interval(correlation, len(compared)) if correlation is not None and is_tested else None
    p = _permutation_p(published, ours) if is_tested else None
    return Order(task, arms, arms_here, n_published, correlation, interval, p)


def _ranked(arms: list[str], values: list[float], best_is_least: bool) -> list[list[str]]:
    """The arms by their values, the best first, those with equal values together."""
    return [
        [arm for arm, value in zip(arms, values, strict=True) if value == rank]
        for rank in sorted(set(values), reverse=not best_is_least)
    ]


def _spearman(a: list[float], b: list[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(set(a)) == 1 or len(set(b)) == 1:
        return None
    return float(spearmanr(a, b).statistic)


def _permutation_p(published: list[float], ours: list[float]) -> float:
    """The two-sided p of Spearman's correlation, which grows with the sum of products of ranks."""
    from scipy.stats import permutation_test, rankdata

    fixed = rankdata(ours)
    test = permutation_test(
        (rankdata(published),), lambda ranks, axis=-1: ranks @ fixed, permutation_type="pairings", vectorized=True,
        n_resamples=PERMUTATIONS, random_state=0,
    )  # fmt: skip
    return float(test.pvalue)


def _interval(correlation: float, n: int) -> tuple[float, float]:
    if abs(correlation) > 1 - 1e-12:
        low, high = _interval(math.copysign(1 - 12 / (n**3 - n), correlation), n)
        return (low, 1.0) if correlation > 0 else (-1.0, high)
    half = Z * math.sqrt((1 + correlation**2 / 2) / (n - 3))
    return math.tanh(math.atanh(correlation) - half), math.tanh(math.atanh(correlation) + half)
