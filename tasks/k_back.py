"""Tell after every symbol whether it is the one that stood k places before it.

Format       > x1 ... xk xk+1 [y] xk+2 [n] ...      y for yes, n for no; no end token, since the input ends it
Input law    the first k symbols are uniform; each further one is that of k places before with probability 1/2, else uniform
             over the others
Chance       1/2
Why          a comparison at one distance: the position finds the other symbol, the content decides
"""

import numpy as np

from rpecli.task import Batch, Task, interleaved


class KBack(Task):
    title = "K-back"
    family = "retrieval"
    source = "Self-Attention Limits Working Memory Capacity of Transformer-Based Models, 2024, arXiv 2409.10715"
    variants = {"k=8": {"min_length": 9}}
    defaults = {"length": 48, "min_length": 3, "curriculum": 0.5, "tokens": 2048, "steps": 1500}
    examples = (([0, 1, 0, 4, 0], "> a b a [y] e [n] a [y]"), ([7, 7, 7], "> h h h [y]"))

    def __init__(self, *, k: int = 2, symbols: int = 8):
        if k < 1:
            raise ValueError(f"k is at least 1, not {k}")
        if not 2 <= symbols <= 24:
            raise ValueError(f"symbols is 2 to 24, not {symbols}")
        self.k, self.letters, self.symbols = k, symbols, symbols + 2

    def has_length(self, length: int) -> bool:
        return length > self.k

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Every symbol is the sum of the steps from the first of its kind, of those k places apart."""
        rows = -(-length // self.k)
        step_BxRxK = rng.integers(1, self.letters, size=(batch, rows, self.k)) * rng.integers(2, size=(batch, rows, self.k))
        step_BxRxK[:, 0] = rng.integers(self.letters, size=(batch, self.k))
        return step_BxRxK.cumsum(axis=1).reshape(batch, -1)[:, :length] % self.letters

    def layout(self, x_BxN: np.ndarray) -> Batch:
        same_BxA = x_BxN[:, self.k :] == x_BxN[:, : -self.k]
        return interleaved(x_BxN, np.where(same_BxA, self.letters, self.letters + 1))

    def chance(self, length: int) -> float:
        return 0.5

    def word(self, symbol: int) -> str:
        return "abcdefghijklmopqrstuvwxz"[symbol] if symbol < self.letters else "yn"[symbol - self.letters]
