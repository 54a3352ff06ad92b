"""Multi-query associative recall: pairs of a key and its value, then each key once more, each time with its value to be named.

Format       > k3 v9 k1 v5 x k1 [v5] x x x k3 [v9] ...      n symbols: n // every pairs, then the questions among filler x
Input law    keys and values are uniform without repeats; a question comes after a gap of g pairs of places with probability
             proportional to 1 / g^0.99, no two at one place; the filler is uniform over all symbols but the keys of the string
             (`filler=other`), over all symbols (`any`, as published: a key may come with another value), or x (`blank`)
Chance       1 / number of values
Why          the place of a pair is found by its content, and the value one place behind it by position
"""

import numpy as np

from rpecli.task import Batch, Task, in_sequence

POWER = 0.01  # of the law of the gaps


class MultiQueryRecall(Task):
    title = "Multi-query recall"
    family = "retrieval"
    source = "Zoology: Measuring and Improving Recall in Efficient Language Models, 2023, arXiv 2312.04927"
    variants = {"filler=any:symbols=8192": {"length": 64}, "filler=blank": {"lr": 2e-3}}
    defaults = {"length": 24, "min_length": 16, "curriculum": 0.5, "tokens": 4096, "steps": 2000}
    examples = (
        ([3, 137, 3, 393, 0, 0], "> k3 v9 k3 [v9] x x"),
        ([1, 128, 2, 130, 2, 386, 7, 200, 1, 384], "> k1 v0 k2 v2 k2 [v2] k7 v72 k1 [v0]"),
    )

    def __init__(self, *, every: int = 16, filler: str = "other", symbols: int = 256):
        if every < 4:
            raise ValueError(f"every={every}: a pair and its question take 4 places")
        if filler not in ("other", "any", "blank"):
            raise ValueError(f"filler is other, any or blank, not {filler!r}")
        if symbols < 4 or symbols % 2:
            raise ValueError(f"symbols is an even number from 4 on, not {symbols}: half of them are values")
        self.every, self.filler, self.symbols, self.keys = every, filler, symbols, symbols // 2

    def longest(self) -> int:
        return self.every * self.keys - 1  # symbol 0 is x: there are keys - 1 keys

    def has_length(self, length: int) -> bool:
        return 4 <= length <= self.longest()

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Symbols; `symbols` is added to those that are answers."""
        pairs = max(1, length // self.every)
        keys_BxP, values_BxP = distinct(rng, batch, pairs, self.keys - 1) + 1, distinct(rng, batch, pairs, self.keys) + self.keys
        x_BxN = self._filler(rng, keys_BxP, length)
        x_BxN[:, 0 : 2 * pairs : 2], x_BxN[:, 1 : 2 * pairs : 2] = keys_BxP, values_BxP
        gaps = (length - 2 * pairs) // 2
        weight_G = np.round(2.0**30 * np.arange(1, gaps + 1) ** (POWER - 1))
        place_BxP = 2 * pairs + 2 * smallest(rng.standard_exponential((batch, gaps)) / weight_G, pairs)
        np.put_along_axis(x_BxN, place_BxP, keys_BxP, axis=1)
        np.put_along_axis(x_BxN, place_BxP + 1, values_BxP + self.symbols, axis=1)
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return in_sequence(x_BxN % self.symbols, x_BxN >= self.symbols)

    def chance(self, length: int) -> float:
        return 1 / self.keys

    def word(self, symbol: int) -> str:
        return f"k{symbol}" if 0 < symbol < self.keys else f"v{symbol - self.keys}" if symbol else "x"

    def _filler(self, rng: np.random.Generator, keys_BxP: np.ndarray, length: int) -> np.ndarray:
        if self.filler == "blank":
            return np.zeros((len(keys_BxP), length), dtype=np.int64)
        x_BxN = rng.integers(self.symbols, size=(len(keys_BxP), length))
        is_key_BxS = np.zeros((len(keys_BxP), self.symbols), dtype=bool)
        np.put_along_axis(is_key_BxS, keys_BxP, self.filler == "other", axis=1)
        while len(again := np.argwhere(np.take_along_axis(is_key_BxS, x_BxN, axis=1))):
            x_BxN[again[:, 0], again[:, 1]] = rng.integers(self.symbols, size=len(again))
        return x_BxN


def distinct(rng: np.random.Generator, batch: int, n: int, symbols: int) -> np.ndarray:
    """`n` of the symbols in random order, none twice, `[batch, n]`."""
    if n * n > symbols:
        return smallest(rng.integers(1 << 62, size=(batch, symbols)), n)
    x_BxN = rng.integers(symbols, size=(batch, n))
    while len(again := np.flatnonzero((np.diff(np.sort(x_BxN, axis=1), axis=1) == 0).any(axis=1))):
        x_BxN[again] = rng.integers(symbols, size=(len(again), n))
    return x_BxN


def smallest(x_BxN: np.ndarray, n: int) -> np.ndarray:
    """The places of the `n` smallest numbers, the smallest first."""
    return np.argsort(x_BxN, axis=1, kind="stable")[:, :n]
