"""Find the last symbol of a string where it stood before, and name the symbol behind it there; with `hops=2`, twice so.

Format       > x1 ... xn | [y] .      y stands behind the last earlier xn; each further hop goes on from there, as from xn
Input law    symbols are uniform and independent; a string in which a symbol has not come before is drawn again
Chance       1 / symbols, more in short strings
Why          two heads in a row, one that looks a place back and one that matches content: what in-context learning begins with
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer


class Induction(Task):
    title = "Induction heads"
    family = "retrieval"
    source = "Transformers, parallel computation, and logarithmic depth, 2024, arXiv 2402.09268"
    variants = {
        "hops=2": {"length": 64, "min_length": 4, "tokens": 2048, "steps": 3000},
        "hops=4": {"length": 64, "min_length": 8, "tokens": 2048, "steps": 3000},
    }
    defaults = {"length": 24, "min_length": 4, "curriculum": 0.5, "tokens": 1024, "steps": 8000}
    examples = (([2, 0, 7, 1, 2], "> c a h b c | [a] ."), ([3, 3], "> d d | [d] ."))

    def __init__(self, *, hops: int = 1, symbols: int = 8):
        if hops < 1:
            raise ValueError(f"hops is at least 1, not {hops}")
        if not 2 <= symbols <= 26:
            raise ValueError(f"symbols is 2 to 26, not {symbols}")
        self.hops, self.symbols = hops, symbols

    def has_length(self, length: int) -> bool:
        return length > self.hops

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = rng.integers(self.symbols, size=(batch, length))
        while len(again := np.flatnonzero(self._place(x_BxN) < 0)):
            x_BxN[again] = rng.integers(self.symbols, size=(len(again), length))
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, x_BxN[np.arange(len(x_BxN)), self._place(x_BxN)][:, None])

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return chr(ord("a") + symbol)

    def _place(self, x_BxN: np.ndarray) -> np.ndarray:
        """Where the answer stands; -1 where there is none."""
        batch, n = x_BxN.shape
        place_B = np.full(batch, n - 1)
        for _ in range(self.hops):
            same_BxN = (x_BxN == x_BxN[np.arange(batch), place_B, None]) & (np.arange(n) < place_B[:, None])
            place_B = np.where(same_BxN.any(axis=1), n - same_BxN[:, ::-1].argmax(axis=1), -1)
        return place_B
