"""Name the value of each key by a table that is the same in every string and has to be learned by heart.

Format       > k5 [v17] k0 [v112] ...      n symbols, of which half are answers
Input law    keys are uniform and independent; the table gives every key another value (that of the seed 12345, as published)
Chance       1 / number of keys
Why          no position and no other symbol matters: an encoding can only get in the way
"""

import numpy as np

from rpecli.task import Batch, Task, interleaved


class Memorization(Task):
    title = "Memorization"
    family = "memory"
    source = "Mechanistic Design and Scaling of Hybrid Architectures, 2024, arXiv 2403.17844"
    order_matters = False
    defaults = {"length": 32, "min_length": 2, "tokens": 2048, "steps": 1500}
    examples = (([9, 120], "> k9 [v59] k120 [v48]"), ([0], "> k0 [v112]"))

    def __init__(self, *, symbols: int = 255):
        if not 4 <= symbols <= 10_000_000:
            raise ValueError(f"symbols, keys and values, is 4 to 10,000,000, not {symbols}")
        self.symbols, self.keys = symbols, symbols // 2
        rng = np.random.default_rng(12345)
        keys_K, values_V = rng.permutation(self.keys), rng.permutation(symbols - self.keys)
        self.value_K = np.empty(self.keys, dtype=np.int64)
        self.value_K[keys_K] = self.keys + values_V[: self.keys]

    def has_length(self, length: int) -> bool:
        return length >= 2 and length % 2 == 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.keys, size=(batch, length // 2))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return interleaved(x_BxN, self.value_K[x_BxN])

    def chance(self, length: int) -> float:
        return 1 / self.keys

    def word(self, symbol: int) -> str:
        return f"k{symbol}" if symbol < self.keys else f"v{symbol - self.keys}"
