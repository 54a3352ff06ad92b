"""Name the most frequent letter of a string.

Format       > x1 ... xn | [the most frequent letter] .
Input law    every letter is uniform and independent; a string in which two letters are the most frequent is drawn again
Chance       1 / symbols
Why          counting without places: an encoding is of no use here, so it shows whether one gets in the way
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Majority(Task):
    title = "Majority"
    family = "counting"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    order_matters = False
    expressible = {"": (True, True)}
    defaults = {"length": 50, "curriculum": 0.5, "tokens": 4096, "steps": 2000}
    examples = (([0, 7, 7, 2], "> a h h c | [h] ."), ([25], "> z | [z] ."))

    def __init__(self, *, symbols: int = 26):
        if not 2 <= symbols <= 26:
            raise ValueError(f"symbols is 2 to 26, not {symbols}")
        self.symbols = symbols

    def has_length(self, length: int) -> bool:
        return length > 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = rng.integers(self.symbols, size=(batch, length))
        while len(tied := np.flatnonzero(self._tied(x_BxN))):
            x_BxN[tied] = rng.integers(self.symbols, size=(len(tied), length))
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, self._counts(x_BxN).argmax(axis=1)[:, None])

    def _tied(self, x_BxN: np.ndarray) -> np.ndarray:
        counts_BxS = np.sort(self._counts(x_BxN), axis=1)
        return counts_BxS[:, -1] == counts_BxS[:, -2]

    def _counts(self, x_BxN: np.ndarray) -> np.ndarray:
        batch = len(x_BxN)
        row_BxN = np.arange(batch)[:, None] * self.symbols + x_BxN
        return np.bincount(row_BxN.ravel(), minlength=batch * self.symbols).reshape(batch, self.symbols)

    def word(self, symbol: int) -> str:
        return chr(ord("a") + symbol)
