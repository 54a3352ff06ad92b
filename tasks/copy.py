"""Copy a string of random symbols or, with `distinct=true`, of symbols that are all different.

Format       > x1 ... xn | [x1 ... xn] .
Input law    every symbol is uniform over the vocabulary and independent; distinct: a uniform random subset in random order
Chance       1 / symbols per token
Why          every answer token is the same distance from its source: the simplest test of whether a model can use distances;
             distinct symbols can be copied by looking for the last one, few symbols (`symbols=2`) cannot
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, prompt_answer


class Copy(Task):
    title = "Copy"
    family = "copying"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {
        "distinct=true:symbols=150": {"length": 50, "steps": 3000, "lr": 4e-3},
        "symbols=2": {"length": 24, "steps": 4500, "lr": 2e-3},
    }
    expressible = {"distinct=true:symbols=150": (True, False), "symbols=2": (False, False)}
    defaults = {"length": 64, "curriculum": 0.5, "tokens": 2048, "steps": 4000, "validate_every": 100}
    examples = (([3, 1, 2], "> 3 1 2 | [3] [1] [2] ."), ([7], "> 7 | [7] ."))

    def __init__(self, *, symbols: int = 16, distinct: bool = False):
        self.symbols, self.distinct = symbols, distinct

    def longest(self) -> int | None:
        return self.symbols if self.distinct else None

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        if self.distinct:
            return draw_distinct(rng, batch, length, self.symbols)
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, x_BxN)
