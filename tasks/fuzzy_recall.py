"""A string of keys and values of several symbols each: name the value wherever a key has returned.

Format       > k5 k0 k4 v2 v7 v1 k6 k5 k4 v4 k5 k0 k4 [v2 v7 v1] ...      up to n symbols
             trained on every symbol as a language model
Input law    a key has 3 different symbols, a value 1 to 3, each key uniform over all there are, each value over those of its
             number of symbols; a key that returns has the value that it had first; the last key is that of a uniform pair
             before it. The pairs before the last fit into n - 6 symbols. `keys=any`: keys have 1 to 3 symbols, the published
             law of training; its tests are keys=3
Chance       1 / number of symbols of values
Why          what is looked up is a run of symbols whose end only its content shows, and so is the answer
"""

import numpy as np

from rpecli.ragged import ABSENT, sequences
from rpecli.task import Batch, Task, draw_distinct

MOST = 3  # symbols of a key or of a value


class FuzzyRecall(Task):
    title = "Fuzzy recall"
    family = "retrieval"
    source = "Mechanistic Design and Scaling of Hybrid Architectures, 2024, arXiv 2403.17844"
    defaults = {"length": 64, "min_length": 12, "curriculum": 0.5, "tokens": 4096, "steps": 2400}
    examples = (
        ([5, 0, 4, 9, 14, 8, 6, 5, 4, 11, -1, -1, 6, 5, 4, 11, -1, -1], "> k5 k0 k4 v2 v7 v1 k6 k5 k4 v4 k6 k5 k4 [v4]"),
        ([0, 1, 2, 7, 8, -1, 0, 1, 2, 7, 8, -1], "> k0 k1 k2 v0 v1 k0 k1 k2 [v0] [v1]"),
    )

    def __init__(self, *, keys: str = "3", symbols: int = 15):
        if keys not in ("3", "any"):
            raise ValueError(f"keys is 3 or any, not {keys!r}")
        if symbols < 2 * MOST:
            raise ValueError(f"symbols is at least {2 * MOST}, not {symbols}: half of them are of keys, half of values")
        self.keys, self.symbols, self.first_value = keys, symbols, symbols // 2

    def has_length(self, length: int) -> bool:
        return length >= 4 * MOST

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Of every pair the symbols of the key, then those of the value; absent ones are -1."""
        pairs, rows = (length - 2 * MOST) // (MOST + 1 if self.keys == "3" else 2), np.arange(batch)
        key_BxPxK = self._motifs(rng, (batch, pairs), 0, self.first_value, MOST if self.keys == "3" else 1)
        value_BxPxK = self._motifs(rng, (batch, pairs), self.first_value, self.symbols, 1)
        same_BxPxP = (code := _codes(key_BxPxK))[:, :, None] == code[:, None]
        value_BxPxK = value_BxPxK[rows[:, None], same_BxPxP.argmax(axis=2)]  # that of the first pair of the key
        x_BxPx6 = np.concatenate([key_BxPxK, value_BxPxK], axis=2)
        n_pairs_B = ((x_BxPx6 != ABSENT).sum(axis=2).cumsum(axis=1) <= length - 2 * MOST).sum(axis=1)
        last_Bx1x6 = x_BxPx6[rows, rng.integers(n_pairs_B)][:, None]
        x_BxPx6 = np.where(np.arange(pairs)[:, None] < n_pairs_B[:, None, None], x_BxPx6, ABSENT)
        return np.concatenate([x_BxPx6, last_Bx1x6], axis=1).reshape(batch, -1)

    def _motifs(self, rng: np.random.Generator, shape: tuple[int, int], first: int, stop: int, fewest: int) -> np.ndarray:
        """`fewest` to MOST different symbols of first..stop-1 each, `[*shape, MOST]`."""
        n = shape[0] * shape[1]
        symbols_NxK = first + draw_distinct(rng, n, MOST, stop - first)
        symbols_NxK[np.arange(MOST) >= rng.integers(fewest, MOST + 1, size=(n, 1))] = ABSENT
        return symbols_NxK.reshape(*shape, MOST)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        batch = len(x_BxN)
        code_BxP = _codes(x_BxN.reshape(batch, -1, 2 * MOST)[:, :, :MOST])
        returned_BxP = np.tril(code_BxP[:, :, None] == code_BxP[:, None], k=-1).any(axis=2)
        is_answer_BxPx6 = returned_BxP[:, :, None] & (np.arange(2 * MOST) >= MOST)
        return sequences([(x_BxN, is_answer_BxPx6.reshape(batch, -1))], language_model=True)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return length + 1

    def chance(self, length: int) -> float:
        return 1 / (self.symbols - self.first_value)

    def word(self, symbol: int) -> str:
        return f"k{symbol}" if symbol < self.first_value else f"v{symbol - self.first_value}"


def _codes(motif_BxPxK: np.ndarray) -> np.ndarray:
    """A number for every run of symbols, another for every other."""
    return ((motif_BxPxK + 1) * (int(motif_BxPxK.max()) + 2) ** np.arange(MOST)).sum(axis=2)
