"""Sort distinct symbols in ascending order or, with `distinct=false`, symbols with repeats.

Format       > x1 ... xn | [the same symbols, ascending] .
Input law    distinct: a uniform random subset in random order; with repeats: every symbol is uniform and independent
Chance       the most likely symbol of each place, averaged over places (the first are small, the last large)
Level        context-sensitive (`distinct=false:symbols=5`: the form of Deletang et al., bucket sort)
Why          solvable from content alone, so it shows whether an encoding gets in the way
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, prompt_answer


class Sort(Task):
    title = "Sort"
    family = "ordering"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {
        "distinct=false:symbols=5": {"length": 20, "steps": 4500, "lr": 2e-3},
        "distinct=false:symbols=50": {"length": 16, "steps": 4500},
    }
    expressible = {"": (True, True)}
    defaults = {"length": 32, "curriculum": 0.5, "tokens": 2048, "steps": 3500, "lr": 8e-3, "validate_every": 100}
    examples = (([3, 1, 8, 2], "> 3 1 8 2 | [1] [2] [3] [8] ."), ([9, 0], "> 9 0 | [0] [9] ."))

    def __init__(self, *, symbols: int = 150, distinct: bool = True):
        self.symbols, self.distinct = symbols, distinct

    def longest(self) -> int | None:
        return self.symbols - 1 if self.distinct else None  # of all symbols, the sorted order is known without looking

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        if self.distinct:
            return draw_distinct(rng, batch, length, self.symbols)
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, np.sort(x_BxN, axis=1))

    def chance(self, length: int) -> float:
        from scipy.special import betainc, gammaln

        place_N, symbol_S = np.arange(1, length + 1)[:, None], np.arange(self.symbols)[None, :]
        if not self.distinct:  # P(i-th smallest <= s) = P(at least i of n are <= s)
            below_NxS = betainc(place_N, length - place_N + 1, (symbol_S + 1) / self.symbols)
            return float(np.diff(below_NxS, axis=1, prepend=0).max(axis=1).mean())

        def log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
            possible = (k >= 0) & (k <= n)
            n, k = np.where(possible, n, 0), np.where(possible, k, 0)
            return np.where(possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)

        subsets = log_choose(np.array(self.symbols), np.array(length))
        smaller, greater = log_choose(symbol_S, place_N - 1), log_choose(self.symbols - 1 - symbol_S, length - place_N)
        return float(np.exp(smaller + greater - subsets).max(axis=1).mean())
