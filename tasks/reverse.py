"""Reverse a string of random symbols.

Format       > x1 ... xn | [xn ... x1] .
Input law    every symbol is uniform over the vocabulary and independent
Chance       1 / symbols per token
Why          the distance from an answer token to its source grows by two with every token, so no fixed distance is enough
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Reverse(Task):
    title = "Reverse"
    family = "copying"
    defaults = {"length": 16, "steps": 1200}
    examples = (([3, 1, 2], "> 3 1 2 | [2] [1] [3] ."), ([7], "> 7 | [7] ."))

    def __init__(self, *, symbols: int = 16):
        self.symbols = symbols

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, x_BxN[:, ::-1])
