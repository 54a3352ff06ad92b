"""Copy a string of random symbols.

Format       > x1 ... xn | [x1 ... xn] .
Input law    each symbol uniform over the vocabulary, independent
Chance       1 / symbols a token
Why          every answer token sits a constant distance behind its source: the plainest test of "how far apart are we?"
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Copy(Task):
    family = "copying"
    defaults = {"length": 16, "steps": 1200}
    examples = (([3, 1, 2], "> 3 1 2 | [3] [1] [2] ."), ([7], "> 7 | [7] ."))

    def __init__(self, *, symbols: int = 16):
        self.symbols = symbols

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, x_BxN)
