"""Recall the symbol after a marker in a string of random symbols.

Format       > x1 ... xk * xk+1 ... xn | [xk+1] .      * is the marker; n symbols, not counting the marker
Input law    every symbol is uniform and independent; the marker's place is uniform over the n places before a symbol
Chance       1 / symbols
Why          the answer is one token out of thousands, so an encoding has to reach far back; cheap at any length
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Recall(Task):
    title = "Recall"
    family = "retrieval"
    defaults = {"length": 256, "curriculum": 0.7, "tokens": 2048, "steps": 700}
    examples = (([5, 16, 2, 7], "> 5 * 2 7 | [2] ."), ([16, 3, 3], "> * 3 3 | [3] ."))

    def __init__(self, *, symbols: int = 16):
        self.marker = symbols
        self.symbols = symbols + 1

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = rng.integers(self.marker, size=(batch, length + 1))
        x_BxN[np.arange(batch), rng.integers(length, size=batch)] = self.marker
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        answer_index_B = (x_BxN == self.marker).argmax(axis=1) + 1
        return prompt_answer(x_BxN, x_BxN[np.arange(len(x_BxN)), answer_index_B][:, None])

    def chance(self, length: int) -> float:
        return 1 / self.marker

    def word(self, symbol: int) -> str:
        return "*" if symbol == self.marker else str(symbol)
