"""Copy a string of random symbols.

Format       > x1 ... xn | [x1 ... xn] .
Input law    every symbol is uniform over the vocabulary and independent
Chance       1 / symbols per token
Why          every answer token is the same distance from its source: the simplest test of whether a model can use distances
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Copy(Task):
    title = "Copy"
    family = "copying"
    defaults = {"length": 64, "curriculum": 0.5, "tokens": 2048, "steps": 4000, "validate_every": 100}
    examples = (([3, 1, 2], "> 3 1 2 | [3] [1] [2] ."), ([7], "> 7 | [7] ."))

    def __init__(self, *, symbols: int = 16):
        self.symbols = symbols

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, x_BxN)
